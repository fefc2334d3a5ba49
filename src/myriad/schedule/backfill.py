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


def reserve(need: int, free: int, running: Iterable[Running], now: Instant) -> Reservation:
    """When `need` nodes will be free, given `free` now and the predicted ends of what runs."""
    ends = sorted((max(gang.ends_at, now), gang.owner, gang.nodes) for gang in running if gang.ends_at)
    for ends_at, _, nodes in ends:
        if free >= need:
            break
        free += nodes
        starts_at = ends_at
        if free >= need:
            return Reservation(starts_at, free - need)
    return Reservation(now if free >= need else 0, max(0, free - need))


def may_pass(ask: Ask, held: Reservation, now: Instant) -> bool:
    """Whether starting `ask` now cannot delay the reservation."""
    ends_in_time = bool(ask.run_ns and held.starts_at and now + ask.run_ns <= held.starts_at)
    return ends_in_time or ask.nodes <= held.extra
