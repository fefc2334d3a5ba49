"""What others' use of a node does to the state: the part of `apply` about the cluster's own scheduler."""

from myriad.control.state import State
from myriad.fleet.columns import FOREVER
from myriad.kernel.ids import NodeId
from myriad.kernel.units import Instant
from myriad.protocol import facts


def on_taken(state: State, fact: facts.NodeTaken) -> None:
    """Others use the node, or do no longer."""
    _take(state, fact.node, fact.by, fact.until)


def forget(state: State, node: NodeId) -> None:
    """The node is away: who uses it is said again when it is back."""
    _take(state, node, "", 0)


def _take(state: State, node: NodeId, by: str, until: Instant) -> None:
    record = state.nodes[node]
    record.taken_by, record.taken_until = by, until
    state.columns.set_taken(node, (until or FOREVER) if by else 0)
