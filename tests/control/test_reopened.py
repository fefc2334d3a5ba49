"""The control plane was away: nobody is late for what nobody could hear, and what is wrong shows again."""

from collections.abc import Callable

import pytest

from myriad.control.apply import apply
from myriad.control.core import Core
from myriad.control.records import GangPhase
from myriad.control.state import State
from myriad.fleet.columns import NodeState
from myriad.kernel.ids import AttemptId, NodeId
from myriad.kernel.units import HOUR, SECOND, Span
from myriad.protocol import facts, inputs, orders, wire
from tests import build
from tests.control.boards import check_same
from tests.control.world import Rig


def reopened(rig: Rig, away_ns: Span) -> None:
    """Another control plane folds the journal after so long and opens the site; no order is given yet."""
    state = State()
    for body in rig.journal:
        for fact in wire.decode(body).facts:
            apply(state, fact)
    rig.core = Core(rig.core.policy, state, check=True)
    rig.world.drop_wakes()
    rig.world.now += away_ns
    for given in (
        inputs.OpenSite(at=rig.world.now, site=rig.world.site),
        inputs.Listening(at=rig.world.now),
    ):
        if happened := rig.core.step(given).facts:
            rig._record(type(given).__name__, happened)


def rung(rig: Rig, after_s: float) -> None:
    """All timers that are due so long after the start."""
    rig.world.now += int(after_s * SECOND)
    for order in rig.core.outstanding():
        if isinstance(order, orders.WakeAt) and order.wake_at <= rig.world.now:
            rig.give(inputs.Woke(at=rig.world.now, about=order.about))


def placed(rig: Rig) -> AttemptId:
    """An attempt that has not begun."""
    attempt = rig.core.state.jobs[rig.submit(nodes=2, config={"steps": 10_000})].attempt
    assert attempt is not None
    return attempt


def stopping(rig: Rig) -> AttemptId:
    """An attempt that was told to stop."""
    attempt = placed(rig)
    rig.pass_s(20)
    rig.give(inputs.CancelJob(at=rig.world.now, job=rig.core.state.gangs[attempt].job))
    return attempt


@pytest.mark.parametrize(("begin", "span"), [(placed, "start_timeout"), (stopping, "stop_timeout")])
def test_a_gang_has_its_whole_time_again(begin: Callable[[Rig], AttemptId], span: str) -> None:
    rig = Rig()
    attempt = begin(rig)
    phase = rig.core.state.gangs[attempt].phase
    reopened(rig, HOUR)
    span_s = rig.core.policy.recover.ns(span) / SECOND
    rung(rig, span_s - 1)
    assert rig.core.state.gangs[attempt].phase is phase
    assert not rig.facts(facts.NodeLost)
    rung(rig, 1)
    if phase is GangPhase.STOPPING:
        lost = {fact.node for fact in rig.facts(facts.NodeLost) if isinstance(fact, facts.NodeLost)}
        assert lost == set(rig.core.state.gangs[attempt].nodes)
    else:
        assert rig.core.state.gangs[attempt].phase is GangPhase.STOPPING


def suspect(rig: Rig, node: NodeId, *, healthy: bool) -> None:
    instance = rig.core.state.nodes[node].instance
    rig.give(
        inputs.NodeSignalled(
            at=rig.world.now, node=node, instance=instance, source="heartbeat", healthy=healthy
        )
    )


def test_a_suspect_that_is_well_again_is_not_lost() -> None:
    rig = Rig()
    node = NodeId("n0")
    suspect(rig, node, healthy=False)
    assert rig.core.state.node_state(node) is NodeState.SUSPECT
    reopened(rig, HOUR)
    rung(rig, 1)
    assert rig.core.state.node_state(node) is NodeState.SUSPECT
    suspect(rig, node, healthy=True)
    rung(rig, 60)
    assert rig.core.state.node_state(node) is NodeState.READY


def test_a_suspect_of_which_nothing_is_heard_is_lost() -> None:
    rig = Rig()
    node = NodeId("n0")
    suspect(rig, node, healthy=False)
    reopened(rig, HOUR)
    rung(rig, rig.core.policy.recover.ns("silence") / SECOND)
    assert rig.core.state.node_state(node) is NodeState.REPAIRING


def test_a_burn_in_has_its_whole_time_again() -> None:
    rig = Rig()
    node = NodeId("n0")
    rig.give(inputs.DrainNode(at=rig.world.now, node=node))
    rig.give(inputs.UndrainNode(at=rig.world.now, node=node))
    assert rig.core.state.node_state(node) is NodeState.BURN_IN
    reopened(rig, HOUR)
    rung(rig, 1)
    assert rig.core.state.node_state(node) is NodeState.BURN_IN


def test_a_node_that_is_to_join_is_not_lost_for_it() -> None:
    rig = Rig()
    node = NodeId("n0")
    rig.give(inputs.CloseSite(at=rig.world.now, grace_ns=0))
    rig.give(inputs.OpenSite(at=rig.world.now, site=rig.world.site))
    assert rig.core.state.node_state(node) is NodeState.JOINING
    reopened(rig, HOUR)
    rung(rig, 1)
    assert rig.core.state.node_state(node) is NodeState.JOINING


def test_a_gang_that_is_to_leave_has_the_time_that_it_was_given() -> None:
    rig = Rig()
    attempt = placed(rig)
    rig.pass_s(20)
    node = rig.core.state.gangs[attempt].nodes[0]
    rig.give(inputs.DrainNode(at=rig.world.now, node=node))
    gang = rig.core.state.gangs[attempt]
    asked_at, given_ns = rig.world.now, gang.until - rig.world.now
    assert gang.leave_request and given_ns > 0
    reopened(rig, HOUR)
    assert rig.core.state.gangs[attempt].until == asked_at + HOUR + given_ns


def test_what_was_held_against_a_node_counts_anew() -> None:
    rig = Rig()
    node = NodeId("n0")
    suspect(rig, node, healthy=False)
    reopened(rig, HOUR)
    suspect(rig, node, healthy=False)
    assert rig.core.state.node_state(node) is NodeState.SUSPECT
    assert rig.core.state.nodes[node].unhealthy == {"heartbeat": rig.world.now}


def test_nothing_is_said_where_nobody_has_a_deadline() -> None:
    rig = Rig(build.site())
    rig.submit(nodes=2, config={"steps": 10_000})
    rig.pass_s(20)
    reopened(rig, HOUR)
    assert not rig.facts(facts.DeadlineMoved)


def test_a_pause_that_ended_while_nothing_else_happened_is_over_after_a_restart_too() -> None:
    rig = Rig(build.site(spares=0))
    service = rig.serve(least=1, most=1)
    for _ in range(2):
        (attempt,) = rig.core.state.services[service].gangs
        rig.give(inputs.GangExited(at=rig.world.now, attempt=attempt, code=1))
    assert rig.core.state.services[service].held_until
    for node in rig.core.state.nodes:
        rig.give(inputs.DrainNode(at=rig.world.now, node=node))
    rig.submit(nodes=6)
    rung(rig, after_s=60)
    assert rig.core.board.queue.get("chat#0") and rig.core.state.now < rig.world.now
    check_same(rig.core, rig.core.state, rig.world.now)
    reopened(rig, SECOND)
    rung(rig, after_s=0)
    assert rig.core.board.queue.get("chat#0")
    check_same(rig.core, rig.core.state, rig.world.now)
