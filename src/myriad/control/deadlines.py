"""Deadlines of gangs and nodes count the time in which somebody led: after a start all have theirs again.

While the control plane is away nobody hears that a gang has stopped or that a node is well again, and nobody
repeats an order that was lost. To judge by the wall clock then would fence nodes that did all they were told.
"""

from collections.abc import Iterator
from typing import Final

from myriad.control.moment import Moment
from myriad.control.records import Gang, GangPhase
from myriad.control.state import State
from myriad.fleet.columns import NodeState
from myriad.kernel.ids import NodeId
from myriad.kernel.units import Instant
from myriad.protocol import facts
from myriad.protocol.facts import Fact

#: How long a gang may take to leave each phase. One that is at work has a deadline only if it is to leave.
_OF_GANG: Final = {
    GangPhase.PLACED: "start_timeout",
    GangPhase.STARTED: "leave_grace",
    GangPhase.RUNNING: "leave_grace",
    GangPhase.STALLED: "stall_timeout",
    GangPhase.STOPPING: "stop_timeout",
}


def renewed(m: Moment) -> Iterator[Fact]:
    """The control plane starts: whoever is to do something has the whole time for it."""
    for gang in m.state.gangs.values():
        if (until := _of_gang(m, gang)) > gang.until:
            yield facts.DeadlineMoved(at=m.now, attempt=gang.attempt, until=until)
    for node, record in m.state.nodes.items():
        if (until := _of_node(m, node)) > record.until:
            yield facts.DeadlineMoved(at=m.now, node=node, until=until)


def on_moved(state: State, fact: facts.DeadlineMoved) -> None:
    """Of a gang, or else of a node."""
    late = state.gangs[fact.attempt] if fact.attempt else state.nodes[fact.node]
    late.until = fact.until


def _of_gang(m: Moment, gang: Gang) -> Instant:
    return m.after(_OF_GANG[gang.phase]) if gang.until else 0


def _of_node(m: Moment, node: NodeId) -> Instant:
    """What is held against a suspect is for its body to say again; a burn-in runs on, or is begun again.

    Of a node that is to join, or to come back from repair, only another order depends on its deadline.
    """
    state = m.state.node_state(node)
    if state is NodeState.SUSPECT and m.state.nodes[node].unhealthy:
        return m.after("silence")
    return m.after("repair_timeout") if state is NodeState.BURN_IN else 0
