"""One rung at a time, each on evidence: restart, replace, shrink, roll back, give up."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from myriad.control.apply import fold
from myriad.fleet.columns import NodeState
from myriad.kernel.ids import JobId, NodeId
from myriad.ledger.ledger import Ledger
from myriad.protocol import facts, inputs, orders
from myriad.protocol.wire import decode
from myriad.recover import blame, ladder
from myriad.recover.ladder import Room, Try
from myriad.recover.policy import Policy
from myriad.worker import checkpoints
from tests import build
from tests.control.world import Rig

POLICY = Policy()
FULL = Room(4, 4, 4)
A, B, C = NodeId("n1"), NodeId("n2"), NodeId("n3")


def choose(
    *tries: Try,
    faults: int = 1,
    retries: int = 3,
    refused: bool = False,
    kept: tuple[int, ...] = (100, 200, 300),
    room: Room = FULL,
) -> ladder.Rung:
    return ladder.choose(
        tries, faults=faults, retries=retries, refused=refused, checkpoints=kept, room=room, policy=POLICY
    )


def fault(root: NodeId, last: int = 300, resumed: int = 300, cause: str = "job") -> Try:
    return Try(cause, root, resumed, last, "exit code 1")  # type: ignore[arg-type]


def test_the_first_fault_restarts_in_place() -> None:
    assert choose(fault(A)).kind == "restart"


def test_a_lost_node_is_replaced_and_without_one_the_job_shrinks_if_it_can() -> None:
    lost = fault(NodeId(""), last=450, cause="node")
    assert choose(lost).kind == "replace"
    shrunk = choose(lost, room=Room(4, 2, 3))
    assert (shrunk.kind, shrunk.nodes) == ("shrink", 3)
    assert choose(lost, room=Room(4, 4, 3)).kind == "replace", "not elastic: it waits"
    assert choose(lost, room=Room(4, 3, 2)).kind == "replace", "too few to run on"


def test_a_checkpoint_from_which_several_fail_at_once_is_left_for_the_one_before() -> None:
    rung = choose(fault(A), fault(B, last=305), faults=2)
    assert (rung.kind, rung.resume_step) == ("roll_back", 200)
    assert "from step 300" in rung.why and "n1, n2" in rung.why
    again = choose(fault(A), fault(B), fault(C, 201, 200), fault(A, 204, 200), faults=4, retries=9)
    assert again.resume_step == 100


def test_what_is_no_sign_of_a_bad_checkpoint() -> None:
    assert choose(fault(A, 450), fault(B, 450), faults=2).kind == "restart", "it got far, twice"
    assert choose(fault(A), fault(A), faults=2).kind == "restart", "one node can explain it"
    assert choose(fault(A), fault(A), fault(A), faults=3).kind == "roll_back", "not three times"
    assert choose(fault(A), fault(B), faults=2, kept=(300,)).kind == "restart", "nothing to go back to"
    lost = fault(NodeId(""), cause="node")
    assert choose(lost, lost, lost).kind == "replace", "lost nodes say nothing of it"


def test_giving_up_says_on_what_evidence() -> None:
    rung = choose(fault(A, 312), fault(B, 311), faults=4, retries=3)
    assert rung.kind == "give_up"
    assert "4 times in a row" in rung.why and "ended at 312, 311" in rung.why and "n1, n2" in rung.why
    assert choose(fault(A), refused=True).kind == "give_up"


tries = st.builds(
    Try,
    cause=st.sampled_from(["job", "node"]),
    root=st.sampled_from([NodeId(""), A, B, C]),
    resumed_step=st.sampled_from([0, 100, 200, 300]),
    last_step=st.integers(300, 400),
    why=st.just("x"),
)


@given(
    st.lists(tries, min_size=1, max_size=8),
    st.integers(0, 6),
    st.integers(0, 4),
    st.lists(st.integers(0, 400), max_size=4),
    st.builds(Room, st.just(4), st.integers(1, 4), st.integers(0, 6)),
)
def test_every_rung_can_be_taken(
    story: list[Try], faults: int, retries: int, kept: list[int], room: Room
) -> None:
    rung = choose(*story, faults=faults, retries=retries, kept=tuple(kept), room=room)
    assert rung.why
    assert (rung.resume_step in kept and rung.resume_step < story[-1].resumed_step) == (
        rung.kind == "roll_back"
    )
    assert (room.least <= rung.nodes < room.nodes) == (rung.kind == "shrink")
    if story[-1].cause == "job" and faults > retries:
        assert rung.kind == "give_up"


# ---- whose fault -------------------------------------------------------------------------------


def test_many_jobs_one_node_and_one_job_many_nodes() -> None:
    exits = {A: 1, B: 1}
    node = blame.judge(exits, 2, [], elsewhere=2, policy=POLICY)
    assert node.culprit == "node" and node.node == A and "3 jobs" in node.why
    assert blame.judge(exits, 2, [], elsewhere=1, policy=POLICY).culprit == "job"
    job = blame.judge(exits, 2, [B, C, A], stuck=[B, C, A], policy=POLICY)
    assert job.culprit == "job" and "3 nodes in turn" in job.why


def fail(rig: Rig, job: JobId, rank: int) -> NodeId:
    attempt = rig.core.state.jobs[job].attempt
    assert attempt
    root = rig.core.state.gangs[attempt].nodes[rank]
    rig.give(inputs.MemberExited(at=rig.world.now, attempt=attempt, node=root, code=139))
    rig.pass_s(5)
    return root


def test_a_node_where_three_jobs_fail_first_is_qualified_again() -> None:
    rig = Rig(build.site(racks=1, nodes_per_rack=3, spares=0, chips=4))
    jobs = [rig.submit(f"train-{k}", nodes=3, config={"steps": 1000}) for k in range(3)]
    rig.pass_s(5)
    roots = {fail(rig, job, 1) for job in jobs}
    assert len(roots) == 1
    causes = [rig.core.state.jobs[job].history[0].cause for job in jobs]
    assert causes == ["job", "job", "node"]
    moved = [f for f in rig.facts(facts.NodeMoved) if f.node in roots]  # type: ignore[attr-defined]
    assert any(f.state is NodeState.BURN_IN and "3 jobs" in f.why for f in moved)  # type: ignore[attr-defined]
    assert rig.core.state.nodes[roots.pop()].blamed == {}


# ---- rolling back ------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_corrupt_checkpoint_is_found_and_the_one_before_is_used(seed: int) -> None:
    rig = Rig(build.site(racks=2, nodes_per_rack=4, spares=2), seed=seed)
    job = rig.submit(nodes=4, config={"steps": 120, "checkpoint_every_steps": 20}, retries=5)
    while rig.core.state.jobs[job].stored_step < 60:
        rig.pass_s(0.1)
    rig.world.spoil_checkpoint(job)
    rig.world.kill_node(NodeId(rig.nodes_of(job)[0]))
    rig.pass_s(120)
    taken = [(f.rung, f.resume_step) for f in rig.facts(facts.RungTaken)]  # type: ignore[attr-defined]
    assert taken[0] == ("replace", -1) and ("roll_back", 40) in taken and taken[-1] == ("roll_back", 40)
    record = rig.core.state.jobs[job]
    assert record.outcome == "succeeded" and record.resume_step == -1
    assert [one.resumed_step for one in record.history][-1] == 40
    ledger = Ledger()
    for fact in rig.facts():
        ledger.fold(fact)
        ledger.check_deeply()
    assert fold(decode(body) for body in rig.journal).digest() == rig.core.state.digest()


def test_the_limit_travels_with_the_launch_and_goes_when_training_goes_on() -> None:
    rig = Rig(build.site(racks=2, nodes_per_rack=4, spares=2))
    job = rig.submit(nodes=4, config={"steps": 500, "checkpoint_every_steps": 10}, retries=9)
    record = rig.core.state.jobs[job]
    while len(record.checkpoints) < 4:
        rig.pass_s(0.1)
    assert [one.step for one in record.checkpoints] == [10, 20, 30, 40]
    rig.world.spoil_checkpoint(job)
    rig.world.kill_node(NodeId(rig.nodes_of(job)[0]))
    while record.resume_step < 0:
        rig.pass_s(0.05)
    while not (launches := [o.launch for o in rig.core.outstanding() if isinstance(o, orders.StartGang)]):
        rig.pass_s(0.05)
    assert [launch.resume_step for launch in launches] == [30]
    assert [one.step for one in record.checkpoints] == [10, 20, 30]
    rig.pass_s(5)
    assert record.resume_step == -1 and record.step > 30


def test_the_recipe_honours_the_limit(tmp_path: Path) -> None:
    for step in (10, 20, 30):
        folder = checkpoints.folder(tmp_path, step)
        folder.mkdir()
        (folder / "data").write_text(str(step))
        checkpoints.complete(folder, step)
    said: list[str] = []
    found = checkpoints.newest_complete(tmp_path, said.append, latest=20)
    assert found and found.step == 20 and "told to go back to step 20" in said[0]
    checkpoints.set_aside_after(tmp_path, 20)
    newest = checkpoints.newest_complete(tmp_path, said.append)
    assert newest and newest.step == 20
    assert checkpoints.newest_complete(tmp_path, said.append, latest=0) is None
