"""The scheduling cycle. A generator: each decision is applied by the caller before the next is made.

So a decision sees the effect of those before it, nothing is copied, and a dry run is the same cycle over
a forked state.
"""

from collections.abc import Iterable, Iterator

import numpy as np

from myriad.fleet.columns import NodeState
from myriad.kernel.units import Instant, show_span
from myriad.protocol.values import Reason
from myriad.schedule import backfill, order, place, quota
from myriad.schedule.asks import Ask, Placed, View, Waits


def plan(view: View, asks: Iterable[Ask], now: Instant) -> Iterator[Placed | Waits]:
    """Decide about every ask, in queue order."""
    room = _Room(view, now)
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
        choice = place.choose(view.columns, ask) if room.fitting(ask) >= ask.nodes else None
        if choice is None:
            held = backfill.reserve(ask.nodes, room.fitting(ask), room.ends(), now)
            if reservation is None:
                reservation, front = held, ask.owner
            yield Waits(ask, _no_room(ask, room, held, now), held.starts_at)
            continue
        # 4 backfill
        if reservation and not backfill.may_pass(ask, reservation, now):
            yield Waits(ask, _behind(front), reservation.starts_at)
            continue
        if reservation and not backfill.ends_in_time(ask, reservation, now):
            reservation = reservation._replace(extra=reservation.extra - ask.nodes)
        # 5 place it
        yield Placed(ask, choice.members, choice.replaced)
        room = _Room(view, now)


class _Room:
    """What is free and what will be, counted once between two placements however long the queue is."""

    def __init__(self, view: View, now: Instant) -> None:
        self._view, self._now = view, now
        self._fitting: dict[tuple[int, bool], int] = {}
        self._ends: list[backfill.End] | None = None
        self._free_chips: int | None = None

    def fitting(self, ask: Ask) -> int:
        """Nodes that could take a member of the gang right now."""
        with_spares = ask.spares != "never"
        kind = (ask.chips_per_node, with_spares)
        if kind not in self._fitting:
            columns = self._view.columns
            ready = (columns.state == NodeState.READY) & (columns.free_count >= ask.chips_per_node)
            if not with_spares:
                ready &= ~columns.spare
            self._fitting[kind] = int(np.count_nonzero(ready))
        return self._fitting[kind]

    def ends(self) -> list[backfill.End]:
        """When nodes come back."""
        if self._ends is None:
            self._ends = backfill.ends(self._view.running(), self._now)
        return self._ends

    def free_chips(self) -> int:
        """Free chips in service, spares aside, wherever they are."""
        if self._free_chips is None:
            columns = self._view.columns
            ready = (columns.state == NodeState.READY) & ~columns.spare
            self._free_chips = int(columns.free_count[ready].sum())
        return self._free_chips


def _no_room(ask: Ask, room: _Room, held: backfill.Reservation, now: Instant) -> Reason:
    fitting, free = room.fitting(ask), room.free_chips()
    scattered = free >= ask.chips
    text = f"needs {ask.nodes} nodes with {ask.chips_per_node} free chips; {fitting} are free now"
    text += f" ({free} chips free in all, too scattered)" if scattered else ""
    when = "when running work ends or nodes return"
    if held.starts_at:
        when = f"in about {show_span(held.starts_at - now)}"
    remedy = f"starts {when}; ask for {fitting} nodes to start now" if fitting else f"starts {when}"
    return Reason(code="fragmentation" if scattered else "capacity", text=text, remedy=remedy)


def _behind(front: str) -> Reason:
    return Reason(
        code="priority",
        text=f"would delay {front}, which is ahead in the queue",
        remedy=f"starts after {front}; a shorter or smaller job, or a higher priority, could start earlier",
    )
