"""Nodes that others use through the cluster's own scheduler: seen, never used, taken back at once."""

from typing import Any

import pytest

from myriad.control import views
from myriad.control.apply import fold
from myriad.control.core import Core
from myriad.fleet.columns import NodeState
from myriad.kernel.ids import NodeId
from myriad.kernel.units import SECOND
from myriad.protocol import facts, inputs
from myriad.protocol.orders import QualifyNode
from myriad.protocol.wire import decode
from myriad.schedule import foresee, spares
from tests import build
from tests.control.world import Rig

N0, N1, N5 = NodeId("n0"), NodeId("n1"), NodeId("n5")


def occupy(rig: Rig, *nodes: NodeId, by: str = "ann", until_s: float = 0) -> Any:
    until = rig.world.now + int(until_s * SECOND) if until_s else 0
    for node in nodes:
        step = rig.give(inputs.NodeOccupied(at=rig.world.now, node=node, by=by, until=until))
    return step.facts


def free(rig: Rig, *nodes: NodeId) -> Any:
    return occupy(rig, *nodes, by="")


def state(rig: Rig, node: NodeId) -> NodeState:
    return rig.core.state.node_state(node)


def empty() -> Rig:
    """Six nodes of one chip, none of them a spare."""
    return Rig(build.site(spares=0))


def test_a_free_node_is_occupied_while_others_use_it_and_ready_at_once_after() -> None:
    rig = empty()
    said = occupy(rig, N0, until_s=60)
    assert [type(fact) for fact in said[:2]] == [facts.NodeTaken, facts.NodeMoved]
    view = views.nodes(rig.core.state)[0]
    assert (view.state, view.occupied_by, view.why) == ("occupied", "ann", "used by ann")
    assert view.occupied_until == rig.world.now + 60 * SECOND
    assert views.site(rig.core.state).nodes_by_state == {"occupied": 1, "ready": 5}
    assert views.site(rig.core.state).chips_free == 5
    assert not any(isinstance(order, QualifyNode) for order in rig.core.outstanding())
    free(rig, N0)
    assert state(rig, N0) is NodeState.READY and not views.nodes(rig.core.state)[0].occupied_by


def test_it_is_said_again_without_harm_and_a_new_limit_or_name_is_kept() -> None:
    rig = empty()
    assert not free(rig, N0), "nobody used it"
    occupy(rig, N0, until_s=60)
    now = rig.world.now
    assert not rig.give(inputs.NodeOccupied(at=now, node=N0, by="ann", until=now + 60 * SECOND)).facts
    (later,) = rig.give(inputs.NodeOccupied(at=now, node=N0, by="ann", until=now + 90 * SECOND)).facts
    assert isinstance(later, facts.NodeTaken)
    occupy(rig, N0, by="bob")
    assert views.nodes(rig.core.state)[0].why == "used by bob"
    free(rig, N0)
    assert not free(rig, N0)
    assert not occupy(rig, NodeId("nowhere"))


def test_nothing_is_placed_on_occupied_nodes_and_who_waits_is_told_until_when() -> None:
    rig = empty()
    for number, node in enumerate((N0, N1, N5)):
        occupy(rig, node, until_s=3600 * (number + 1))
    fits = rig.submit("fits", nodes=3, config={"steps": 1000})
    waits = rig.submit("waits", nodes=2)
    assert not set(rig.nodes_of(fits)) & {N0, N1, N5}
    told = views.explain(rig.core.moment(rig.world.now), rig.core.state.jobs[waits]).text
    assert "others use 3 through the cluster's own scheduler, 2 of them for 2h" in told, told
    free(rig, N0, N5)
    assert set(rig.nodes_of(waits)) == {N0, N5}, "in the step that gave them back"


def test_others_without_a_limit_are_not_promised_to_leave() -> None:
    rig = empty()
    occupy(rig, N0, N1)
    waits = rig.submit("waits", nodes=5)
    told = views.explain(rig.core.moment(rig.world.now), rig.core.state.jobs[waits])
    assert told.text.endswith("others use 2 through the cluster's own scheduler") and not told.starts_at


def test_gangs_of_ours_stay_and_the_node_is_left_when_they_are_done() -> None:
    rig = Rig(build.site(spares=0, chips=4))
    job = rig.submit(nodes=2, chips_per_node=2, config={"steps": 40})
    rig.pass_s(5)
    (first, second) = rig.nodes_of(job)
    occupy(rig, NodeId(first))
    assert state(rig, NodeId(first)) is NodeState.READY and rig.nodes_of(job) == (first, second)
    beside = rig.submit("beside", nodes=5, chips_per_node=2)
    assert first not in rig.nodes_of(beside), "its other chips are not offered"
    rig.pass_s(120)
    assert rig.core.state.jobs[job].outcome == "succeeded" and rig.core.state.jobs[job].attempts == 1
    assert state(rig, NodeId(first)) is NodeState.OCCUPIED and state(rig, NodeId(second)) is NodeState.READY


def test_others_who_go_before_our_gang_ends_leave_its_node_in_service() -> None:
    rig = Rig(build.site(spares=0, chips=4))
    job = rig.submit(nodes=6, chips_per_node=2, config={"steps": 400})
    occupy(rig, N0)
    waits = rig.submit("waits", nodes=6, chips_per_node=2)
    assert rig.core.state.jobs[waits].attempt is None
    free(rig, N0)
    assert rig.core.state.jobs[waits].attempt and set(rig.nodes_of(waits)) == set(rig.nodes_of(job))


def test_a_spare_that_others_take_is_a_spare_no_more() -> None:
    rig = Rig(build.site(spares=1))
    (spare,) = (view.node for view in views.nodes(rig.core.state) if view.spare)
    occupy(rig, spare)
    now = {view.node: view for view in views.nodes(rig.core.state)}
    assert now[spare].state == "occupied" and not now[spare].spare
    assert sum(view.spare for view in now.values()) == 1, "another stands in"


def test_drains_and_losses_go_before() -> None:
    rig = empty()
    occupy(rig, N0, N1)
    rig.give(inputs.DrainNode(at=rig.world.now, node=N0, by="ann"))
    assert state(rig, N0) is NodeState.DRAINED
    rig.give(inputs.UndrainNode(at=rig.world.now, node=N0))
    assert state(rig, N0) is NodeState.BURN_IN
    rig.pass_s(10)
    assert state(rig, N0) is NodeState.OCCUPIED, "qualified, and still used"
    rig.give(inputs.DrainNode(at=rig.world.now, node=N0, by="ann"))
    free(rig, N0)
    assert state(rig, N0) is NodeState.DRAINED
    rig.world.kill_node(N1)
    rig.pass_s(30)
    assert state(rig, N1) is NodeState.READY, "who used it is forgotten: it is said again if it is so"


def test_a_frozen_node_that_thaws_is_occupied_again() -> None:
    rig = empty()
    occupy(rig, N0)
    rig.world.pause_node(N0)
    rig.pass_s(4)
    assert state(rig, N0) is NodeState.SUSPECT
    rig.world.resume_node(N0)
    rig.pass_s(120)
    assert state(rig, N0) is NodeState.OCCUPIED


def test_a_node_that_leaves_the_site_or_joins_anew_is_forgotten() -> None:
    rig = empty()
    occupy(rig, N0, N5)
    rig.give(inputs.OpenSite(at=rig.world.now, site=build.site(1, 3, spares=0)))
    assert state(rig, N5) is NodeState.RETIRED and not rig.core.state.nodes[N5].taken_by
    assert not occupy(rig, N5)
    rig.give(inputs.CloseSite(at=rig.world.now, grace_ns=SECOND))
    rig.give(inputs.OpenSite(at=rig.world.now, site=build.site(1, 3, spares=0)))
    assert state(rig, N0) is NodeState.JOINING and not rig.core.state.nodes[N0].taken_by


def test_a_restart_knows_who_uses_what() -> None:
    rig = empty()
    occupy(rig, N0, until_s=60)
    again = Core(state=fold(decode(body) for body in rig.journal), check=True)
    assert again.state.digest() == rig.core.state.digest()
    assert again.state.columns.taken == 1
    step = again.step(inputs.NodeOccupied(at=rig.world.now, node=N0, by=""))
    assert again.state.node_state(N0) is NodeState.READY and step.facts


@pytest.mark.parametrize("taken", [1, 2, 6])
def test_forecasts_and_spares_do_not_count_on_what_others_use(taken: int) -> None:
    rig = empty()
    occupy(rig, *(NodeId(f"n{k}") for k in range(taken)))
    for name in ("first", "second"):
        rig.submit(name, nodes=6, command=("x",), expected="6h")
    ask = rig.core.board.queue.get("second")
    assert ask is not None
    at = foresee.fluid(rig.core.state, rig.core.board, ask, rig.world.now).at
    assert at - rig.world.now == rig.core.board.queue.work_before(ask) // max(1, 6 - taken) > 0
    assert spares.wanted_per_pod(rig.core.state.columns, lambda nodes: nodes).tolist() == [6 - taken]
