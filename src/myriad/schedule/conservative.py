"""Conservative backfill: who waits is promised room one behind the other; who delays nobody starts now.

Nodes of each chip type are promised by themselves: a gang that waits for one type holds up nobody who needs
another. A node is free or not as whoever waits first for its type counts it.
"""

from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING

from myriad.schedule import backfill
from myriad.schedule.asks import Ask, Placed
from myriad.schedule.board import Front

if TYPE_CHECKING:
    from myriad.schedule.plan import Cycle


def placed(cycle: "Cycle", front: Front) -> Iterator[Placed]:
    """Who starts now behind the one in front, each to be applied before the next is looked at."""
    others = {cycle.kind(shape): None for shape in cycle.board.queue.shapes()}
    for kind in {front.kind: None} | others:
        yield from _placed(cycle, kind, front)


def _placed(cycle: "Cycle", kind: str, front: Front) -> Iterator[Placed]:
    knobs, profile = cycle.rules.backfill, None
    for number, ask in enumerate(list(_waiting(cycle, kind))):
        if cycle.held_back(ask) is not None:
            continue
        run_ns = int(ask.run_on(ask.least) * knobs.slack)
        profile = profile or _profile(cycle, ask, front)
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
    knobs, profile = cycle.rules.backfill, None
    for number, one in enumerate(_waiting(cycle, cycle.kind(ask))):
        run_ns = int(one.run_on(one.least) * knobs.slack)
        if one.owner == ask.owner:
            profile = profile or _profile(cycle, ask, front)
            return ask._replace(sizes=(ask.least,)) if profile.fits_now(ask.least, run_ns) else None
        if number < knobs.reservations and cycle.held_back(one) is None:
            profile = profile or _profile(cycle, one, front)
            profile.reserve(one.least, run_ns)
    return None


def _waiting(cycle: "Cycle", kind: str) -> Iterator[Ask]:
    """The first that wait for a chip type."""
    queue = cycle.board.queue
    shapes = {shape for shape in queue.shapes() if cycle.kind(shape) == kind}
    return islice(queue.walk(cycle.worth, shapes), cycle.rules.backfill.depth)


def _profile(cycle: "Cycle", first: Ask, front: Front) -> backfill.Profile:
    """Nodes free over time of the type that the ask needs, as it counts them, or as the one in front does."""
    kind, now = cycle.kind(first), cycle.now
    if kind == front.kind:
        waits = cycle.board.queue.get(front.owner)
        assert waits is not None
        first = waits
    coming = cycle.board.ends.coming(now)
    nodes = ((at, backfill.nodes_of(end, first, kind)) for at, end in coming)
    return backfill.Profile(now, cycle.fitting(first), nodes)
