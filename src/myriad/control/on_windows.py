"""What follows from reservations and maintenance windows: nodes are emptied when they begin."""

from collections.abc import Collection, Iterator

from myriad.control import on_gangs, on_nodes
from myriad.control.moment import Moment
from myriad.kernel.errors import near
from myriad.kernel.ids import NodeId
from myriad.protocol import facts, inputs
from myriad.protocol.facts import Fact
from myriad.protocol.values import Reason
from myriad.workload.windows import Window


def on_set_window(m: Moment, given: inputs.SetWindow) -> Iterator[Fact]:
    """Keep the nodes, or say why not. One name, one window: set again, it is changed."""
    window, known = given.window, m.state.windows.get(given.window.name)
    reason = _refusal(m, window)
    if reason is not None:
        yield facts.Refused(at=m.now, intent="SetWindow", subject=window.name, reason=reason)
    elif known != window:
        yield facts.WindowSet(at=m.now, window=window, by=given.by)
        begun = window.start_at <= m.now
        if known is not None:
            yield from _release(m, known, window.nodes if begun and window.kind == "maintenance" else ())
        if begun:
            yield from _begin(m, window)


def on_end_window(m: Moment, given: inputs.EndWindow) -> Iterator[Fact]:
    """Give the nodes back early, or forget a window that has not begun."""
    window = m.state.windows.get(given.name)
    if window is not None:
        yield from _end(m, window)
        return
    text = f"there is no window {given.name}"
    reason = Reason(code="unknown", text=text, remedy=near(given.name, m.state.windows))
    yield facts.Refused(at=m.now, intent="EndWindow", subject=given.name, reason=reason)


def on_due(m: Moment, window: Window) -> Iterator[Fact]:
    """It begins, or it is over."""
    if m.now >= window.end_at:
        yield from _end(m, window)
    elif m.now >= window.start_at:
        yield from _begin(m, window)
        # said again, so that the end rings too
        yield facts.WindowSet(at=m.now, window=window)


def _begin(m: Moment, window: Window) -> Iterator[Fact]:
    why = f"{window.kind} {window.name}" + (f": {window.reason}" if window.reason else "")
    if window.kind == "maintenance":
        for node in window.nodes:
            yield from on_nodes.cordon(m, node, _by(window), why)
        return
    for attempt in dict.fromkeys(gang for node in window.nodes for gang in m.state.nodes[node].gangs):
        gang = m.state.gangs[attempt]
        own = bool(gang.job) and m.state.jobs[gang.job].spec.reservation == window.name
        if not own:
            yield from on_gangs.ask_to_leave(m, gang, why)


def _end(m: Moment, window: Window) -> Iterator[Fact]:
    yield facts.WindowEnded(at=m.now, name=window.name)
    yield from _release(m, window, ())


def _release(m: Moment, window: Window, still: Collection[NodeId]) -> Iterator[Fact]:
    """Give back the nodes that only this window kept out of service, but for those still wanted."""
    for node in window.nodes:
        record = m.state.nodes[node]
        if record.cordoned and record.cordoned_by == _by(window) and node not in still:
            yield from on_nodes.uncordon(m, node)


def _by(window: Window) -> str:
    return f"window {window.name}"


def _refusal(m: Moment, window: Window) -> Reason | None:
    for node in window.nodes:
        if node not in m.state.nodes:
            remedy = near(node, list(m.state.nodes)[:2000])
            return Reason(code="unknown", text=f"there is no node {node}", remedy=remedy)
    if window.end_at <= m.now:
        return Reason(code="ended", text="its end has passed", remedy="give an end in the future")
    if window.tenant and window.tenant not in m.state.tenants:
        remedy = near(window.tenant, m.state.tenants)
        return Reason(code="unknown", text=f"there is no tenant {window.tenant}", remedy=remedy)
    wanted = set(window.nodes)
    for other in m.state.windows.values():
        apart = other.end_at <= window.start_at or other.start_at >= window.end_at
        if other.name != window.name and not apart and (both := wanted.intersection(other.nodes)):
            text = f"{min(both)} is kept by {other.kind} {other.name} in that time"
            return Reason(code="not_allowed", text=text, remedy="choose other nodes or another time")
    return None
