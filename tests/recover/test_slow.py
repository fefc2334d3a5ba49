"""Which node is slow, for how long, and whether to move away from it."""

from hypothesis import given
from hypothesis import strategies as st

from myriad.control import views
from myriad.fleet.columns import NodeState
from myriad.kernel.ids import JobId, NodeId
from myriad.kernel.units import HOUR, MILLISECOND, MINUTE, SECOND
from myriad.protocol import facts, inputs
from myriad.recover import slow
from myriad.recover.policy import Policy
from tests import build
from tests.control.world import Rig

POLICY = Policy()
N = [NodeId(f"n{k}") for k in range(64)]


def test_one_odd_node_is_found_and_noise_is_not() -> None:
    paces = {node: 300 * MILLISECOND + k * MILLISECOND for k, node in enumerate(N[:16])}
    assert slow.outliers(paces, POLICY) == {}
    paces[N[3]] = 420 * MILLISECOND
    assert list(slow.outliers(paces, POLICY)) == [N[3]]
    assert slow.outliers({N[0]: 1, N[1]: 5}, POLICY) == {}, "of two nobody can tell"


def test_wide_but_ordinary_spread_is_nobodys_fault() -> None:
    """Imbalanced work: 42 % of jobs straggle, under 2 % of those because of a node (Lin et al., 2025)."""
    paces = {node: 300 + 15 * (k % 9) for k, node in enumerate(N[:27])}
    assert max(paces.values()) > 1.1 * 360 and slow.outliers(paces, POLICY) == {}


@given(
    st.lists(st.integers(970, 1030), min_size=5, max_size=40),
    st.lists(st.floats(1.6, 10), max_size=2),
)
def test_those_far_out_are_found_whatever_they_are(paces: list[int], factors: list[float]) -> None:
    told = dict(zip(N, paces, strict=False))
    middle = sorted(paces)[len(paces) // 2]
    for node, factor in zip(N, factors, strict=False):
        told[node] = int(3 * middle * factor)
    found = slow.outliers(told, POLICY)
    assert all(ratio > POLICY.slow_ratio for ratio in found.values())
    assert set(found) <= set(told)
    assert set(found) <= set(N[: len(factors)]), "the others differ by less than the ratio"


@given(st.floats(1.01, 10), st.integers(0, 100 * HOUR))
def test_moving_pays_when_more_is_lost_by_waiting(ratio: float, left: int) -> None:
    pays = slow.worth_moving(ratio, left, 8 * MINUTE)
    assert pays == (left - left / ratio > 8 * MINUTE)


def site(steps: int, spares: int = 1) -> tuple[Rig, JobId]:
    rig = Rig(build.site(racks=2, nodes_per_rack=3, spares=spares))
    job = rig.submit(nodes=4, config={"steps": steps, "step_s": 10.0, "checkpoint_every_steps": 50})
    rig.pass_s(60)
    return rig, job


def test_a_slow_node_is_left_behind_after_a_checkpoint_and_kept_out() -> None:
    rig, job = site(steps=2000)
    before = rig.nodes_of(job)
    rig.world.slow_node(NodeId(before[2]), 1.5)
    rig.pass_s(10 * 60)
    assert rig.nodes_of(job) == before, "most slowdowns pass"
    assert rig.core.state.nodes[NodeId(before[2])].lagging == 1.5
    rig.pass_s(8 * 60)
    after = rig.nodes_of(job)
    assert [rank for rank in range(4) if after[rank] != before[rank]] == [2]
    ended = rig.core.state.jobs[job].history[0]
    assert ended.cause == "moved" and ended.kept_step == ended.last_step
    assert rig.core.state.node_state(NodeId(before[2])) is NodeState.DRAINED
    view = next(v for v in views.nodes(rig.core.state) if v.node == before[2])
    assert view.slow == 1.5 and "slow: 1.50" in view.why
    rig.world.slow_node(NodeId(before[2]), 1.0)
    rig.give(inputs.UndrainNode(at=rig.world.now, node=NodeId(before[2])))
    rig.pass_s(5)
    assert rig.core.state.node_state(NodeId(before[2])) is NodeState.READY
    assert rig.core.state.nodes[NodeId(before[2])].slow == 0


def test_nobody_moves_when_the_job_is_nearly_done_but_new_work_avoids_the_node() -> None:
    rig, job = site(steps=120)
    node = NodeId(rig.nodes_of(job)[0])
    rig.world.slow_node(node, 1.3)
    rig.pass_s(17 * 60)
    assert any(f.slow and f.node == node for f in rig.facts(facts.NodeSlow))  # type: ignore[attr-defined]
    assert rig.core.state.jobs[job].attempts == 1
    rig.pass_s(600)
    assert rig.core.state.jobs[job].outcome == "succeeded"
    other = rig.submit("train-2", nodes=2, config={"steps": 5})
    rig.pass_s(1)
    assert node not in rig.nodes_of(other)


def test_without_a_place_to_go_it_stays() -> None:
    rig = Rig(build.site(racks=1, nodes_per_rack=4, spares=0))
    job = rig.submit(nodes=4, config={"steps": 2000, "step_s": 10.0})
    rig.pass_s(60)
    rig.world.slow_node(NodeId("n1"), 2.0)
    rig.pass_s(30 * 60)
    assert rig.core.state.jobs[job].attempts == 1 and rig.core.state.nodes[NodeId("n1")].slow == 2.0
    rig.world.slow_node(NodeId("n1"), 1.0)
    rig.pass_s(20 * 60)
    assert rig.core.state.nodes[NodeId("n1")].slow == 0, "well for as long again"


def test_reports_about_strangers_change_nothing() -> None:
    rig, job = site(steps=100)
    attempt = rig.core.state.jobs[job].attempt
    assert attempt
    paces = {NodeId("n99"): SECOND, NodeId("n5"): 9 * SECOND, NodeId("n0"): SECOND, NodeId("n1"): SECOND}
    for name in (attempt, "ghost.1"):
        step = rig.core.step(inputs.GangPaced(at=rig.world.now, attempt=name, paces=paces))
        assert step.facts == ()
