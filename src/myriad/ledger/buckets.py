"""Chip-time: the slots it can be in, and tallies that grow by themselves as time goes on.

A tally knows how many chips are in each slot now and how much chip-time each slot has had. Moving chips
costs the same however long they stayed, and reading a tally is arithmetic: nothing is counted tick by tick.
"""

from collections.abc import Iterable
from enum import IntEnum

from myriad.kernel.units import Instant, Span
from myriad.protocol.values import IdleReason


class Slot(IntEnum):
    """What a chip is doing, finer than the buckets: lost and restart say whose cause it was."""

    PRODUCTIVE = 0
    CHECKPOINT = 1
    LOST_OWN = 2
    LOST_SITE = 3
    RESTART_OWN = 4
    RESTART_SITE = 5
    STRAGGLING = 6
    SERVING = 7
    IDLE_NO_DEMAND = 8
    IDLE_FRAGMENTATION = 9
    IDLE_QUOTA = 10
    IDLE_HELD_BACK = 11
    SPARE = 12
    DRAINED = 13
    DOWN = 14
    BURN_IN = 15
    #: Chips only, never time: idle for whatever reason holds; the clock knows since when.
    IDLE = 16


BUCKET_OF = {
    Slot.PRODUCTIVE: "productive",
    Slot.CHECKPOINT: "checkpoint",
    Slot.LOST_OWN: "lost",
    Slot.LOST_SITE: "lost",
    Slot.RESTART_OWN: "restart",
    Slot.RESTART_SITE: "restart",
    Slot.STRAGGLING: "straggling",
    Slot.SERVING: "serving",
    Slot.IDLE_NO_DEMAND: "idle_no_demand",
    Slot.IDLE_FRAGMENTATION: "idle_fragmentation",
    Slot.IDLE_QUOTA: "idle_quota",
    Slot.IDLE_HELD_BACK: "idle_held_back",
    Slot.SPARE: "spare",
    Slot.DRAINED: "drained",
    Slot.DOWN: "down",
    Slot.BURN_IN: "burn_in",
}
#: Every bucket, in the order of a waterfall: useful first.
BUCKETS: tuple[str, ...] = tuple(dict.fromkeys(BUCKET_OF.values()))
#: Slots of chips that someone holds.
HELD = tuple(slot for slot in BUCKET_OF if slot <= Slot.SERVING)

_IDLE: tuple[IdleReason, ...] = ("no_demand", "fragmentation", "quota", "held_back")


class Clock:
    """Now, and for how long each idle reason has held: so that a new reason costs nothing a node."""

    def __init__(self) -> None:
        self.now: Instant = 0
        self._reason = 0
        self._held = [0, 0, 0, 0]

    def advance(self, to: Instant) -> None:
        """Time goes forward only: an earlier instant changes nothing."""
        if to > self.now:
            self._held[self._reason] += to - self.now
            self.now = to

    def explain(self, reason: IdleReason) -> None:
        """From now on idle chips are idle for this reason."""
        self._reason = _IDLE.index(reason)

    def held(self) -> tuple[int, ...]:
        """How long each reason has held so far."""
        return tuple(self._held)


class Tally:
    """Chips now in each slot, and chip-time each slot has had."""

    __slots__ = ("_chips", "_clock", "_idle_since", "_since", "_totals")

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._since = clock.now
        self._idle_since = clock.held()
        self._chips: dict[Slot, int] = {}
        self._totals: dict[Slot, int] = {}

    def move(self, source: Slot | None, target: Slot | None, chips: int) -> None:
        """From now on `chips` more are in `target` and as many fewer in `source` (None: not here)."""
        self._settle()
        for slot, change in ((source, -chips), (target, chips)):
            if slot is None:
                continue
            count = self._chips.get(slot, 0) + change
            assert count >= 0, f"{slot.name}: {-count} chips more taken than were there"
            if count:
                self._chips[slot] = count
            else:
                self._chips.pop(slot, None)

    def shift(self, source: Slot, target: Slot, chip_ns: int) -> None:
        """Chip-time that was booked in `source` turns out to belong in `target`."""
        self._totals[source] = self._totals.get(source, 0) - chip_ns
        self._totals[target] = self._totals.get(target, 0) + chip_ns

    @property
    def chips(self) -> dict[Slot, int]:
        """Chips now, slots with none left out."""
        return dict(self._chips)

    def totals(self) -> dict[Slot, int]:
        """Chip-time of every slot up to now."""
        found = dict(self._totals)
        self._grow(found)
        return found

    def _settle(self) -> None:
        if self._since != self._clock.now:
            self._grow(self._totals)
            self._since, self._idle_since = self._clock.now, self._clock.held()

    def _grow(self, totals: dict[Slot, int]) -> None:
        elapsed = self._clock.now - self._since
        for slot, chips in self._chips.items():
            if slot is not Slot.IDLE:
                totals[slot] = totals.get(slot, 0) + chips * elapsed
        idle = self._chips.get(Slot.IDLE, 0)
        if idle:
            for k, (held, before) in enumerate(zip(self._clock.held(), self._idle_since, strict=True)):
                slot = Slot(Slot.IDLE_NO_DEMAND + k)
                totals[slot] = totals.get(slot, 0) + idle * (held - before)


class Account:
    """Tallies of one owner (the site, a tenant, a job, a service), one for each terms of price it saw."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.tallies: dict[int, Tally] = {}

    def move(self, terms: int, source: Slot | None, target: Slot | None, chips: int) -> None:
        """As Tally.move, under these terms."""
        if terms not in self.tallies:
            self.tallies[terms] = Tally(self._clock)
        self.tallies[terms].move(source, target, chips)

    def shift(self, terms: int, source: Slot, target: Slot, chip_ns: int) -> None:
        """As Tally.shift, for time spent under these terms."""
        self.tallies[terms].shift(source, target, chip_ns)

    def turn(self, terms: int) -> None:
        """The chips that are held now go on under these terms."""
        held = self.tallies.get(terms - 1)
        for slot, chips in (held.chips if held else {}).items():
            self.move(terms - 1, slot, None, chips)
            self.move(terms, None, slot, chips)

    def totals(self) -> dict[Slot, int]:
        """Over all terms."""
        return summed(tally.totals() for tally in self.tallies.values())

    def chips(self) -> dict[Slot, int]:
        """Chips now, over all terms."""
        return summed(tally.chips for tally in self.tallies.values())


def summed(parts: Iterable[dict[Slot, int]]) -> dict[Slot, int]:
    """Slot by slot."""
    found: dict[Slot, int] = {}
    for part in parts:
        for slot, amount in part.items():
            found[slot] = found.get(slot, 0) + amount
    return found


def by_bucket(totals: dict[Slot, int]) -> dict[str, Span]:
    """Every bucket in the order of the waterfall, those without time too."""
    found = dict.fromkeys(BUCKETS, 0)
    for slot, amount in totals.items():
        found[BUCKET_OF[slot]] += amount
    return found
