"""Reports by exception and step by step tell the same story of a gang."""

import msgspec
import pytest

from myriad.kernel.ids import JobId, NodeId
from myriad.kernel.units import SECOND, seconds
from myriad.protocol import facts
from myriad.protocol.facts import Fact
from myriad.protocol.values import Profile
from myriad.twin.physics import Physics
from myriad.twin.workload.work import Truth, Work
from tests import build
from tests.control.world import Rig

FINE = Physics(whole_gangs=True, jitter=0.0, save_s=3.0)
COARSE = msgspec.structs.replace(FINE, report_s=3600.0)


def saves(rig: Rig) -> list[facts.CheckpointRecorded]:
    return [
        fact for fact in rig.facts(facts.CheckpointRecorded) if isinstance(fact, facts.CheckpointRecorded)
    ]


def train(physics: Physics, *, kill_at_s: float = 0.0) -> Rig:
    rig = Rig(build.site(racks=1, nodes_per_rack=4, spares=1), physics=physics)
    config = {"steps": 1000, "step_s": 2.0, "checkpoint_every_steps": 100}
    rig.submit(nodes=3, config=config)
    if kill_at_s:
        rig.pass_s(kill_at_s)
        rig.world.kill_node(NodeId(rig.nodes_of("train-1")[0]))
    rig.pass_s(4000)
    return rig


def story(rig: Rig) -> list[tuple[str, int, int]]:
    """What was kept at each stop, and when."""
    return [
        (fact.cause, fact.kept_step, fact.at)
        for fact in rig.facts(facts.GangStopped)
        if isinstance(fact, facts.GangStopped)
    ]


@pytest.mark.parametrize("kill_at_s", [0.0, 700.0])
def test_few_reports_keep_the_same_work(kill_at_s: float) -> None:
    fine, coarse = train(FINE, kill_at_s=kill_at_s), train(COARSE, kill_at_s=kill_at_s)
    assert story(fine) == story(coarse)
    assert sum(fact.stall_ns for fact in saves(fine)) == sum(fact.stall_ns for fact in saves(coarse))
    assert sum(fact.saves for fact in saves(coarse)) == len(saves(fine))
    assert coarse.input_count < fine.input_count / 5
    job = coarse.core.state.jobs[JobId("train-1")]
    assert job.outcome == "succeeded" and job.checkpoint_cost_ns == 3 * SECOND


def test_a_save_takes_its_time() -> None:
    rig = train(FINE)
    (stopped,) = rig.facts(facts.GangStopped)
    (running,) = rig.facts(facts.GangRunning)
    assert seconds(stopped.at - running.at) == 1000 * 2.0 + 10 * 3.0


def submit(rig: Rig, truth: Truth, **spec: object) -> None:
    made = build.job(**spec)  # type: ignore[arg-type]
    steps = truth.work_ns // truth.step_ns
    work = Work(rig.world.now, JobId("train-1"), made, Profile(steps=steps, memory_copies=True), truth)
    rig.world.expect(work)
    rig.submit(**spec)


def ended(rig: Rig) -> Fact:
    return rig.facts(facts.JobEnded)[-1]


def test_a_job_whose_truth_is_known_saves_as_the_brain_advises() -> None:
    rig = Rig(build.site(racks=1, nodes_per_rack=4, spares=1), physics=COARSE)
    submit(rig, Truth(20_000 * SECOND, 2 * SECOND, checkpoint_bytes=1e9), nodes=3)
    rig.pass_s(5000)
    before = rig.core.state.jobs[JobId("train-1")].kept_step
    assert 0 < before < 2500 and saves(rig)[0].checkpoint_bytes == 10**9
    rig.pass_s(40_000)
    end = ended(rig)
    assert isinstance(end, facts.JobEnded) and end.outcome == "succeeded"


@pytest.mark.parametrize(("outcome", "stop"), [("failed", "job"), ("cancelled", "cancelled")])
def test_a_job_ends_as_it_will(outcome: str, stop: str) -> None:
    rig = Rig(build.site(racks=1, nodes_per_rack=4, spares=1), physics=COARSE)
    submit(rig, Truth(100 * SECOND, SECOND, outcome), nodes=2, retries=0)  # type: ignore[arg-type]
    rig.pass_s(400)
    end = ended(rig)
    assert isinstance(end, facts.JobEnded) and end.outcome == outcome
    assert story(rig)[-1][0] == stop


def test_a_slow_node_makes_all_wait_and_the_books_say_so() -> None:
    rig = Rig(build.site(racks=1, nodes_per_rack=4, spares=0), physics=COARSE)
    submit(rig, Truth(1000 * SECOND, SECOND, exposed=0.1), nodes=4)
    rig.pass_s(100)
    rig.world.slow_node(NodeId("n1"), 1.5)
    rig.pass_s(300)
    rig.world.slow_node(NodeId("n1"), 1.0)
    rig.pass_s(2000)
    steps = [fact for fact in rig.facts(facts.StepsDone) if isinstance(fact, facts.StepsDone)]
    assert sum(fact.exposed_ns for fact in steps) == 1000 * SECOND // 10
    assert seconds(sum(fact.straggled_ns for fact in steps)) == pytest.approx(100, abs=2)


def test_less_power_is_slower_training() -> None:
    rig = Rig(build.site(racks=1, nodes_per_rack=4, spares=0), physics=COARSE)
    submit(rig, Truth(1000 * SECOND, SECOND), nodes=4)
    rig.pass_s(100)
    rig.world.running.throttle(2.0)
    rig.pass_s(200)
    rig.world.running.throttle(1.0)
    rig.pass_s(2000)
    steps = [fact for fact in rig.facts(facts.StepsDone) if isinstance(fact, facts.StepsDone)]
    assert seconds(sum(fact.throttled_ns for fact in steps)) == pytest.approx(100, abs=2)
    assert seconds(sum(fact.straggled_ns for fact in steps)) == 0


def test_wrong_numbers_are_no_checkpoint() -> None:
    rig = Rig(build.site(racks=1, nodes_per_rack=4, spares=0), physics=FINE)
    rig.submit(nodes=3, config={"steps": 400, "step_s": 2.0, "checkpoint_every_steps": 50})
    rig.pass_s(350)
    run = next(iter(rig.world.running.runs.values()))
    run.spoiled_from = run.reported
    rig.pass_s(200)
    good = run.spoiled_from
    rig.world.kill_node(NodeId(run.nodes[0]))
    rig.pass_s(5000)
    resumed = [fact.step for fact in rig.facts(facts.GangRunning) if isinstance(fact, facts.GangRunning)]
    assert rig.core.state.jobs[JobId("train-1")].outcome == "succeeded"
    assert resumed[-1] <= good, "it went back before the numbers went wrong"
