"""A better order than any rule gives, for queues short enough to try many.

The queue is laid out in time again and again, each time with one ask moved to another place, and a change is
kept if the whole ends better: local search on list schedules (Graham, 1966). Nothing is left to chance: the
moves are a fixed sequence. Classes keep their order; only asks of one band change places.
"""

import itertools
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from myriad.kernel.units import Instant, Span
from myriad.schedule.backfill import Profile

#: Multipliers that visit all pairs of places in no obvious order.
_FROM, _TO = 7919, 104_729
_NEVER: Final[Instant] = 1 << 62


class Item(NamedTuple):
    """An ask as the search sees it."""

    band: tuple[int, ...]
    nodes: int
    run_ns: Span


class Layout(NamedTuple):
    """An order and the start of each item in it, by the item's place in the queue given."""

    order: tuple[int, ...]
    starts: dict[int, Instant]


def improve(free: Profile, items: Sequence[Item], moves: int) -> Layout:
    """The best order found with so many moves.

    What counts is when all is done and, each ask weighing its chip-time, when it is done on average: neither
    rewards small gangs for being small (Schwiegelshohn and Yahyapour, 2000).
    """
    count = len(items)
    orders = [tuple(range(count)), *(_by(items, rule) for rule in _RULES)]
    order = min(orders, key=lambda one: _cost(free, items, one))
    best = _cost(free, items, order)
    for move in range(moves):
        source, target = move * _FROM % count, (move * _TO + move // count) % count
        if source == target or items[order[source]].band != items[order[target]].band:
            continue
        changed = list(order)
        changed.insert(target, changed.pop(source))
        if any(items[one].band > items[other].band for one, other in itertools.pairwise(changed)):
            continue
        if (cost := _cost(free, items, changed)) < best:
            order, best = tuple(changed), cost
    return Layout(order, _starts(free, items, order))


#: Where to begin, beside the order given: longest, widest, most work first.
_RULES: Final[tuple[Callable[[Item], tuple[int, ...]], ...]] = (
    lambda item: (-item.run_ns, -item.nodes),
    lambda item: (-item.nodes, -item.run_ns),
    lambda item: (-item.nodes * item.run_ns,),
)


def _by(items: Sequence[Item], rule: Callable[[Item], tuple[int, ...]]) -> tuple[int, ...]:
    return tuple(sorted(range(len(items)), key=lambda one: (items[one].band, rule(items[one]), one)))


def _starts(free: Profile, items: Sequence[Item], order: Sequence[int]) -> dict[int, Instant]:
    profile = free.copy()
    return {one: profile.reserve(items[one].nodes, items[one].run_ns) or _NEVER for one in order}


def _cost(free: Profile, items: Sequence[Item], order: Sequence[int]) -> int:
    starts = _starts(free, items, order)
    ends = {one: starts[one] + items[one].run_ns for one in order}
    work = {one: items[one].nodes * items[one].run_ns for one in order}
    total = sum(work.values())
    return max(ends.values()) + sum(work[one] * ends[one] for one in order) // total
