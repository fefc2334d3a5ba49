"""Deadlines of gangs and nodes count the time in which somebody listens: after a break all have theirs again.

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
from myriad.protocol import facts, inputs
from myriad.protocol.facts import Fact

#: How long a gang may take to leave these phases. One that is at work has a deadline only if it was asked to
#: leave: the time that it was given.
_OF_GANG: Final = {
    GangPhase.PLACED: "start_timeout",
    GangPhase.STALLED: "stall_timeout",
    GangPhase.STOPPING: "stop_timeout",
}


def on_listening(m: Moment, given: inputs.Listening) -> Iterator[Fact]:
    """Somebody can be heard again: whoever is to do something has the whole time for it."""
    del given
    for gang in m.state.gangs.values():
        if (until := _of_gang(m, gang)) > gang.until:
            yield facts.DeadlineMoved(at=m.now, attempt=gang.attempt, until=until)
    for node, record in m.state.nodes.items():
        if (until := _of_node(m, node)) > record.until:
            yield facts.DeadlineMoved(at=m.now, node=node, until=until)


def on_moved(state: State, fact: facts.DeadlineMoved) -> None:
    """Of a gang, or else of a node: what was held against it counts anew."""
    if fact.attempt:
        state.gangs[fact.attempt].until = fact.until
        return
    node = state.nodes[fact.node]
    node.until, node.unhealthy = fact.until, dict.fromkeys(node.unhealthy, fact.at)


def _of_gang(m: Moment, gang: Gang) -> Instant:
    if not gang.until:
        return 0
    span = _OF_GANG.get(gang.phase)
    return m.after(span) if span else m.now + gang.leave_ns


def _of_node(m: Moment, node: NodeId) -> Instant:
    """What is held against a suspect is for its body to say again; a burn-in runs on, or is begun again.

    A repair that takes too long is only ordered once more.
    """
    state = m.state.node_state(node)
    if state is NodeState.SUSPECT and m.state.nodes[node].unhealthy:
        return m.after("silence")
    return m.after("repair_timeout") if state in (NodeState.BURN_IN, NodeState.JOINING) else 0
