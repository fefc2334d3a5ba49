"""What follows from how fast the nodes of a gang are: which lag, which are slow, which are left behind."""

from collections.abc import Iterator

import numpy as np

from myriad.control import on_gangs, on_nodes
from myriad.control.moment import Moment
from myriad.control.records import Gang, GangPhase
from myriad.fleet.columns import NodeState
from myriad.protocol import facts, inputs
from myriad.protocol.facts import Fact
from myriad.recover import slow


def on_gang_paced(m: Moment, given: inputs.GangPaced) -> Iterator[Fact]:
    """A node lags or no longer does; one that has for long is slow, one that has not for long is well."""
    gang = m.state.gangs.get(given.attempt)
    if gang is None or gang.phase is not GangPhase.RUNNING:
        return
    paces = {node: pace for node, pace in given.paces.items() if on_gangs.has(m, gang, node)}
    lagging = slow.outliers(paces, m.policy.recover)
    span = m.policy.recover.ns("slow_span")
    for node in paces:
        record, ratio = m.state.nodes[node], lagging.get(node, 0.0)
        if bool(ratio) != bool(record.lagging):
            yield facts.NodeLagged(at=m.now, node=node, ratio=ratio)
        if bool(ratio) != bool(record.slow) and m.now - record.paced_at >= span:
            yield facts.NodeSlow(at=m.now, node=node, slow=bool(ratio), ratio=ratio)
        if record.slow and ratio and not record.cordoned and _pays(m, gang, ratio):
            yield from on_nodes.keep_out(
                m, node, f"slow: {ratio:.2f} x the time of its peers; check it, then undrain it"
            )


def _pays(m: Moment, gang: Gang, ratio: float) -> bool:
    """Whether to move, and there is a place to move to for every node that has to."""
    rules = m.policy.recover
    ends_at = m.state.ends_at(gang)
    left_ns = max(0, ends_at - m.now) if ends_at else rules.ns("slow_left")
    if not slow.worth_moving(ratio, left_ns, rules.ns("move_cost")):
        return False
    columns = m.state.columns
    ready = columns.state == NodeState.READY
    for member in gang.members:
        ready[columns.index[member.node]] = False
    places = np.count_nonzero(ready & (columns.free_count >= gang.members[0].chip_count))
    leaving = sum(m.state.node_state(node) is NodeState.DRAINING for node in gang.nodes)
    return bool(places > leaving)
