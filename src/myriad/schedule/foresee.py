"""When will it start: the queue ahead, laid out in time on predicted run times, under several futures.

Each future draws every run time from its predicted distribution by a fixed low-discrepancy sequence (no
chance: the same state gives the same answer); the 10 % and 90 % of the starts are the interval. A queue
longer than can be laid out is a fluid: work ahead over the capacity that serves it.
"""

from collections.abc import Callable, Sequence
from itertools import islice
from math import exp
from statistics import NormalDist
from typing import Final, NamedTuple

from myriad.kernel.ids import AttemptId, TenantId
from myriad.kernel.units import HOUR, Instant, Span
from myriad.schedule import backfill, place, quota
from myriad.schedule.asks import Ask, View
from myriad.schedule.board import Board
from myriad.schedule.queue import everything

#: Futures looked at. Their 10 % and 90 % are the second lowest and highest.
FUTURES: Final = 11
#: The golden ratio's fraction: multiples of it, modulo 1, are spread evenly.
_GOLDEN: Final = 0.6180339887498949
#: Run time assumed for work that says nothing of it. Estimated.
_UNKNOWN: Final[Span] = HOUR
#: A fluid's interval around its mean: measured on seeded queues to hold most starts (bench.quality).
_FLUID_LOW, _FLUID_HIGH = 0.3, 2.0


class Start(NamedTuple):
    """Predicted start and its 10-90 % interval; 0: not within sight."""

    at: Instant
    early_at: Instant
    late_at: Instant


def start(view: View, board: Board, ask: Ask, now: Instant, ahead: int) -> Start:
    """When the ask, which waits, will start. At most `ahead` asks before it are laid out one by one."""
    first = list(islice(board.queue.walk(everything), ahead + 1))
    mine = next((index for index, one in enumerate(first) if one.owner == ask.owner), None)
    if mine is None:
        return fluid(view, board, ask, now)
    kind = ask.chip or view.columns.kinds.all[0]
    queue = [one for one in first[:mine] if (one.chip or kind) == kind]
    starts = sorted(_lay_out(view, board, [*queue, ask], now, kind, future) for future in range(FUTURES))
    known = [at for at in starts if at]
    if len(known) < FUTURES:
        return Start(0, 0, 0)
    return Start(known[FUTURES // 2], known[1], known[-2])


def release(
    view: View, board: Board, ask: Ask, tenant_of: Callable[[AttemptId], TenantId], now: Instant
) -> Start:
    """When a quota that holds the ask back will have room for it, by the ends of what counts against it."""
    chips = ask.least * ask.chips_per_node
    by = quota.short_of(view, ask.tenant, chips)
    if by is None:
        return Start(now, now, now)
    need = chips - quota.left(view, by)
    held = [
        (at, end.nodes * end.chips_per_node)
        for at, end in board.ends.coming(now)
        if by in view.path(tenant_of(end.attempt))
    ]
    found = []
    for future in range(FUTURES):
        ends = (
            (now + int((at - now) * _factor(future, k, 1.25)), freed) for k, (at, freed) in enumerate(held)
        )
        found.append(backfill.reserve(need, 0, sorted(ends), now).starts_at)
    found.sort()
    return Start(found[FUTURES // 2], found[1], found[-2]) if found[0] else Start(0, 0, 0)


def _lay_out(view: View, board: Board, asks: Sequence[Ask], now: Instant, kind: str, future: int) -> Instant:
    """The start of the last ask in one future: each takes the first hole behind the reservations before."""
    last = asks[-1]
    ends = [
        (now + int((at - now) * _factor(future, index, 1.25)), backfill.nodes_of(end, last, kind))
        for index, (at, end) in enumerate(board.ends.coming(now))
    ]
    profile = backfill.Profile(now, place.fitting(view.columns, last), sorted(ends))
    at = 0
    for index, ask in enumerate(asks):
        run_ns = ask.run_ns or _UNKNOWN
        spread = max(1.0, ask.run_high_ns / run_ns)
        nodes = max(1, ask.least * ask.chips_per_node // last.chips_per_node)
        at = profile.reserve(nodes, int(run_ns * _factor(future, len(ends) + index, spread)))
    return at


def _factor(future: int, index: int, high: float) -> float:
    """A log-normal run time relative to its median, whose 90 % is `high`."""
    part = (0.5 + (future + 1) * (index + 1) * _GOLDEN) % 1.0
    sigma = (high - 1.0) / _NORMAL.inv_cdf(0.9)
    return exp(sigma * _NORMAL.inv_cdf(min(max(part, 0.01), 0.99)))


_NORMAL: Final = NormalDist()


def fluid(view: View, board: Board, ask: Ask, now: Instant) -> Start:
    """Work ahead over the chips that serve it: those that others use do not."""
    columns = view.columns
    taken = int(columns.chips[columns.taken_until > 0].sum()) if columns.taken else 0
    capacity = max(1, columns.chip_count - taken)
    wait = board.queue.work_before(ask) // capacity
    return Start(now + wait, now + int(wait * _FLUID_LOW), now + int(wait * _FLUID_HIGH))
