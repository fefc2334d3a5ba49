"""What must always hold. Every check names the law it keeps; a broken one is our mistake, so it asserts."""

from collections import Counter

import numpy as np

from myriad.control.records import AWAY, GangPhase
from myriad.control.state import State
from myriad.fleet.columns import Columns, NodeState


def check(state: State) -> None:
    """All invariants, O(site). After every step under test, in the twin, and on idle in production."""
    check_chips(state)
    check_gangs(state)
    check_nodes(state)
    check_failures(state)
    check_jobs(state)
    check_services(state)


def check_chips(state: State) -> None:
    """Conservation: a chip is free or held by exactly one attempt, and usage is the sum of what is held."""
    held: dict[str, int] = {}
    for gang in state.gangs.values():
        for member in gang.members:
            assert held.get(member.node, 0) & member.chips == 0, f"{member.node}: a chip is held twice"
            held[member.node] = held.get(member.node, 0) | member.chips
    columns = state.columns
    check_counts(columns)
    for row, node in enumerate(columns.ids):
        full = (1 << int(columns.chips[row])) - 1
        assert int(columns.free[row]) == full & ~held.get(node, 0), f"{node}: free chips do not match gangs"
        assert int(columns.free_count[row]) == int(columns.free[row]).bit_count(), node
    used = Counter[str]()
    for gang in state.gangs.values():
        for tenant in state.path(gang.tenant):
            used[tenant] += gang.chips
    assert {k: v for k, v in state.usage.items() if v} == dict(used), "usage is not the sum of gangs"


def check_counts(columns: Columns) -> None:
    """What is kept as nodes change is what a count of them all would give."""
    offer, racks, pods = columns.offer, columns.rack_nodes, columns.pod_nodes
    totals, holes = (columns.free_chips, columns.spares, columns.taken), columns.holes
    columns.recount()
    assert np.array_equal(offer, columns.offer), "what nodes offer has drifted"
    assert np.array_equal(racks, columns.rack_nodes), "counts of the racks have drifted"
    assert np.array_equal(pods, columns.pod_nodes), "counts of the pods have drifted"
    assert holes.is_like(columns.holes), "where one node goes has drifted"
    assert totals == (columns.free_chips, columns.spares, columns.taken), "totals of the fleet have drifted"


def check_gangs(state: State) -> None:
    """A gang is whole or absent, belongs to one owner, and each owner knows it."""
    for attempt, gang in state.gangs.items():
        assert attempt == gang.attempt and bool(gang.job) != bool(gang.service), attempt
        assert len(set(gang.nodes)) == len(gang.nodes), f"{attempt}: two members on one node"
        for node in gang.nodes:
            assert attempt in state.nodes[node].gangs, f"{node} does not know {attempt}"
        if gang.job:
            assert state.jobs[gang.job].attempt == attempt, f"{attempt} is not its job's attempt"
            assert len(gang.members) in state.jobs[gang.job].sizes, f"{attempt} is not whole"
        else:
            assert attempt in state.services[gang.service].gangs, attempt
        assert list(gang.left) == [n for n in gang.nodes if n not in gang.done and n not in gang.fenced]
        if gang.phase is not GangPhase.STOPPING:
            assert not gang.lost and not gang.fenced, f"{attempt} goes on without a member"
            assert len(gang.done) < len(gang.members), f"{attempt} is done but not over"
        else:
            assert gang.left, f"{attempt} is stopped but not settled"


def check_nodes(state: State) -> None:
    """Nodes out of service hold nothing new; spares are empty and ready; every attempt on a node lives."""
    columns = state.columns
    for node, record in state.nodes.items():
        kind = columns.state_of(node)
        row = columns.index[node]
        for attempt in record.gangs:
            assert node in state.gangs[attempt].nodes, f"{node}: {attempt} is not there"
        if kind is NodeState.DRAINED:
            assert columns.is_empty(node), f"{node} is drained and not empty"
        if kind is NodeState.DRAINING:
            assert not columns.is_empty(node), f"{node} is draining and empty"
        if columns.spare[row]:
            assert kind is NodeState.READY and columns.is_empty(node), f"spare {node} is not idle"
        if kind is NodeState.READY:
            assert not record.cordoned, f"{node} is in service and cordoned"
        assert bool(columns.taken_until[row]) == bool(record.taken_by), (
            f"{node}: who else uses it has drifted"
        )
        if kind is NodeState.OCCUPIED:
            assert record.taken_by and not record.cordoned, f"{node} is occupied by nobody, or kept out"
            assert columns.is_empty(node), f"{node} is occupied and holds a gang"
        if record.taken_by:
            assert kind not in AWAY, f"{node} is gone, and others use it"
            assert kind is not NodeState.READY or not columns.is_empty(node), f"{node} is taken and offered"
        if kind in (NodeState.SUSPECT, NodeState.BURN_IN, NodeState.REPAIRING):
            assert record.until, f"{node} would stay {kind.name} for ever"
        if kind in (NodeState.REPAIRING, NodeState.RETIRED):
            for attempt in record.gangs:
                assert state.gangs[attempt].phase is GangPhase.STOPPING, f"{attempt} runs on a lost node"


def check_failures(state: State) -> None:
    """An open incident waits for nodes that know it; what is counted cannot be less than nothing."""
    for name, incident in state.incidents.items():
        assert incident.out, f"{name} is open and all its nodes are back"
        for node in incident.out:
            assert state.nodes[node].incident == name, f"{node} does not know {name}"
    for node, record in state.nodes.items():
        assert not record.incident or node in state.incidents[record.incident].out, node
    for domain in state.domains.values():
        assert not domain.incident or domain.incident in state.incidents, domain.name
    assert 0 <= state.failures <= state.losses + state.incident_count and state.service_ns >= 0


def check_jobs(state: State) -> None:
    """Every admitted job waits, runs or is over, and only one of these."""
    for name, job in state.jobs.items():
        waits, runs, over = name in state.waiting, job.attempt is not None, job.outcome is not None
        assert waits + runs + over == 1, f"{name}: waits {waits}, runs {runs}, over {over}"
        assert 0 <= job.kept_step <= job.step, f"{name}: kept {job.kept_step} of {job.step}"
        assert not (waits and job.cancel_by is not None), f"{name} is cancelled and waits"


def check_services(state: State) -> None:
    """A service wants what its spec allows; its replicas are live gangs."""
    for service in state.services.values():
        limits = service.spec.replicas
        if service.removed:
            assert service.wanted == 0 and service.gangs, f"{service.service} is removed and empty"
        else:
            assert limits.min <= service.wanted <= limits.max, service.service
        for attempt in service.gangs:
            assert state.gangs[attempt].service == service.service, attempt
