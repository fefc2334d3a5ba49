"""Faults strike the world as they should, and the brain and the workshop do their part."""

import msgspec
import pytest

from myriad.fleet.columns import NodeState
from myriad.kernel.ids import JobId, NodeId
from myriad.kernel.rng import Stream
from myriad.kernel.units import DAY, HOUR, SECOND
from myriad.protocol import facts
from myriad.protocol.values import Profile
from myriad.twin.faults.config import Faults, Lemons, Plant, Repair, Slow
from myriad.twin.faults.hazards import Fault
from myriad.twin.faults.inject import Injector
from myriad.twin.physics import Physics
from myriad.twin.workload.work import Truth, Work
from tests import build
from tests.control.world import Rig

PHYSICS = Physics(whole_gangs=True, jitter=0.0, report_s=3600.0, boot_s=60.0)
QUIET = Faults(
    hardware=msgspec.structs.replace(Faults().hardware, chip=0, host=0),
    network=msgspec.structs.replace(Faults().network, links=0, switches=0, flaps=0),
    lemons=Lemons(share=0, factor=1),
    plant=Plant(pods=0, power=0, cooling=0),
    slow=Slow(share=0, nodes=0, links=0),
    software=msgspec.structs.replace(Faults().software, rate=0, production=0),
    false_alarms=0,
)


class Struck(Rig):
    """A rig whose faults are those that a test strikes."""

    def __init__(self, faults: Faults = QUIET, *, spares: int = 1, **site: int) -> None:
        super().__init__(build.site(spares=spares, chips=4, **site), physics=PHYSICS)
        policy = msgspec.structs.replace(self.core.policy.recover, repair_timeout="60d")
        self.core.policy = msgspec.structs.replace(self.core.policy, recover=policy)
        self.injector = Injector(self.world, faults, Repair(technicians=2), Stream(1, "test"))
        self._followers = (self.injector.follow,)
        self.injector.begin()

    def train(self, nodes: int = 3, hours: int = 24) -> str:
        """A job that saves when it is told to."""
        made = build.job(nodes=nodes, config={}, chips_per_node=4, retries=10)
        truth = Truth(hours * HOUR, 2 * SECOND, checkpoint_bytes=1e9)
        profile = Profile(steps=hours * 1800, memory_copies=True)
        self.world.expect(Work(self.world.now, JobId("train-1"), made, profile, truth))
        self.submit(nodes=nodes, config={}, chips_per_node=4, retries=10)
        self.pass_s(1000)
        return self.nodes_of("train-1")[0]

    def strike(
        self, node: str, symptom: str, *, scope: str = "chip", blamed: bool = True, **more: object
    ) -> None:
        """One fault, now."""
        row = list(self.core.state.nodes).index(NodeId(node))
        fault = Fault("test", scope, symptom, row, 0, 10.0, 20.0, blamed, True)  # type: ignore[arg-type]
        self.injector._strike(fault._replace(**more))

    def stops(self) -> list[facts.GangStopped]:
        return [fact for fact in self.facts(facts.GangStopped) if isinstance(fact, facts.GangStopped)]

    def lost(self) -> list[str]:
        return [fact.node for fact in self.facts(facts.NodeLost) if isinstance(fact, facts.NodeLost)]


@pytest.mark.parametrize("symptom", ["crash", "hang", "down"])
def test_a_broken_node_is_replaced_and_comes_back_mended(symptom: str) -> None:
    rig = Struck()
    node = rig.train()
    rig.strike(node, symptom)
    rig.pass_s(300)
    assert rig.lost() == [node] and node not in rig.nodes_of("train-1")
    (stop,) = rig.stops()
    assert stop.cause == "node" and stop.kept_step > 0
    rig.pass_s(30 * DAY / SECOND)
    assert rig.core.state.node_state(NodeId(node)) is NodeState.READY
    assert rig.core.state.jobs[JobId("train-1")].outcome == "succeeded"


def test_what_passes_with_a_restart_costs_no_node() -> None:
    rig = Struck()
    node = rig.train()
    rig.strike(node, "crash", permanent=False)
    rig.pass_s(300)
    assert not rig.lost() and [stop.cause for stop in rig.stops()] == ["job"]
    assert node in rig.nodes_of("train-1")


def test_a_fault_laid_at_another_door_strikes_again() -> None:
    rig = Struck(spares=2, racks=2, nodes_per_rack=4)
    node = rig.train()
    rig.strike(node, "crash", blamed=False)
    rig.pass_s(600)
    assert rig.lost() and rig.lost()[0] != node, "somebody else was taken out"
    rig.pass_s(2 * DAY / SECOND)
    assert node in rig.lost(), "until the right one was"


def test_a_job_that_hangs_says_since_when() -> None:
    rig = Struck()
    node = rig.train()
    struck_at = rig.world.now
    rig.strike(node, "hang", permanent=False)
    rig.pass_s(300)
    (stopping,) = [fact for fact in rig.facts(facts.GangStopping) if isinstance(fact, facts.GangStopping)]
    assert stopping.since == struck_at and stopping.at - struck_at == 30 * SECOND


def test_silent_corruption_throws_back_to_before_it() -> None:
    rig = Struck()
    node = rig.train()
    rig.strike(node, "corrupt", detect_s=7200.0)
    began = next(iter(rig.world.running.runs.values())).spoiled_from
    rig.pass_s(5 * HOUR / SECOND)
    resumed = [fact.step for fact in rig.facts(facts.GangRunning) if isinstance(fact, facts.GangRunning)]
    assert min(resumed[1:]) <= began
    rig.pass_s(3 * DAY / SECOND)
    assert rig.core.state.jobs[JobId("train-1")].outcome == "succeeded"


def test_a_rack_goes_dark_and_comes_back_together() -> None:
    rig = Struck(racks=3, nodes_per_rack=3)
    rig.train(nodes=2)
    fault = Fault("switch", "rack", "down", 0, -1, 30.0, 0.0, True, False, 1.0, 3600.0)
    rig.injector._strike(fault)
    rig.pass_s(600)
    assert sorted(rig.lost()) == ["n0", "n1", "n2"]
    assert rig.facts(facts.IncidentOpened), "the brain sees one event"
    assert all(not rig.world.nodes[NodeId(node)].alive for node in rig.lost())
    rig.pass_s(2 * HOUR / SECOND)
    assert all(rig.core.state.node_state(NodeId(node)) is NodeState.READY for node in rig.lost())


def test_slowness_passes() -> None:
    rig = Struck()
    node = rig.train()
    rig.strike(node, "slow", scope="host", permanent=False, factor=1.5, lasts_s=600.0)
    assert rig.world.nodes[NodeId(node)].slowness == 1.5
    rig.pass_s(700)
    assert rig.world.nodes[NodeId(node)].slowness == 1.0 and not rig.stops()


def test_what_the_brain_keeps_out_comes_back_from_the_vendor_cured() -> None:
    rig = Struck()
    node = NodeId(rig.train())
    policy = msgspec.structs.replace(rig.core.policy.recover, lemon_window="28d")
    rig.core.policy = msgspec.structs.replace(rig.core.policy, recover=policy)
    for _ in range(3):
        rig.strike(node, "crash")
        rig.pass_s(5 * DAY / SECOND)
    cordoned = [fact for fact in rig.facts(facts.NodeCordoned) if isinstance(fact, facts.NodeCordoned)]
    assert cordoned and cordoned[0].by == "myriad"
    rig.pass_s(60 * DAY / SECOND)
    assert rig.core.state.node_state(node) is NodeState.READY and not rig.core.state.nodes[node].cordoned
