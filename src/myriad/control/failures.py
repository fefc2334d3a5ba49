"""What losses, incidents and repairs do to the state: the part of `apply` that counts failures.

A loss is counted against its node and in the rate of failures, until an incident explains it.
"""

from collections.abc import Iterable
from typing import cast

from myriad.control.records import IN_SERVICE, RECOVERING, Domain, Ended, Incident, Job, Node
from myriad.control.state import State
from myriad.fleet.columns import NodeState
from myriad.kernel.ids import IncidentId, NodeId
from myriad.kernel.units import Instant
from myriad.protocol import facts
from myriad.protocol.values import DomainKind

#: States in which an incident has no hold on a node any more.
_BACK = (*IN_SERVICE, NodeState.RETIRED)
#: Incidents that are over and still shown.
_INCIDENTS = 256
#: Jobs that a node is remembered to have failed.
_BLAMED = 8
#: Flaps of a node that are remembered: enough to double the time to settle up to any ceiling.
_FLAPS = 16


def size_domains(state: State, nodes: Iterable[NodeId]) -> None:
    for domain in state.domains.values():
        domain.size = 0
    for node in nodes:
        for key in state.domain_keys(node):
            if key not in state.domains:
                kind, _, name = key.partition(":")
                state.domains[key] = Domain(kind=cast(DomainKind, kind), name=name)
            state.domains[key].size += 1


def on_lost(state: State, fact: facts.NodeLost) -> None:
    node = state.nodes[fact.node]
    state.losses += 1
    node.counted = state.node_state(fact.node) in IN_SERVICE
    state.failures += node.counted
    node.lost_at = node.lost_at or fact.at
    node.silent_since = 0
    hold_against(state, fact.node, (*node.losses, fact.at))
    for domain in state.domains_of(fact.node):
        domain.lost.pop(fact.node, None)
        domain.lost[fact.node] = fact.at
    for attempt in node.gangs:
        state.gangs[attempt].lost[fact.node] = None


def hold_against(state: State, node: NodeId, losses: tuple[Instant, ...]) -> None:
    """Losses that the node answers for."""
    state.nodes[node].losses = losses
    _rank(state, node)


def _rank(state: State, node: NodeId) -> None:
    """Whether placement has doubts: such nodes are taken when no others are left."""
    record = state.nodes[node]
    state.columns.set_doubt(node, losses=len(record.losses), slow=bool(record.slow))


def on_lagged(state: State, fact: facts.NodeLagged) -> None:
    """An outlier, or one no longer."""
    node = state.nodes[fact.node]
    node.lagging, node.paced_at = fact.ratio, fact.at


def on_slow(state: State, fact: facts.NodeSlow) -> None:
    """Slow for good, or well again."""
    state.nodes[fact.node].slow = fact.ratio if fact.slow else 0.0
    _rank(state, fact.node)


def on_forgotten(state: State, fact: facts.LossesForgotten) -> None:
    node = state.nodes[fact.node]
    node.until = fact.until
    hold_against(state, fact.node, tuple(at for at in node.losses if at >= fact.before))


def on_opened(state: State, fact: facts.IncidentOpened) -> None:
    incident = state.incidents[fact.incident] = Incident(
        incident=fact.incident,
        kind=fact.kind,
        domain=fact.domain,
        since=fact.since,
        last_at=fact.at,
        why=fact.why,
    )
    state.incident_count += 1
    state.failures += 1
    state.domains[f"{fact.kind}:{fact.domain}"].incident = fact.incident
    for node in fact.nodes:
        _explain(state, incident, node)


def on_joined(state: State, fact: facts.IncidentJoined) -> None:
    incident = state.incidents[fact.incident]
    incident.last_at = fact.at
    _explain(state, incident, fact.node)


def _explain(state: State, incident: Incident, node: NodeId) -> None:
    """The node's loss was the incident's doing."""
    record = state.nodes[node]
    incident.nodes[node] = None
    hold_against(state, node, tuple(at for at in record.losses if at < incident.since))
    state.failures -= record.counted
    record.counted, record.lost_at = False, 0
    if state.node_state(node) not in _BACK:
        if record.incident:
            state.incidents[record.incident].out.pop(node)
        record.incident = incident.incident
        incident.out[node] = None


def on_closed(state: State, fact: facts.IncidentClosed) -> None:
    incident = state.incidents.pop(fact.incident)
    incident.closed_at, incident.into = fact.at, fact.into
    domain = state.domains[f"{incident.kind}:{incident.domain}"]
    if domain.incident == fact.incident:
        domain.incident = IncidentId("")
    if fact.into:
        wider = state.incidents[fact.into]
        state.failures -= 1
        wider.nodes |= incident.nodes
        for node in incident.out:
            state.nodes[node].incident = fact.into
            wider.out[node] = None
    incident.out = {}
    state.past_incidents[fact.incident] = incident
    if len(state.past_incidents) > _INCIDENTS:
        del state.past_incidents[next(iter(state.past_incidents))]


def blame(state: State, job: Job, ended: Ended) -> None:
    """Where a failure began is held against the job's story and, unless it had no choice, the node's."""
    if not ended.root:
        return
    job.roots = (*job.roots, ended.root)[-4:]
    if len(ended.nodes) > 1:
        blamed = state.nodes[ended.root].blamed
        blamed.pop(job.job, None)
        blamed[job.job] = ended.stopped_at
        if len(blamed) > _BLAMED:
            del blamed[next(iter(blamed))]


def start_anew(state: State, fact: facts.NodeMoved) -> None:
    """Whatever made a node slow or its gangs fail is to be shown again after repair or qualification."""
    node = state.nodes[fact.node]
    if fact.state not in (NodeState.BURN_IN, NodeState.REPAIRING):
        return
    node.blamed = {}
    if node.lagging or node.slow:
        node.lagging = node.slow = 0.0
        _rank(state, fact.node)


def count_flap(node: Node, fact: facts.NodeMoved, before: NodeState) -> None:
    """A node turns suspect that was well, or was about to be trusted again."""
    was_well = before is not NodeState.SUSPECT or node.why == RECOVERING
    if fact.state is NodeState.SUSPECT and was_well and fact.why != RECOVERING:
        node.flaps = (*node.flaps, fact.at)[-_FLAPS:]


def count_move(state: State, fact: facts.NodeMoved, before: NodeState) -> None:
    """Time in service, the end of a repair, and an incident that has one node less to wait for."""
    node = state.nodes[fact.node]
    if change := (fact.state in IN_SERVICE) - (before in IN_SERVICE):
        state.count_service(change)
    if node.lost_at and fact.state in IN_SERVICE:
        state.repairs += 1
        state.repair_ns += fact.at - node.lost_at
        node.lost_at = 0
    if node.incident and fact.state in _BACK:
        state.incidents[node.incident].out.pop(fact.node)
        node.incident = IncidentId("")
