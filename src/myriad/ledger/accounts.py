"""Sums of chip-time: an owner's account, and a page of the site's books. Exact integers throughout."""

from collections.abc import Container, Iterable

from myriad.kernel.units import Instant, Span
from myriad.ledger.buckets import SLOTS, Slot


class Account:
    """Chip-time that an owner (a job, a service, a tenant) has had, by terms of price and slot.

    One mapping of few entries: a site keeps many.
    """

    __slots__ = ("_spent",)

    def __init__(self) -> None:
        #: terms x SLOTS + slot -> chip-ns.
        self._spent: dict[int, int] = {}

    def add(self, terms: int, slot: Slot, chip_ns: int) -> None:
        """So much was spent."""
        key = terms * SLOTS + slot
        self._spent[key] = self._spent.get(key, 0) + chip_ns

    def merge(self, other: "Account") -> None:
        """What another had is this one's too."""
        spent = self._spent
        for key, amount in other._spent.items():
            spent[key] = spent.get(key, 0) + amount

    def copy(self) -> "Account":
        """To be added to without changing this one."""
        made = Account()
        made._spent = self._spent.copy()
        return made

    def by_terms(self) -> dict[int, dict[Slot, int]]:
        """Terms -> slot -> chip-ns."""
        found: dict[int, dict[Slot, int]] = {}
        for key, amount in self._spent.items():
            terms, slot = divmod(key, SLOTS)
            found.setdefault(terms, {})[Slot(slot)] = amount
        return found

    def total(self, slots: Container[int]) -> int:
        """Over all terms and these slots."""
        return sum([amount for key, amount in self._spent.items() if key % SLOTS in slots])

    def totals(self) -> dict[Slot, int]:
        """Over all terms."""
        found: dict[Slot, int] = {}
        for key, amount in self._spent.items():
            slot = Slot(key % SLOTS)
            found[slot] = found.get(slot, 0) + amount
        return found


class Page:
    """Chips of one type under one set of prices: how many are in each slot now, and their time so far.

    A move of c chips at t adds c x t to the slot they leave and takes it from the one they enter; the time
    of a slot is then that sum plus its chips x now. A move costs the same however long nothing moved.
    """

    __slots__ = ("_sums", "chips")

    def __init__(self) -> None:
        self.chips = [0] * SLOTS
        self._sums = [0] * SLOTS

    def move(self, now: Instant, source: Slot, target: Slot, chips: int) -> None:
        """From now on so many chips are in another slot."""
        amount = chips * now
        self.chips[source] -= chips
        self._sums[source] += amount
        self.chips[target] += chips
        self._sums[target] -= amount

    def enter(self, now: Instant, slot: Slot, chips: int) -> None:
        """So many chips more are here (fewer, if negative)."""
        self.chips[slot] += chips
        self._sums[slot] -= chips * now

    def shift(self, source: Slot, target: Slot, chip_ns: int) -> None:
        """Chip-time that was booked in `source` turns out to belong in `target`."""
        self._sums[source] -= chip_ns
        self._sums[target] += chip_ns

    def totals(self, now: Instant) -> dict[Slot, int]:
        """Chip-time of every slot up to now."""
        return {
            Slot(slot): amount + chips * now
            for slot, (amount, chips) in enumerate(zip(self._sums, self.chips, strict=True))
            if amount or chips
        }


def summed(parts: Iterable[dict[Slot, int]]) -> dict[Slot, int]:
    """Slot by slot."""
    found: dict[Slot, int] = {}
    for part in parts:
        for slot, amount in part.items():
            found[slot] = found.get(slot, 0) + amount
    return found


class Busy:
    """How long each chip of a service's ready replicas would have been in use, had it been ready all along.

    Whole nanoseconds, a function of the facts told and the instant alone: what two chips spent between two
    instants is twice what one did, whoever looks in between.
    """

    __slots__ = ("_before", "_millionths", "_since")

    def __init__(self) -> None:
        self._millionths = 0
        self._since: Instant = 0
        self._before: Span = 0

    def at(self, now: Instant) -> Span:
        """Up to now."""
        return self._before + (now - self._since) * self._millionths // 1_000_000

    def change(self, now: Instant, share: float) -> None:
        """From now on this share of them is in use."""
        self._before = self.at(now)
        self._since, self._millionths = now, round(min(max(share, 0.0), 1.0) * 1_000_000)

    def part(self, span: Span) -> Span:
        """Of a span, at the present share."""
        return span * self._millionths // 1_000_000
