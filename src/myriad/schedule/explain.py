"""Why something waits, in sentences: each reason that alone would hold it back, and what would end it."""

from myriad.fleet.columns import FOREVER
from myriad.kernel.units import Instant, show_span
from myriad.protocol.values import Code, Reason
from myriad.schedule import quota
from myriad.schedule.asks import Ask, View, Waits
from myriad.schedule.board import Board, Front, Rules
from myriad.schedule.plan import Cycle


def reasons(view: View, board: Board, rules: Rules, now: Instant, waits: Waits) -> tuple[Reason, ...]:
    """Every reason the ask waits, the one that decides first."""
    cycle, ask = Cycle(view, board, rules, now), waits.ask
    codes: dict[Code, None] = {waits.code: None}
    if cycle.fitting(ask) < ask.least:
        codes.setdefault(cycle.no_room(ask))
    if held := cycle.held_back(ask):
        codes.setdefault(held)
    front = board.front
    waiting = front is not None and board.queue.get(front.owner) is not None
    if front is not None and waiting and board.queue.before(front.owner, ask.owner):
        codes.setdefault("priority")
    return tuple(_reason(cycle, ask, code, front, waits) for code in codes)


def _reason(cycle: Cycle, ask: Ask, code: Code, front: Front | None, waits: Waits) -> Reason:
    if code == "quota":
        found = quota.holds_back(cycle.view, ask.tenant, ask.least * ask.chips_per_node)
        assert found is not None
        return found
    if code == "budget":
        text = f"{ask.tenant} has spent its budget of this period"
        return Reason(code=code, text=text, remedy="starts with the next period, or with a larger budget")
    if code == "priority":
        assert front is not None
        return _behind(cycle, ask, front)
    if code == "topology":
        return _spread(cycle, ask, waits)
    return _no_room(cycle, ask, code)


def _no_room(cycle: Cycle, ask: Ask, code: Code) -> Reason:
    fitting, free = cycle.fitting(ask), cycle.view.columns.free_chips
    held = cycle.reserve(ask, fitting)
    others = cycle.view.columns.others(ask.chips_per_node, cycle.kind(ask))
    text = f"needs {ask.least} nodes with {ask.chips_per_node} free chips"
    text += f" in one {ask.within}" if ask.within else ""
    text += f" of reservation {ask.reservation}" if ask.reservation else ""
    text += f"; {fitting} are free now"
    text += f" ({free} chips free in all, too scattered)" if code == "fragmentation" else ""
    text += _others(others, ask.least - fitting, cycle.now)
    when = "when running work ends or nodes return"
    if held.starts_at > cycle.now:
        when = f"in about {show_span(held.starts_at - cycle.now)}"
    can = 0 < fitting < ask.least
    remedy = f"starts {when}; ask for {fitting} nodes to start now" if can else f"starts {when}"
    return Reason(code=code, text=text, remedy=remedy)


def _others(ends: list[Instant], lacking: int, now: Instant) -> str:
    """Nodes that the cluster's own scheduler gave to others, and by when enough of them must come back."""
    if not ends:
        return ""
    text = f"; others use {len(ends)} through the cluster's own scheduler"
    if 0 < lacking <= len(ends) and (until := ends[lacking - 1]) < FOREVER:
        text += f", {lacking} of them for {show_span(max(0, until - now))} at the most"
    return text


def _spread(cycle: Cycle, ask: Ask, waits: Waits) -> Reason:
    lost_ns, at_most = cycle.lost_to_spread(ask, ask.nodes, 1), max(0, waits.starts_at - cycle.now)
    if not lost_ns or cycle.board.gathers.get(ask.owner) == waits.starts_at:
        text = (
            f"there is room, but on more racks than it needs; waits for fewer, {show_span(at_most)} at most"
        )
        return Reason(
            code="topology", text=text, remedy="starts then; smaller gangs fit into one rack earlier"
        )
    text = f"several pods now would cost {show_span(lost_ns)} of run time; one pod is predicted to have room"
    text += f" in {show_span(at_most)}"
    return Reason(code="topology", text=text, remedy="starts then; smaller gangs fit into one pod earlier")


def _behind(cycle: Cycle, ask: Ask, front: Front) -> Reason:
    if cycle.fitting(ask) >= ask.least:
        text = f"would delay {front.owner}, which is ahead in the queue"
    else:
        text = f"{front.owner} is ahead in the queue and waits for room itself"
    remedy = (
        f"starts after {front.owner}; a shorter or smaller job, or a higher priority, could start earlier"
    )
    return Reason(code="priority", text=text, remedy=remedy)
