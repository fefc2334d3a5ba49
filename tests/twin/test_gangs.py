"""The simulated world understands gangs that change their size, and can tell of gangs as one."""

import pytest

from myriad.control.apply import fold
from myriad.fleet.columns import NodeState
from myriad.kernel.ids import JobId, NodeId, ServiceId
from myriad.kernel.rng import Stream
from myriad.kernel.units import SECOND
from myriad.protocol import facts, inputs
from myriad.protocol.wire import decode
from myriad.twin.physics import Physics
from myriad.workload.jobs import NodeRange
from tests import build
from tests.control.world import Rig

WHOLE = Physics(whole_gangs=True)


@pytest.mark.parametrize("physics", [Physics(), WHOLE])
def test_a_gang_steps_faster_the_more_nodes_it_has(physics: Physics) -> None:
    rig = Rig(build.site(racks=1, nodes_per_rack=4, spares=0), physics=physics)
    config = {"steps": 12000, "step_s": 0.3, "checkpoint_every_steps": 10}
    job = rig.submit(nodes=NodeRange(min=2, max=4), config=config)
    rig.pass_s(30)
    assert rig.core.state.jobs[job].step_ns == int(0.3 * SECOND)
    rig.world.kill_node(NodeId(rig.nodes_of(job)[1]))
    rig.pass_s(4)
    assert len(rig.nodes_of(job)) == 3
    rig.pass_s(5)
    assert rig.core.state.jobs[job].step_ns == pytest.approx(0.4 * SECOND)
    before = rig.core.state.jobs[job].step
    rig.pass_s(1200)
    stopped = rig.facts(facts.GangStopped)[-1]
    assert isinstance(stopped, facts.GangStopped) and stopped.cause == "resized"
    assert stopped.kept_step > before, "it was asked for a checkpoint first, and had it"
    assert len(rig.nodes_of(job)) == 4
    assert rig.core.state.jobs[job].step_ns == pytest.approx(0.3 * SECOND)


def heard(physics: Physics) -> dict[str, int]:
    """How often the world spoke of each kind in the life of a gang of eight that loses a node."""
    rig = Rig(build.site(racks=2, nodes_per_rack=5, spares=1), physics=physics)
    counts: dict[str, int] = {}
    give = rig.give

    def counted(given: inputs.Input):  # type: ignore[no-untyped-def]
        counts[type(given).__name__] = counts.get(type(given).__name__, 0) + 1
        return give(given)

    rig.give = counted  # type: ignore[method-assign]
    job = rig.submit(nodes=8, config={"steps": 100, "checkpoint_every_steps": 10})
    rig.pass_s(10)
    rig.world.kill_node(NodeId(rig.nodes_of(job)[3]))
    rig.pass_s(60)
    record = rig.core.state.jobs[job]
    assert record.outcome == "succeeded" and record.attempts == 2
    assert [one.cause for one in record.history] == ["node", "done"]
    return counts


def test_gangs_told_of_as_one_need_a_few_words() -> None:
    one_by_one, whole = heard(Physics()), heard(WHOLE)
    assert one_by_one["MemberStarted"] == 16 and "GangStarted" not in one_by_one
    assert whole["GangStarted"] == 2 and whole["GangExited"] == 2 and "MemberStarted" not in whole
    assert not any(name.startswith("Member") for name in whole)


def test_a_node_that_does_not_answer_keeps_its_gang_from_being_gone() -> None:
    rig = Rig(build.site(racks=1, nodes_per_rack=3, spares=0), physics=WHOLE)
    job = rig.submit(nodes=3, config={"steps": 1000})
    rig.pass_s(10)
    frozen, *others = (NodeId(node) for node in rig.nodes_of(job))
    rig.world.pause_node(frozen)
    rig.give(inputs.CancelJob(at=rig.world.now, job=job))
    rig.pass_s(2)
    assert rig.core.state.jobs[job].outcome is None
    attempt = rig.core.state.jobs[job].attempt
    assert attempt and list(rig.core.state.gangs[attempt].left) == [frozen]
    assert all(not rig.world.runs(attempt, node) for node in others)
    rig.pass_s(120)
    assert rig.core.state.jobs[job].outcome == "cancelled"


def test_a_new_control_plane_hears_of_gangs_that_run() -> None:
    rig = Rig(build.site(racks=1, nodes_per_rack=3, spares=0), physics=WHOLE)
    job = rig.submit(nodes=3, config={"steps": 1000})
    rig.pass_s(10)
    rig.world.census()
    said = [one for one in rig.world.hear() if isinstance(one, inputs.GangStarted)]
    assert [one.attempt for one in said] == [rig.core.state.jobs[job].attempt]


@pytest.mark.parametrize("seed", range(8))
def test_a_storm_of_whole_gangs_passes(seed: int) -> None:
    chance = Stream(seed, "whole")
    site = build.site(racks=3, nodes_per_rack=4, spares=1, pods=2, chips=2)
    rig = Rig(site, seed=seed, physics=WHOLE)
    nodes = [NodeId(node) for node in rig.core.state.nodes]
    rig.serve("chat", least=1, most=3)
    for number in range(60):
        strike(rig, chance, nodes, number)
        rig.pass_s(chance.exponential(5.0))
    for node in nodes:
        rig.world.resume_node(node)
        rig.give(inputs.UndrainNode(at=rig.world.now, node=node))
    rig.pass_s(6000)
    state = rig.core.state
    unfinished = {name: (job.text, job.history[-1:]) for name, job in state.jobs.items() if not job.outcome}
    assert not unfinished
    assert set(rig.world.starts.values()) <= {1}, "something was started twice"
    assert all(state.node_state(NodeId(node)) is NodeState.READY for node in state.nodes)
    assert len(state.services[ServiceId("chat")].gangs) == 1
    assert fold(decode(body) for body in rig.journal).digest() == state.digest()


def strike(rig: Rig, chance: Stream, nodes: list[NodeId], number: int) -> None:
    """One thing that happens to a site, elastic jobs among them."""
    node = chance.choice(nodes)
    match chance.integer(0, 5):
        case 0 | 1 | 2:
            config = {"steps": chance.integer(1, 100), "checkpoint_every_steps": chance.integer(0, 9)}
            least = chance.integer(1, 8)
            wanted = NodeRange(min=least, max=chance.integer(least, 12))
            fails = {"fail_at_step": chance.integer(1, 30)} if chance.happens(0.1) else {}
            rig.submit(f"job-{number}", nodes=wanted, config=config | fails)
        case 3:
            rig.world.kill_node(node)
        case 4:
            rig.world.pause_node(node) if chance.happens(0.5) else rig.world.resume_node(node)
        case 5:
            rig.give(inputs.CancelJob(at=rig.world.now, job=JobId(f"job-{chance.integer(0, number)}")))


@pytest.mark.parametrize("physics", [Physics(start_s=5), Physics(start_s=5, whole_gangs=True)])
def test_a_gang_that_was_stopped_and_forgotten_before_it_began_never_begins(physics: Physics) -> None:
    rig = Rig(build.site(racks=1, nodes_per_rack=3, spares=0), physics=physics)
    job = rig.submit(nodes=3, config={"steps": 1000})
    attempt = rig.core.state.jobs[job].attempt
    rig.give(inputs.CancelJob(at=rig.world.now, job=job))
    rig.pass_s(1)
    assert rig.core.state.jobs[job].outcome == "cancelled" and attempt
    rig.world.release(attempt)
    rig.pass_s(20)
    assert not any(rig.world.nodes[node].running for node in rig.world.nodes)
