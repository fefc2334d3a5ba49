"""The scheduling cycle. A generator: each decision is applied by the caller before the next is made.

So a decision sees the effect of those before it, and nothing is copied. First the queue in order, until the
first gang that waits for room: it gets a reservation, and victims if it may have them. Then backfill: who
fits and cannot delay it. Work is bounded by what could start, not by what waits.
"""

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Final, NamedTuple, Protocol

from myriad.kernel.ids import AttemptId, TenantId
from myriad.kernel.units import Instant, show_span
from myriad.protocol.values import Reason
from myriad.schedule import backfill, place, preempt, quota
from myriad.schedule.asks import Ask, Leaves, Placed, Shape, View, Waits
from myriad.schedule.backfill import Ends, Reservation
from myriad.schedule.policy import (
    Backfill,
    Placement,
    PlacementPolicy,
    Preemption,
    PreemptionPolicy,
)
from myriad.schedule.queue import Queue

_MANY: Final = 1 << 60


class Rules(NamedTuple):
    """The policies of a site, and their knobs."""

    placement: PlacementPolicy
    preemption: PreemptionPolicy | None  # None: nobody is sent away
    place: Placement
    backfill: Backfill
    preempt: Preemption


class Front(NamedTuple):
    """The first gang that waits for room."""

    owner: str
    held: Reservation
    reason: Reason


class Board(Protocol):
    """What is kept between cycles: indexes of the state, and who waits in front."""

    queue: Queue
    ends: Ends
    #: Holds until chips, quotas or the order may have changed.
    front: Front | None
    #: Tenants at their quota: the fewest chips that were too many.
    full: dict[TenantId, int]
    #: When a search for victims may find some again; by owner.
    victims_at: dict[str, Instant]


def plan(
    view: View, board: Board, rules: Rules, now: Instant, news: Sequence[Ask] | None = None
) -> Iterator[Placed | Waits | Leaves]:
    """Decide. `news`: only these asks are new and nothing else changed since the last cycle."""
    cycle = _Cycle(view, board, rules, now)
    if news is None:
        yield from cycle.whole()
    else:
        yield from cycle.arrivals(news)


class _Cycle:
    def __init__(self, view: View, board: Board, rules: Rules, now: Instant) -> None:
        self.view, self.board, self.rules, self.now = view, board, rules, now

    # ---- the queue in order ------------------------------------------------------------------------

    def whole(self) -> Iterator[Placed | Waits | Leaves]:
        """Everything that waits."""
        self.board.front = None
        while (ask := self._next()) is not None:
            if isinstance(ask, Waits):
                yield ask
                continue
            decision = self._try(ask)
            if isinstance(decision, Placed):
                yield decision
                continue
            yield from self._stop_at(ask, decision)
            return

    def arrivals(self, news: Sequence[Ask]) -> Iterator[Placed | Waits | Leaves]:
        """New asks only: the others were decided about, and an ask more frees no chip."""
        for ask in news:
            front = self.board.front
            if front is not None and self.board.queue.get(front.owner) is None:
                front = self.board.front = None
            if front is not None and self.board.queue.before(ask.owner, front.owner):
                yield from self.whole()
                return
            reason = quota.holds_back(self.view, ask.tenant, ask.least * ask.chips_per_node)
            if reason:
                yield Waits(ask, reason, 0)
            elif front is None:
                decision = self._try(ask)
                if isinstance(decision, Placed):
                    yield decision
                else:
                    yield from self._stop_at(ask, decision)
            else:
                yield from self._pass([ask], front)
                if self.board.queue.get(ask.owner) is not None:
                    yield Waits(ask, self._behind(ask, front), front.held.starts_at)

    def _next(self) -> Ask | Waits | None:
        """The first ask that its quota lets through, or one newly found to be held back by it."""
        for ask in self.board.queue.walk(self._worth):
            chips = ask.least * ask.chips_per_node
            reason = quota.holds_back(self.view, ask.tenant, chips)
            if reason is None:
                return ask
            self.board.full[ask.tenant] = min(chips, self.board.full.get(ask.tenant, _MANY))
            return Waits(ask, reason, 0)
        return None

    def _worth(self, tenant: TenantId, shape: Shape) -> bool:
        full = self.board.full
        return not full or shape.chips < full.get(tenant, _MANY)

    # ---- one ask -----------------------------------------------------------------------------------

    def _try(self, ask: Ask) -> Placed | Waits:
        """A place for it now, at the largest size that can be had; or why there is none."""
        fitting = self._fitting(ask)
        barred = self.view.barred(ask, self.now)
        for nodes in ask.choices:
            if nodes > fitting or (
                nodes > ask.least
                and quota.holds_back(self.view, ask.tenant, nodes * ask.chips_per_node) is not None
            ):
                continue
            choice = place.choose(self.view.columns, ask, nodes, self.rules.placement, barred)
            if choice is None:
                continue
            if choice.pods > 1 and not ask.keep and (waits := self._better_later(ask, nodes, choice)):
                return waits
            return Placed(ask, choice.members, choice.rows, choice.replaced)
        held = self._reserve(ask, fitting)
        return Waits(ask, self._no_room(ask, fitting, held), held.starts_at)

    def _fitting(self, ask: Ask) -> int:
        count = place.fitting(self.view.columns, ask)
        barred = self.view.barred(ask, self.now)
        if barred is not None:
            count -= int((self.view.columns.offer[barred] >= ask.chips_per_node).sum())
        return count

    def _better_later(self, ask: Ask, nodes: int, choice: place.Choice) -> Waits | None:
        """Whether waiting for one pod is predicted to end it earlier than several pods now."""
        cost = ask.stretch[2 if choice.cores > 1 else 1] - ask.stretch[0]
        if not (self.rules.place.wait_for_pod and ask.run_ns and cost > 0):
            return None
        columns = self.view.columns
        level = columns.level_of(ask.chips_per_node)
        free = columns.pod_nodes[0, level].tolist()
        kind = self._kind(ask)
        coming = ((end.at, end.pods) for end in self.board.ends.coming(self.now) if end.kind == kind)
        held = backfill.reserve_in_pod(nodes, free, coming, self.now)
        lost_ns = int(ask.run_on(nodes) * cost)
        if not held.starts_at or held.starts_at - self.now >= lost_ns:
            return None
        text = f"{choice.pods} pods now would cost {show_span(lost_ns)} of run time; one pod is predicted"
        text += f" to have {nodes} nodes in {show_span(held.starts_at - self.now)}"
        reason = Reason(
            code="topology", text=text, remedy="starts then; smaller gangs fit into one pod earlier"
        )
        return Waits(ask, reason, held.starts_at)

    # ---- the one in front ----------------------------------------------------------------------------

    def _stop_at(self, ask: Ask, waits: Waits) -> Iterator[Placed | Waits | Leaves]:
        fitting = self._fitting(ask)
        if waits.reason.code == "topology":
            level = self.view.columns.level_of(ask.chips_per_node)
            largest = int(self.view.columns.pod_nodes[0, level].max())
            held = Reservation(waits.starts_at, max(0, fitting - largest))
        else:
            victims = self._victims(ask, fitting)
            yield from victims
            held = self._reserve(ask, fitting)
            waits = waits._replace(starts_at=held.starts_at)
        front = self.board.front = Front(ask.owner, held, waits.reason)
        yield waits
        if self.rules.backfill.policy != "none":
            yield from self._backfill(front)

    def _victims(self, ask: Ask, fitting: int) -> Sequence[Leaves]:
        knobs, policy = self.rules.preempt, self.rules.preemption
        need = ask.least - fitting - self.view.coming(ask.owner)
        if policy is None or need <= 0 or ask.within or self.board.victims_at.get(ask.owner, 0) > self.now:
            return ()
        verdict = preempt.choose(self.view, ask, need, self.now, knobs, policy)
        # nothing found: ask again when one too young has run long enough, or after a while
        later = verdict.retry_at or self.now + knobs.ns("min_run")
        self.board.victims_at[ask.owner] = self.now if verdict.victims else later
        return [
            Leaves(gang.attempt, "preempted", ask.owner, verdict.why, ask.patience_ns)
            for gang in verdict.victims
        ]

    def _reserve(self, ask: Ask, fitting: int) -> Reservation:
        if ask.within in ("pod", "rack"):
            columns, kind = self.view.columns, self._kind(ask)
            level = columns.level_of(ask.chips_per_node)
            free = columns.pod_nodes[0, level].tolist()
            coming = ((end.at, end.pods) for end in self.board.ends.coming(self.now) if end.kind == kind)
            held = backfill.reserve_in_pod(ask.least, free, coming, self.now)
            return held if held.starts_at > self.now else Reservation(0, 0)
        kind = self._kind(ask)
        coming_nodes = (
            (end.at, backfill.nodes_of(end, ask, kind)) for end in self.board.ends.coming(self.now)
        )
        return backfill.reserve(ask.least, fitting, coming_nodes, self.now)

    def _kind(self, ask: Ask) -> str:
        return ask.chip or self.view.columns.kinds.all[0]

    # ---- backfill ----------------------------------------------------------------------------------

    def _backfill(self, front: Front) -> Iterator[Placed]:
        fits = [shape for shape in self.board.queue.shapes() if self._may_fit(shape)]
        if not fits:
            return
        wanted = frozenset(fits)

        def worth(tenant: TenantId, shape: Shape) -> bool:
            return shape in wanted and self._worth(tenant, shape)

        found = islice(self.board.queue.walk(worth), self.rules.backfill.depth)
        asks = [ask for ask in found if ask.owner != front.owner]
        if self.rules.backfill.policy == "conservative":
            yield from self._conservative(front)
        else:
            yield from self._pass(asks, front)

    def _may_fit(self, shape: Shape) -> bool:
        columns = self.view.columns
        kind = columns.kinds.index.get(shape.chip, -1) if shape.chip else 0
        fitting = columns.fitting(shape.chips_per_node, kind)
        if shape.spares:
            fitting += int(columns.spare.sum())
        return fitting >= shape.nodes

    def _pass(self, asks: Sequence[Ask], front: Front) -> Iterator[Placed]:
        """EASY: whoever ends before the reserved start, or needs only what it leaves over."""
        held, caution = front.held, self.rules.backfill.caution
        if self.rules.backfill.policy == "none":
            return
        for ask in asks:
            run_ns = backfill.cautious_run(ask, ask.least, caution)
            in_time = backfill.ends_in_time(run_ns, held, self.now)
            if not in_time and ask.least > held.extra:
                continue
            if quota.holds_back(self.view, ask.tenant, ask.least * ask.chips_per_node):
                continue
            sizes = ask.choices if in_time else tuple(n for n in ask.choices if n <= held.extra)
            decision = self._try(ask._replace(sizes=sizes))
            if not isinstance(decision, Placed):
                continue
            if not in_time:
                held = held._replace(extra=held.extra - len(decision.members))
            yield decision._replace(ask=ask)
            self.board.front = front._replace(held=held)

    def _conservative(self, front: Front) -> Iterator[Placed]:
        """The first in the queue get reservations one behind the other; who can start now does."""
        knobs = self.rules.backfill
        first = self.board.queue.get(front.owner)
        assert first is not None
        kind = self._kind(first)
        coming = ((end.at, backfill.nodes_of(end, first, kind)) for end in self.board.ends.coming(self.now))
        profile = backfill.Profile(self.now, self._fitting(first), coming)
        asks = list(islice(self.board.queue.walk(self._worth), knobs.depth))
        for number, ask in enumerate(asks):
            run_ns = backfill.cautious_run(ask, ask.least, knobs.caution)
            may = quota.holds_back(self.view, ask.tenant, ask.least * ask.chips_per_node) is None
            if ask.owner != front.owner and may and profile.fits_now(ask.least, run_ns):
                decision = self._try(ask._replace(sizes=(ask.least,)))
                if isinstance(decision, Placed):
                    profile.take_now(ask.least, run_ns)
                    yield decision._replace(ask=ask)
                    continue
            if number < knobs.reservations and may:
                profile.reserve(ask.least, run_ns)

    # ---- words ---------------------------------------------------------------------------------------

    def _no_room(self, ask: Ask, fitting: int, held: Reservation) -> Reason:
        free = self.view.columns.free_chips
        scattered = free >= ask.least * ask.chips_per_node
        what = f"needs {ask.least} nodes with {ask.chips_per_node} free chips"
        what += f" in one {ask.within}" if ask.within else ""
        text = f"{what}; {fitting} are free now"
        text += f" ({free} chips free in all, too scattered)" if scattered else ""
        when = "when running work ends or nodes return"
        if held.starts_at:
            when = f"in about {show_span(held.starts_at - self.now)}"
        can = 0 < fitting < ask.least
        remedy = f"starts {when}; ask for {fitting} nodes to start now" if can else f"starts {when}"
        return Reason(code="fragmentation" if scattered else "capacity", text=text, remedy=remedy)

    def _behind(self, ask: Ask, front: Front) -> Reason:
        if self._fitting(ask) < ask.least:
            return self._no_room(ask, self._fitting(ask), front.held)
        return Reason(
            code="priority",
            text=f"would delay {front.owner}, which is ahead in the queue",
            remedy=f"starts after {front.owner}; a shorter or smaller job, or a higher priority, could start "
            "earlier",
        )


def explain(view: View, board: Board, rules: Rules, now: Instant, ask: Ask) -> Placed | Waits:
    """What the next cycle would decide about the ask, by the same rules."""
    cycle = _Cycle(view, board, rules, now)
    reason = quota.holds_back(view, ask.tenant, ask.least * ask.chips_per_node)
    if reason:
        return Waits(ask, reason, 0)
    decision = cycle._try(ask)
    front = board.front
    if front is not None and front.owner != ask.owner:
        run_ns = backfill.cautious_run(ask, ask.least, rules.backfill.caution)
        late = not backfill.ends_in_time(run_ns, front.held, now) and ask.least > front.held.extra
        if late or isinstance(decision, Waits):
            return Waits(ask, cycle._behind(ask, front), front.held.starts_at)
    return decision


def reasons(
    view: View, board: Board, rules: Rules, now: Instant, ask: Ask, waits: Waits
) -> tuple[Reason, ...]:
    """Every reason the ask waits, the one that decides first: each alone would hold it back."""
    cycle = _Cycle(view, board, rules, now)
    found = {waits.reason.code: waits.reason}
    fitting = cycle._fitting(ask)
    if fitting < ask.least:
        reason = cycle._no_room(ask, fitting, cycle._reserve(ask, fitting))
        found.setdefault(reason.code, reason)
    if held := quota.holds_back(view, ask.tenant, ask.least * ask.chips_per_node):
        found.setdefault(held.code, held)
    front = board.front
    if front is not None and front.owner != ask.owner and "priority" not in found:
        found["priority"] = Reason(
            code="priority",
            text=f"{front.owner} is ahead in the queue and waits for room itself: {front.reason.text}",
            remedy="a higher priority, or a run short enough to end before it starts",
        )
    return tuple(found.values())


def growth(attempt: AttemptId, nodes: int, larger: int) -> Leaves:
    """Decision: come back in a larger size."""
    return Leaves(attempt, "resized", "", f"grows from {nodes} to {larger} nodes", 0)
