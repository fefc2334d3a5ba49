"""The scheduling cycle. A generator: each decision is applied by the caller before the next is made.

So a decision sees the effect of those before it, nothing is copied, and a dry run is the same cycle over
a forked state.
"""

from collections.abc import Iterable, Iterator

import numpy as np

from myriad.fleet.columns import Columns, NodeState
from myriad.kernel.units import Instant, show_span
from myriad.protocol.values import Reason
from myriad.schedule import backfill, order, place, quota
from myriad.schedule.asks import Ask, Placed, View, Waits


def plan(view: View, asks: Iterable[Ask], now: Instant) -> Iterator[Placed | Waits]:
    """Decide about every ask, in queue order."""
    reservation: backfill.Reservation | None = None
    front = ""
    # 1 order
    for ask in order.queue(asks):
        # 2 quota
        used = view.usage.get(ask.tenant, 0)
        reason = quota.holds_back(ask.tenant, view.quota(ask.tenant), used, ask.chips)
        if reason:
            yield Waits(ask, reason, 0)
            continue
        # 3 place
        choice = place.choose(view.columns, ask)
        if choice is None:
            held = backfill.reserve(ask.nodes, usable_nodes(view.columns, ask), view.running(), now)
            if reservation is None:
                reservation, front = held, ask.owner
            yield Waits(ask, _no_room(view.columns, ask, held, now), held.starts_at)
            continue
        # 4 backfill
        if reservation and not backfill.may_pass(ask, reservation, now):
            yield Waits(ask, _behind(front), reservation.starts_at)
            continue
        if reservation and not _ends_before(ask, reservation, now):
            reservation = reservation._replace(extra=reservation.extra - ask.nodes)
        # 5 place it
        yield Placed(ask, choice.members, choice.replaced)


def _ends_before(ask: Ask, held: backfill.Reservation, now: Instant) -> bool:
    return bool(ask.run_ns and held.starts_at and now + ask.run_ns <= held.starts_at)


def usable_nodes(columns: Columns, ask: Ask) -> int:
    """Nodes that could take a member of the gang right now."""
    ready = (columns.state == NodeState.READY) & (columns.free_count >= ask.chips_per_node)
    if not ask.resumes:
        ready &= ~columns.spare
    return int(np.count_nonzero(ready))


def _no_room(columns: Columns, ask: Ask, held: backfill.Reservation, now: Instant) -> Reason:
    fitting = usable_nodes(columns, ask)
    ready = columns.state == NodeState.READY
    free = int(columns.free_count[ready & ~columns.spare].sum())
    code = "fragmentation" if free >= ask.chips else "capacity"
    text = f"needs {ask.nodes} nodes with {ask.chips_per_node} free chips; {fitting} are free now"
    text += f" ({free} chips free in all, too scattered)" if code == "fragmentation" else ""
    when = (
        f"in about {show_span(held.starts_at - now)}"
        if held.starts_at
        else "when running work ends or nodes return"
    )
    remedy = f"starts {when}; ask for {fitting} nodes to start now" if fitting else f"starts {when}"
    return Reason(code="fragmentation" if code == "fragmentation" else "capacity", text=text, remedy=remedy)


def _behind(front: str) -> Reason:
    return Reason(
        code="priority",
        text=f"would delay {front}, which is ahead in the queue",
        remedy=f"starts after {front}; a shorter or smaller job, or a higher priority, could start earlier",
    )
