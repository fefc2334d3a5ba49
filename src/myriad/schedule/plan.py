"""The scheduling cycle. A generator: each decision is applied by the caller before the next is made.

So a decision sees the effect of those before it, and nothing is copied. First the queue in order, until the
first gang that waits for room: it gets a reservation, and victims if it may have them. Then backfill: who
fits and cannot delay it. Work is bounded by what could start, not by what waits.
"""

from collections.abc import Iterator, Sequence
from typing import Final

from myriad.fleet.columns import Rows
from myriad.kernel.ids import TenantId
from myriad.kernel.units import Instant, Span
from myriad.protocol.values import Code
from myriad.schedule import backfill, conservative, gather, place, preempt, quota, search
from myriad.schedule.asks import Ask, Leaves, Placed, Shape, View, Waits
from myriad.schedule.backfill import Reservation
from myriad.schedule.board import Board, Front, Rules

_MANY: Final = 1 << 60
#: Asks held back by a quota for which one cycle looks for victims inside it.
_FEW: Final = 2


def plan(
    view: View, board: Board, rules: Rules, now: Instant, news: Sequence[Ask] | None = None
) -> Iterator[Placed | Waits | Leaves]:
    """Decide. `news`: only these asks are new and nothing else changed since the last cycle."""
    if not len(board.queue):
        board.front = None
        return iter(())
    cycle = Cycle(view, board, rules, now, decides=True)
    return cycle.whole() if news is None else cycle.arrivals(news)


class Cycle:
    """One cycle, or the same questions asked without deciding."""

    def __init__(
        self, view: View, board: Board, rules: Rules, now: Instant, *, decides: bool = False
    ) -> None:
        self.view, self.board, self.rules, self.now, self._decides = view, board, rules, now, decides
        #: Asks held back by a quota, newly found, and whose quota it is.
        self._full: list[tuple[Ask, TenantId]] = []
        #: Shapes of which one would have kept nodes from the gang in front: others that run longer would,
        #: too, until something is placed.
        self._in_the_way: dict[Shape, None] = {}

    # ---- the queue in order ------------------------------------------------------------------------

    def whole(self) -> Iterator[Placed | Waits | Leaves]:
        """Everything that waits."""
        self.board.front = None
        if self.rules.order.search and (asks := self._searchable()):
            yield from self._searched(asks)
            return
        while True:
            ask = next((ask for ask in self.board.queue.walk(self.worth) if not self._is_full(ask)), None)
            yield from self._inside_quotas()
            if ask is None:
                return
            decision = self.attempt(ask)
            if not isinstance(decision, Placed):
                yield from self._stop_at(ask, decision)
                return
            yield decision

    def arrivals(self, news: Sequence[Ask]) -> Iterator[Placed | Waits | Leaves]:
        """New asks only: the others were decided about, and an ask more frees no chip."""
        if self.rules.order.search:
            yield from self.whole()
            return
        for ask in news:
            if self.board.queue.get(ask.owner) is None:
                continue  # it passed one that came with it
            front = self.board.front
            if front is not None and self.board.queue.get(front.owner) is None:
                front = self.board.front = None
            ordered = self.rules.backfill.policy == "conservative"
            if front is not None and (ordered or self.board.queue.before(ask.owner, front.owner)):
                yield from self.whole()
                return
            if code := self.held_back(ask):
                yield Waits(ask, code, 0)
            elif front is None:
                decision = self.attempt(ask)
                if isinstance(decision, Placed):
                    yield decision
                else:
                    yield from self._stop_at(ask, decision)
            else:
                fits = self.fitting(ask) >= ask.least
                passed = self.passes(ask, front) if fits and self._could_pass(ask, front) else None
                if passed is None:
                    yield Waits(ask, "priority" if fits else self.no_room(ask), front.held.starts_at)
                    continue
                # before it is applied: whoever is looked at next must find what is left
                self.board.front = front._replace(held=passed[1])
                yield passed[0]

    def _searchable(self) -> list[Ask]:
        """What waits, if it is little enough and each run time is known; else nothing."""
        queue, most = self.board.queue, self.rules.order.search_queue
        if not 2 <= len(queue) <= most:
            return []
        asks = [ask for ask in queue.walk(self.worth) if not self._is_full(ask)]
        plain = all(
            ask.run_ns and not (ask.keep or ask.within or ask.reservation or ask.chip) for ask in asks
        )
        return asks if plain and len(asks) >= 2 else []

    def _searched(self, asks: list[Ask]) -> Iterator[Placed | Waits | Leaves]:
        """Those that start now in the best order found."""
        columns, largest = self.view.columns, max(asks, key=lambda ask: ask.chips_per_node)
        size = largest.chips_per_node
        coming = (
            (at, backfill.chips_of(end, largest, columns.kinds.all[0]) // size)
            for at, end in self.board.ends.coming(self.now)
        )
        free = backfill.Profile(self.now, columns.fitting(size, 0), coming)
        items = [
            search.Item(
                self.board.queue.band(ask.owner),
                -(-ask.least * ask.chips_per_node // size),
                ask.run_on(ask.least),
            )
            for ask in asks
        ]
        found = search.improve(free, items, self.rules.order.search)
        for one in found.order:
            ask, start = asks[one], found.starts[one]
            # those before it may have taken what its quota allowed
            decision = self.attempt(ask) if start == self.now and not self._is_full(ask) else None
            if isinstance(decision, Placed):
                yield decision
            elif self.board.front is None:
                yield from self._stop_at(ask, None, later=start)

    def _is_full(self, ask: Ask) -> bool:
        """Whether quota or budget hold it back; that a quota does is remembered until something ends."""
        chips = ask.least * ask.chips_per_node
        by = quota.short_of(self.view, ask.tenant, chips)
        if by is not None:
            self.board.full.add(ask.tenant, chips, by)
            self._full.append((ask, by))
            return True
        if self.view.claims and self._is_promised(ask, chips):
            return True
        return self.view.is_spent(ask.tenant, self.now) or (bool(ask.reservation) and self._is_kept_out(ask))

    def _is_promised(self, ask: Ask, chips: int) -> bool:
        """Whether it would take quota that is being given back for another."""
        claims, queue = self.view.claims, self.board.queue
        waiting = (queue.get(owner) for owner, gangs in claims.items() if gangs)
        return any(one is not None and quota.is_promised(self.view, one, ask, chips) for one in waiting)

    def _is_kept_out(self, ask: Ask) -> bool:
        """Whether it waits for its reservation: it may have no other nodes, so it holds nobody up."""
        return self.attempt(ask) is None

    def worth(self, tenant: TenantId, shape: Shape) -> bool:
        """Whether it is small enough for what its quotas have left, as far as this cycle knows."""
        return shape.chips < self.board.full.chips.get(tenant, _MANY)

    # ---- one ask -----------------------------------------------------------------------------------

    def held_back(self, ask: Ask) -> Code | None:
        """What keeps the ask from running wherever there is room."""
        if quota.short_of(self.view, ask.tenant, ask.least * ask.chips_per_node) is not None:
            return "quota"
        if self.view.is_spent(ask.tenant, self.now):
            return "budget"
        return "reservation" if ask.reservation and self._is_kept_out(ask) else None

    def attempt(self, ask: Ask) -> Placed | Waits | None:
        """A place for it now, at the largest size that can be had; Waits: one pod later is better."""
        barred = self.view.barred(ask, self.now)
        fitting = self._fitting(ask, barred)
        least = ask.least
        if fitting < least:
            return None
        for nodes in ask.choices:
            larger = nodes > least
            if nodes > fitting or (
                larger and quota.short_of(self.view, ask.tenant, nodes * ask.chips_per_node) is not None
            ):
                continue
            choice = place.choose(self.view.columns, ask, nodes, self.rules.placement, barred)
            if choice is None:
                continue
            if choice.racks > 1 and not ask.keep and (waits := self._better_later(ask, nodes, choice)):
                return waits
            return Placed(ask, choice.members, choice.rows, choice.replaced)
        return None

    def fitting(self, ask: Ask) -> int:
        """Nodes that could take a member of the gang now."""
        return self._fitting(ask, self.view.barred(ask, self.now))

    def _fitting(self, ask: Ask, barred: Rows | None) -> int:
        count = place.fitting(self.view.columns, ask)
        if barred is not None:
            count -= int((self.view.columns.offer[barred] >= ask.chips_per_node).sum())
        return count

    def _better_later(self, ask: Ask, nodes: int, choice: place.Choice) -> Waits | None:
        """Whether it waits for fewer racks, or for one pod, if that is predicted to end it earlier."""
        share, columns, racks = self.rules.place.wait_for_racks, self.view.columns, choice.racks
        due = gather.until(columns, self.board, share, ask, nodes, racks, self.now, decides=self._decides)
        if due or choice.pods == 1:
            return Waits(ask, "topology", due) if due else None
        lost_ns = self.lost_to_spread(ask, nodes, choice.cores)
        if not (self.rules.place.wait_for_pod and lost_ns):
            return None
        held = self._reserve_in_pod(ask, nodes)
        if held.starts_at <= self.now or held.starts_at - self.now >= lost_ns:
            return None  # nothing to wait for, or not worth it
        return Waits(ask, "topology", held.starts_at)

    def lost_to_spread(self, ask: Ask, nodes: int, cores: int) -> Span:
        """Run time that several pods (or cores) cost beyond one."""
        cost = ask.stretch[2 if cores > 1 else 1] - ask.stretch[0]
        return max(0, int(ask.run_on(nodes) * cost))

    # ---- the one in front ----------------------------------------------------------------------------

    def _stop_at(
        self, ask: Ask, waits: Waits | None, later: Instant = 0
    ) -> Iterator[Placed | Waits | Leaves]:
        """It waits in front; `later`: a start that was planned for it, with nobody to pass it."""
        fitting = self.fitting(ask)
        if later:
            self.board.front = Front(
                ask.owner, Reservation(later, 0), self.no_room(ask), ask.chips_per_node, self.kind(ask)
            )
            yield Waits(ask, self.no_room(ask), later)
            return
        if waits is not None:
            level = self.view.columns.level_of(ask.chips_per_node)
            largest = int(self.view.columns.pod_nodes[0, level].max())
            gathers = self.board.gathers.get(ask.owner, 0) > self.now
            held = Reservation(waits.starts_at, max(0, fitting - (ask.least if gathers else largest)))
        else:
            held = self.reserve(ask, fitting)
            victims = self._victims(ask, fitting, held)
            if victims:
                yield from victims
                held = self.reserve(ask, fitting)
            waits = Waits(ask, self.no_room(ask), held.starts_at)
        front = self.board.front = Front(ask.owner, held, waits.code, ask.chips_per_node, self.kind(ask))
        yield waits
        if self.rules.backfill.policy != "none":
            yield from self._backfill(front)

    def _victims(self, ask: Ask, fitting: int, held: Reservation) -> Sequence[Leaves]:
        """Who leaves for it: nobody if there will be room soon enough anyway."""
        knobs, policy = self.rules.preempt, self.rules.preemption
        patience_ns = ask.patience_ns or knobs.ns("patience")
        if held.starts_at and held.starts_at - self.now <= patience_ns:
            return ()
        need = ask.least - fitting - self.view.coming(ask.owner)
        if policy is None or need <= 0 or ask.within or self.board.victims_at.get(ask.owner, 0) > self.now:
            return ()
        wait_ns = held.starts_at - self.now if held.starts_at else _MANY
        worth = int(knobs.worth * ask.least * ask.chips_per_node * wait_ns)
        verdict = preempt.choose(self.view, ask, need, self.now, knobs, policy, self.board.holders, worth)
        self._ask_again(ask, bool(verdict.victims))
        return [
            Leaves(gang.attempt, "preempted", ask.owner, verdict.why, ask.patience_ns)
            for gang in verdict.victims
        ]

    def _inside_quotas(self) -> Iterator[Leaves]:
        """A quota that is full of lower classes makes room for a higher one of the same tenant."""
        if not self._full:
            return
        full, self._full = self._full, []
        policy, knobs = self.rules.preemption, self.rules.preempt
        if policy is None or not knobs.priority:
            return
        lowest = min((rank for _, rank in self.board.holders), default=0)
        for ask, by in [one for one in full if one[0].rank > lowest][:_FEW]:
            if self.board.victims_at.get(ask.owner, 0) > self.now or self.view.coming(ask.owner):
                continue
            among = self.board.holders
            lower = [one for one in among if one[1] < ask.rank and by in self.view.path(one[0])]
            if not lower:
                continue
            short = ask.least * ask.chips_per_node - quota.left(self.view, by)
            victims = preempt.inside(self.view, ask, short, self.now, knobs, policy, lower)
            if self.fitting(ask) + preempt.room_after(ask, victims) < ask.least:
                victims = ()  # the quota alone would not let it start, and they would come back
            self._ask_again(ask, bool(victims))
            for gang in victims:
                why = f"makes room for {ask.owner}, of a higher priority, in the quota of {by}"
                yield Leaves(gang.attempt, "preempted", ask.owner, why, ask.patience_ns)

    def _ask_again(self, ask: Ask, found: bool) -> None:
        """When to look for victims again: nobody found now may have run long enough later."""
        later = 0 if found else self.rules.preempt.ns("min_run") // 4
        self.board.victims_at[ask.owner] = self.now + later

    def reserve(self, ask: Ask, fitting: int) -> Reservation:
        """When there will be room for it."""
        if ask.within in ("pod", "rack"):
            held = self._reserve_in_pod(ask, ask.least)
            return held if held.starts_at > self.now else Reservation(0, 0)
        kind, coming = self.kind(ask), self.board.ends.coming(self.now)
        size = ask.chips_per_node
        chips = ((at, backfill.chips_of(end, ask, kind)) for at, end in coming)
        held = backfill.reserve(ask.least * size, fitting * size, chips, self.now)
        if not held.starts_at and self.view.columns.serving(size, kind) < ask.least:
            # it needs nodes that are out of service: whoever fits now is in nobody's way
            return Reservation(0, fitting)
        return held._replace(extra=held.extra // size)

    def _reserve_in_pod(self, ask: Ask, nodes: int) -> Reservation:
        columns, kind = self.view.columns, self.kind(ask)
        free = columns.pod_nodes[0, columns.level_of(ask.chips_per_node)].tolist()
        coming = ((at, end.pods) for at, end in self.board.ends.coming(self.now) if end.kind == kind)
        return backfill.reserve_in_pod(nodes, free, coming, self.now)

    def kind(self, ask: Ask | Shape) -> str:
        """The chip type it runs on."""
        return ask.chip or self.view.columns.kinds.all[0]

    # ---- backfill ----------------------------------------------------------------------------------

    def _backfill(self, front: Front) -> Iterator[Placed]:
        ordered = self.rules.backfill.policy == "conservative"
        yield from conservative.placed(self, front) if ordered else self._easy(front)

    def _easy(self, front: Front) -> Iterator[Placed]:
        """Shortest first: whoever ends before the reserved start, or needs only what it leaves over."""
        knobs, held = self.rules.backfill, front.held
        self._in_the_way.clear()
        shapes = [shape for shape in self.board.queue.shapes() if self._may_fit(shape)]
        if not shapes:
            return
        window = int((held.starts_at - self.now) / knobs.slack) if held.starts_at else 0
        longest = {shape: 0 if self._may_stay(shape, front) else window for shape in shapes}
        for ask in self.board.queue.shortest(longest, knobs.depth):
            now_front = self.board.front or front
            if self.fitting(ask) < ask.least or not self._could_pass(ask, now_front):
                continue
            if not self.worth(ask.tenant, ask.shape):
                continue
            if ask.owner == front.owner or self._is_full(ask):
                continue
            if ask.shape in self._in_the_way and _is_plain(ask):
                continue
            passed = self.passes(ask, now_front)
            if passed is None:
                continue
            # before it is applied: whoever is looked at next must find what is left
            self.board.front = now_front._replace(held=passed[1])
            yield passed[0]
            self._in_the_way.clear()
            if not any(self._may_fit(shape) for shape in shapes):
                return

    def _could_pass(self, ask: Ask, front: Front) -> bool:
        """Whether an ask that fits is worth a closer look: cheap, since most are not."""
        if (
            self.kind(ask) != front.kind
            or ask.least <= front.held.extra
            or ask.chips_per_node < front.chips_per_node
        ):
            return True
        run_ns = int(ask.run_on(ask.least) * self.rules.backfill.slack)
        return backfill.ends_in_time(run_ns, front.held, self.now)

    def _may_stay(self, shape: Shape, front: Front) -> bool:
        """Whether such a gang could run on beyond the reserved start: small enough, or in broken nodes."""
        if self.kind(shape) != front.kind:
            return True
        return shape.nodes <= front.held.extra or shape.chips_per_node < front.chips_per_node

    def _may_fit(self, shape: Shape) -> bool:
        columns = self.view.columns
        kind = columns.kinds.index.get(shape.chip, -1) if shape.chip else 0
        fitting = columns.fitting(shape.chips_per_node, kind)
        return fitting + (columns.spares if shape.spares else 0) >= shape.nodes

    def passes(self, ask: Ask, front: Front) -> tuple[Placed, Reservation] | None:
        """A place before the one in front, and what is left of the reservation then; None: it waits."""
        held = front.held
        other = self.kind(ask) != front.kind and self.rules.backfill.policy == "easy"
        may = ask if other else self._passing(ask, front)
        decision = self.attempt(may) if may else None
        if not isinstance(decision, Placed):
            return None
        if other:
            return decision, held
        run_ns = int(ask.run_on(ask.least) * self.rules.backfill.slack)
        if self.rules.backfill.policy == "conservative" or backfill.ends_in_time(run_ns, held, self.now):
            return decision, held
        taken = self._taken_from(front, decision, run_ns)
        if taken <= held.extra:
            return decision, held._replace(extra=held.extra - taken)
        if _is_plain(ask) and self.view.barred(ask, self.now) is None:
            self._in_the_way[ask.shape] = None
        return None

    def _taken_from(self, front: Front, decision: Placed, run_ns: Span) -> int:
        """Nodes that it keeps from the one in front: not those that others keep broken for longer anyway."""
        ends_at = self.now + run_ns if run_ns else _MANY
        offer = self.view.columns.offer
        return sum(
            int(offer[row]) >= front.chips_per_node or self.view.busy_until(row) < ends_at
            for row in decision.rows
        )

    def _passing(self, ask: Ask, front: Front) -> Ask | None:
        """The ask as it may go before the one in front, whose turn is before it; None: it may not."""
        knobs = self.rules.backfill
        run_ns = int(ask.run_on(ask.least) * knobs.slack)
        if knobs.policy != "conservative":
            if knobs.policy == "none" or backfill.ends_in_time(run_ns, front.held, self.now):
                return ask if knobs.policy == "easy" else None
            nodes = self._beside(ask, front)
            if ask.chips_per_node >= front.chips_per_node:
                nodes = min(front.held.extra, nodes)
            return _at_most(ask, nodes) if ask.least <= nodes else None
        return conservative.passing(self, ask, front)

    def _beside(self, ask: Ask, front: Front) -> int:
        """Nodes it may hold so that the quota is left with which the one in front will start."""
        first = self.board.queue.get(front.owner)
        if first is None:
            return ask.nodes
        chips = first.least * first.chips_per_node
        return quota.room_beside(self.view, ask.tenant, first.tenant, chips) // ask.chips_per_node

    # ---- why -----------------------------------------------------------------------------------------

    def no_room(self, ask: Ask) -> Code:
        """Too few chips, or enough in pieces that do not fit."""
        if ask.reservation:
            return "reservation"
        scattered = self.view.columns.free_chips >= ask.least * ask.chips_per_node
        return "fragmentation" if scattered else "capacity"

    def behind(self, ask: Ask) -> Code:
        """Why it does not pass the one in front."""
        return self.no_room(ask) if self.fitting(ask) < ask.least else "priority"


def _is_plain(ask: Ask) -> bool:
    """Whether it goes where any other of its shape would."""
    return not (ask.keep or ask.avoid or ask.sizes)


def _at_most(ask: Ask, nodes: int) -> Ask:
    return ask._replace(sizes=tuple(size for size in ask.sizes if size <= nodes)) if ask.sizes else ask


def decide(view: View, board: Board, rules: Rules, now: Instant, ask: Ask) -> Placed | Waits:
    """What the next cycle would decide about a waiting ask, by the same rules; nothing is changed."""
    cycle = Cycle(view, board, rules, now)
    if code := cycle.held_back(ask):
        return Waits(ask, code, 0)
    front = board.front
    if front and front.owner != ask.owner and not board.queue.before(ask.owner, front.owner):
        passed = cycle.passes(ask, front)
        return passed[0] if passed else Waits(ask, cycle.behind(ask), front.held.starts_at)
    decision = cycle.attempt(ask)
    if decision is None:
        return Waits(ask, cycle.no_room(ask), cycle.reserve(ask, cycle.fitting(ask)).starts_at)
    return decision
