"""What follows from what nodes do: join, qualify, fall silent, get lost, be fenced, be drained."""

from collections.abc import Iterable, Iterator, Sequence

from myriad.control import on_gangs
from myriad.control.moment import Moment
from myriad.control.records import AWAY, RECOVERING, Domain
from myriad.fleet.columns import NodeState
from myriad.kernel.errors import near
from myriad.kernel.ids import IncidentId, NodeId
from myriad.kernel.units import Instant, Span
from myriad.protocol import facts, inputs
from myriad.protocol.facts import Fact
from myriad.protocol.values import Reason, Signal
from myriad.recover import flaps, health, incidents

#: States of a node that is well and empty, or at work: it may change between them at once.
_SERVES = (NodeState.READY, NodeState.OCCUPIED)


# ---- observations ------------------------------------------------------------------------------


def on_joined(m: Moment, given: inputs.NodeJoined) -> Iterator[Fact]:
    """An agent is up. A new incarnation proves that the old one, and all that ran in it, is dead."""
    node = m.state.nodes.get(given.node)
    if node is None or given.instance in node.past:
        return
    state = m.state.node_state(given.node)
    if state is NodeState.RETIRED or (given.instance == node.instance and state is not NodeState.JOINING):
        return
    if given.instance != node.instance:
        if state not in AWAY:
            yield from _lose(m, given.node, ("process",), "it came back as a new incarnation")
        yield from _fence_members(m, given.node)
    yield from _burn_in(m, given.node, "joined", given.instance)


def on_qualified(m: Moment, given: inputs.NodeQualified) -> Iterator[Fact]:
    """Burn-in is over: into service, or to repair."""
    node = m.state.nodes.get(given.node)
    if node is None or m.state.node_state(given.node) is not NodeState.BURN_IN:
        return
    if given.instance != node.instance:
        return
    if not given.ok:
        yield from _lose(m, given.node, (), f"burn-in failed: {given.detail}")
        yield from _keep_out_if_lemon(m, given.node)
        return
    yield from _keep_out_if_lemon(m, given.node)
    if given.gemm_flops > 0:
        yield facts.NodeMeasured(at=m.now, node=given.node, gemm_flops=given.gemm_flops)
    yield from _rest(m, given.node, "qualified")


def on_signalled(m: Moment, given: inputs.NodeSignalled) -> Iterator[Fact]:
    """One source of evidence changed its mind."""
    node = m.state.nodes.get(given.node)
    if node is None or given.instance != node.instance or m.state.node_state(given.node) in AWAY:
        return
    if given.healthy == (given.source not in node.unhealthy):
        return
    yield facts.NodeEvidence(
        at=m.now,
        node=given.node,
        source=given.source,
        healthy=given.healthy,
        detail=given.detail,
        since=m.past(given.since),
    )
    yield from _judge(m, given.node)


def on_fenced(m: Moment, given: inputs.NodeFenced) -> Iterator[Fact]:
    """The incarnation is dead for certain: gangs that waited for that can go on."""
    node = m.state.nodes.get(given.node)
    if node is None or (given.instance and given.instance != node.instance):
        return
    if m.state.node_state(given.node) not in AWAY:
        yield from _lose(m, given.node, ("process",), "its incarnation ended")
    yield from _fence_members(m, given.node)


def on_occupied(m: Moment, given: inputs.NodeOccupied) -> Iterator[Fact]:
    """Others took the node through the cluster's own scheduler, or let it go. Gangs of ours stay there."""
    node = m.state.nodes.get(given.node)
    until = max(0, given.until) if given.by else 0
    if node is None or m.state.node_state(given.node) in AWAY:
        return
    if (node.taken_by, node.taken_until) == (given.by, until):
        return
    before = node.taken_by
    yield facts.NodeTaken(at=m.now, node=given.node, by=given.by, until=until)
    if (
        given.by != before
        and m.state.node_state(given.node) in _SERVES
        and m.state.columns.is_empty(given.node)
    ):
        yield from _rest(m, given.node, "others are done")


def on_deadline(m: Moment, node: NodeId) -> Iterator[Fact]:
    """A deadline of the node came due."""
    state = m.state.node_state(node)
    if state is NodeState.SUSPECT:
        yield from _judge(m, node)
    elif state is NodeState.BURN_IN:
        yield from _lose(m, node, ("order",), "burn-in did not answer in time")
        yield from _keep_out_if_lemon(m, node)
    elif state is NodeState.READY:
        yield from _forget(m, node)
    elif state in (NodeState.JOINING, NodeState.REPAIRING):
        why = m.state.nodes[node].why or "did not join in time"
        yield from _move(m, node, NodeState.REPAIRING, why, m.after("repair_timeout"))


def keep_out(m: Moment, node: NodeId, why: str) -> Iterator[Fact]:
    """Myriad itself takes the node out of service until an operator has looked at it."""
    yield facts.NodeCordoned(at=m.now, node=node, cordoned=True, by="myriad", reason=why)
    if m.state.node_state(node) in _SERVES:
        yield from _rest(m, node, why)


def lose_silent(m: Moment, node: NodeId, why: str) -> Iterator[Fact]:
    """It did not carry out an order in time: it is fenced, whatever else it says."""
    if m.state.node_state(node) not in AWAY:
        yield from _lose(m, node, ("order",), why)


# ---- intents -----------------------------------------------------------------------------------


def on_drain(m: Moment, given: inputs.DrainNode) -> Iterator[Fact]:
    """Take the node out of service; what runs there checkpoints first, then moves."""
    node = m.state.nodes.get(given.node)
    if node is None:
        yield _unknown(m, "DrainNode", given.node)
        return
    why = given.reason or f"drained by {given.by or 'an operator'}"
    yield from cordon(m, given.node, given.by, why)


def cordon(m: Moment, node: NodeId, by: str, why: str) -> Iterator[Fact]:
    """Take a node out of service unless it is already."""
    if m.state.nodes[node].cordoned:
        return
    yield facts.NodeCordoned(at=m.now, node=node, cordoned=True, by=by, reason=why)
    if m.state.node_state(node) in _SERVES:
        yield from _rest(m, node, why)


def on_undrain(m: Moment, given: inputs.UndrainNode) -> Iterator[Fact]:
    """Give the node back. One that was drained is qualified again before it gets work."""
    node = m.state.nodes.get(given.node)
    if node is None:
        yield _unknown(m, "UndrainNode", given.node)
        return
    if node.cordoned:
        yield from uncordon(m, given.node)


def uncordon(m: Moment, node: NodeId) -> Iterator[Fact]:
    """Give a cordoned node back."""
    yield facts.NodeCordoned(at=m.now, node=node, cordoned=False)
    state = m.state.node_state(node)
    if state is NodeState.DRAINED:
        yield from _burn_in(m, node, "undrained", m.state.nodes[node].instance)
    elif state is NodeState.DRAINING:
        yield from _rest(m, node, "undrained")


def retire(m: Moment, node: NodeId) -> Iterator[Fact]:
    """The node left the site file."""
    for attempt in list(m.state.nodes[node].gangs):
        yield from on_gangs.stop(m, m.state.gangs[attempt], "node", f"{node} left the site")
    yield from _fence_members(m, node)
    yield from _move(m, node, NodeState.RETIRED, "left the site", 0)


def await_join(m: Moment, node: NodeId) -> Iterator[Fact]:
    """The site opens: the node is expected to report."""
    yield from _move(m, node, NodeState.JOINING, "", m.after("repair_timeout"))


# ---- moves -------------------------------------------------------------------------------------


def _judge(m: Moment, node: NodeId) -> Iterator[Fact]:
    verdict = health.judge(m.state.nodes[node].unhealthy, m.now, m.policy.recover)
    state = m.state.node_state(node)
    if verdict.health == "lost":
        yield from _lose(m, node, verdict.evidence, "")
    elif verdict.health == "suspect" and state is not NodeState.BURN_IN:
        why = f"no sign of life by {' and '.join(verdict.evidence)}"
        yield from _move(m, node, NodeState.SUSPECT, why, verdict.look_again_at)
    elif verdict.health == "well" and state is NodeState.SUSPECT:
        record = m.state.nodes[node]
        well_at = record.until if record.why == RECOVERING else 0
        if well_at and m.now >= well_at:
            yield from _rest(m, node, "well again")
        elif not well_at:
            until = m.now + flaps.settle_ns(record.flaps, m.now, m.policy.recover)
            yield from _move(m, node, NodeState.SUSPECT, RECOVERING, until)


def _lose(m: Moment, node: NodeId, evidence: tuple[Signal, ...], detail: str) -> Iterator[Fact]:
    """The node is gone: fence it, stop what ran there, and see whether it went alone."""
    yield from _forget(m, node)
    since = m.past(m.state.nodes[node].silent_since)
    yield facts.NodeLost(at=m.now, node=node, evidence=evidence, detail=detail, since=since)
    why = detail or f"lost by {' and '.join(evidence)}"
    yield from _move(m, node, NodeState.REPAIRING, why, m.after("repair_timeout"))
    yield from _explain(m, node)
    for attempt in list(m.state.nodes[node].gangs):
        yield from on_gangs.stop(m, m.state.gangs[attempt], "node", f"{node} {why}", since)


def _explain(m: Moment, node: NodeId) -> Iterator[Fact]:
    """Find the widest domain whose losses, this one with them, are one incident."""
    for domain in m.state.domains_of(node):
        known = m.state.incidents.get(domain.incident)
        if known is not None and incidents.joins(known.last_at, m.now, m.policy.recover):
            earlier = m.state.nodes[node].incident
            yield facts.IncidentJoined(at=m.now, incident=known.incident, node=node)
            yield from _leave_incidents(m, [earlier], known.incident)
            return
        verdict = incidents.judge(domain.kind, domain.size, domain.lost, m.now, m.policy.recover)
        if verdict is not None:
            yield from _open_incident(m, domain, verdict)
            return


def _open_incident(m: Moment, domain: Domain, verdict: incidents.Verdict) -> Iterator[Fact]:
    incident = IncidentId(f"incident-{m.state.incident_count + 1}")
    earlier = dict.fromkeys(m.state.nodes[node].incident for node in verdict.nodes)
    yield facts.IncidentOpened(
        at=m.now,
        incident=incident,
        kind=domain.kind,
        domain=domain.name,
        nodes=verdict.nodes,
        since=verdict.since,
        why=verdict.why,
    )
    yield from _leave_incidents(m, earlier, incident)


def _leave_incidents(m: Moment, earlier: Iterable[IncidentId], into: IncidentId) -> Iterator[Fact]:
    """Nodes went from these to another: what has just begun is part of it, what has no node left is over."""
    for name in earlier:
        old = m.state.incidents.get(name)
        if old is None or name == into:
            continue
        if incidents.joins(old.last_at, m.now, m.policy.recover):
            yield facts.IncidentClosed(at=m.now, incident=name, into=into)
        elif not old.out:
            yield facts.IncidentClosed(at=m.now, incident=name)


def _keep_out_if_lemon(m: Moment, node: NodeId) -> Iterator[Fact]:
    """Judged when it wants to come back: by then it is known whether it had been lost by itself."""
    record = m.state.nodes[node]
    if not record.cordoned and health.is_lemon(record.losses, m.now, m.policy.recover):
        reason = f"lemon: lost {len(record.losses)} times lately; check it, then undrain it"
        yield facts.NodeCordoned(at=m.now, node=node, cordoned=True, by="myriad", reason=reason)


def _forget(m: Moment, node: NodeId) -> Iterator[Fact]:
    """Drop losses that are older than the window in which lemons are judged."""
    window = m.policy.recover.ns("lemon_window")
    losses = m.state.nodes[node].losses
    young = [at for at in losses if at + window >= m.now]
    if len(young) < len(losses):
        until = _remembers_until(young, window)
        yield facts.LossesForgotten(at=m.now, node=node, before=m.now - window, until=until)


def _remembers_until(losses: Sequence[Instant], window: Span) -> Instant:
    """When the oldest loss is too old; 0: there is none."""
    return losses[0] + window + 1 if losses else 0


def _fence_members(m: Moment, node: NodeId) -> Iterator[Fact]:
    for attempt in list(m.state.nodes[node].gangs):
        gang = m.state.gangs[attempt]
        if node not in gang.fenced:
            yield from on_gangs.member_fenced(m, gang, node)


def _burn_in(m: Moment, node: NodeId, why: str, instance: str) -> Iterator[Fact]:
    until = m.after("repair_timeout")
    yield from _move(m, node, NodeState.BURN_IN, why, until, instance=instance)


def _rest(m: Moment, node: NodeId, why: str) -> Iterator[Fact]:
    """Where a healthy node belongs: in service, or out of it if someone wants it so or others use it."""
    record = m.state.nodes[node]
    if record.taken_by and not record.cordoned and m.state.columns.is_empty(node):
        yield from _move(m, node, NodeState.OCCUPIED, f"used by {record.taken_by}", 0)
    elif not record.cordoned:
        until = _remembers_until(record.losses, m.policy.recover.ns("lemon_window"))
        yield from _move(m, node, NodeState.READY, why, until)
    elif m.state.columns.is_empty(node):
        yield from _move(m, node, NodeState.DRAINED, why, 0)
    else:
        yield from _move(m, node, NodeState.DRAINING, why, 0)
        for attempt in list(record.gangs):
            yield from on_gangs.ask_to_leave(m, m.state.gangs[attempt], f"{node} is drained: {why}")


def _move(
    m: Moment, node: NodeId, state: NodeState, why: str, until: int, *, instance: str = ""
) -> Iterator[Fact]:
    part_of = m.state.nodes[node].incident
    incident = m.state.incidents.get(part_of) if part_of else None
    yield facts.NodeMoved(at=m.now, node=node, state=state, why=why, until=until, instance=instance)
    if incident is not None and not incident.out:
        yield facts.IncidentClosed(at=m.now, incident=incident.incident)
    if state is not NodeState.READY and m.state.columns.is_spare(node):
        yield facts.NodeSpared(at=m.now, node=node, spare=False)


def _unknown(m: Moment, intent: str, node: NodeId) -> Fact:
    reason = Reason(
        code="unknown", text=f"there is no node {node}", remedy=near(node, list(m.state.nodes)[:2000])
    )
    return facts.Refused(at=m.now, intent=intent, subject=node, reason=reason)
