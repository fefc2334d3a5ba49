"""Conservative backfill: who waits is promised room one behind the other; who delays nobody starts now.

Nodes of each chip type are promised by themselves: a gang that waits for one type holds up nobody who needs
another.
"""

from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING

from myriad.schedule import backfill
from myriad.schedule.asks import Ask, Placed
from myriad.schedule.board import Front

if TYPE_CHECKING:
    from myriad.schedule.plan import Cycle


class _Profiles:
    """Nodes free over time of each type, as whoever waits first for it counts them."""

    def __init__(self, cycle: "Cycle", front: Front) -> None:
        self._cycle = cycle
        first = cycle.board.queue.get(front.owner)
        assert first is not None
        self._known = {front.kind: self._of(first)}

    def __call__(self, ask: Ask) -> backfill.Profile:
        kind = self._cycle.kind(ask)
        if kind not in self._known:
            self._known[kind] = self._of(ask)
        return self._known[kind]

    def _of(self, ask: Ask) -> backfill.Profile:
        kind, now = self._cycle.kind(ask), self._cycle.now
        coming = self._cycle.board.ends.coming(now)
        nodes = ((at, backfill.nodes_of(end, ask, kind)) for at, end in coming)
        return backfill.Profile(now, self._cycle.fitting(ask), nodes)


def placed(cycle: "Cycle", front: Front) -> Iterator[Placed]:
    """Who starts now behind the one in front, each to be applied before the next is looked at."""
    knobs, profiles = cycle.rules.backfill, _Profiles(cycle, front)
    for number, ask in enumerate(list(islice(cycle.board.queue.walk(cycle.worth), knobs.depth))):
        if cycle.held_back(ask) is not None:
            continue
        run_ns, profile = int(ask.run_on(ask.least) * knobs.slack), profiles(ask)
        if ask.owner != front.owner and profile.fits_now(ask.least, run_ns):
            decision = cycle.attempt(ask._replace(sizes=(ask.least,)))
            if isinstance(decision, Placed):
                profile.take_now(ask.least, run_ns)
                yield decision
                continue
        if number < knobs.reservations:
            profile.reserve(ask.least, run_ns)


def passing(cycle: "Cycle", ask: Ask, front: Front) -> Ask | None:
    """The ask as it may go before all who were promised room; None: it may not. Nothing is changed."""
    knobs, profiles = cycle.rules.backfill, _Profiles(cycle, front)
    for number, one in enumerate(islice(cycle.board.queue.walk(cycle.worth), knobs.depth)):
        if cycle.kind(one) != cycle.kind(ask):
            continue
        run_ns = int(one.run_on(one.least) * knobs.slack)
        if one.owner == ask.owner:
            return ask._replace(sizes=(ask.least,)) if profiles(ask).fits_now(ask.least, run_ns) else None
        if number < knobs.reservations and cycle.held_back(one) is None:
            profiles(one).reserve(one.least, run_ns)
    return None
