"""EASY backfill: a later gang may go first if it cannot delay the first one that waits for room.

Source: Lifka, The ANL/IBM SP Scheduling System, 1995; Mu'alem and Feitelson, 2001. Run times are
predicted, not the users' guesses; an unknown run time counts as endless.
"""

from collections.abc import Iterable
from typing import NamedTuple

from myriad.kernel.units import Instant
from myriad.schedule.asks import Ask, Running


class Reservation(NamedTuple):
    """What is kept for the gang in front."""

    starts_at: Instant  # predicted; 0: cannot be told, because what runs has no predicted end
    extra: int  # nodes that will be free then beyond what it needs


class End(NamedTuple):
    """Nodes that come back at a predicted instant."""

    at: Instant
    owner: str  # breaks ties
    nodes: int


def ends(running: Iterable[Running], now: Instant) -> list[End]:
    """The predicted ends of what runs, earliest first; what has none is left out."""
    return sorted(End(max(gang.ends_at, now), gang.owner, gang.nodes) for gang in running if gang.ends_at)


def reserve(need: int, free: int, coming: Iterable[End], now: Instant) -> Reservation:
    """When `need` nodes will be free, given `free` now and what is coming back."""
    if free >= need:
        return Reservation(now, free - need)
    for end in coming:
        free += end.nodes
        if free >= need:
            return Reservation(end.at, free - need)
    return Reservation(0, 0)


def may_pass(ask: Ask, held: Reservation, now: Instant) -> bool:
    """Whether starting `ask` now cannot delay the reservation."""
    return ends_in_time(ask, held, now) or ask.nodes <= held.extra


def ends_in_time(ask: Ask, held: Reservation, now: Instant) -> bool:
    """Whether `ask`, started now, is predicted to end before the reserved start."""
    return bool(ask.run_ns and held.starts_at and now + ask.run_ns <= held.starts_at)
