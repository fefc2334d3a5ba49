"""What seeds of the twin found in the brain, each as small as it can be."""

from typing import Any

import msgspec

from myriad.control import policyfile, views
from myriad.control.core import Core
from myriad.control.policy import Policy
from myriad.fleet.site import Pod, Site
from myriad.kernel.ids import JobId, NodeId, ServiceId
from myriad.kernel.units import DAY, SECOND, span_ns
from myriad.protocol import facts, inputs
from myriad.protocol.orders import WakeAt
from myriad.protocol.values import Profile
from myriad.schedule.policy import Order, Placement, Preemption
from myriad.workload.windows import Window
from tests import build
from tests.control.world import Rig


class Site0:
    """A core whose nodes are all in service."""

    def __init__(self, policy: Policy, site: Site, quota: int) -> None:
        self.core, self.now = Core(policy, check=True), 0
        self.core.step(inputs.OpenSite(at=0, site=site))
        for place in site.places():
            self.core.step(inputs.NodeJoined(at=0, node=place.node, instance="i", chips=place.chips))
            self.core.step(inputs.NodeQualified(at=0, node=place.node, instance="i", ok=True))
        self.core.step(inputs.ApplyTenant(at=0, tenant=build.tenant(chips=quota)))

    def submit(
        self, job: str, nodes: int, stretch: tuple[float, float, float] = (1.0, 1.0, 1.0), **more: Any
    ) -> None:
        """A job of 100 s."""
        spec = build.job(nodes, **more)
        profile = Profile(steps=100, expected_ns=span_ns("100s"), stretch=stretch)
        self.now += SECOND
        self.core.step(inputs.SubmitJob(at=self.now, job=JobId(job), spec=spec, profile=profile))

    def start(self, job: str) -> None:
        """Its gang runs."""
        attempt = self.core.state.jobs[JobId(job)].attempt
        assert attempt
        self.core.step(inputs.GangStarted(at=self.now, attempt=attempt))
        self.core.step(inputs.TrainingResumed(at=self.now, attempt=attempt, step=0))

    def running(self) -> list[str]:
        """Jobs that have a gang."""
        return [name for name, job in self.core.state.jobs.items() if job.attempt]


def test_a_search_for_a_better_order_places_no_more_than_a_quota_allows() -> None:
    policy = Policy(order=Order(policy="fifo", search=30))
    site = Site0(policy, build.site(racks=1, nodes_per_rack=6, spares=0), quota=3)
    site.submit("first", 3)
    for name in ("second", "third", "fourth"):
        site.submit(name, 2)
    assert site.running() == ["first"]
    attempt = site.core.state.jobs[JobId("first")].attempt
    assert attempt
    site.core.step(inputs.GangExited(at=site.now + SECOND, attempt=attempt))
    assert len(site.running()) == 1 and site.core.state.usage[build.tenant().name] == 2


def test_nobody_waits_for_a_pod_that_has_room_now() -> None:
    """First fit takes nodes of two pods though the second has enough: then it takes them now."""
    policy = msgspec.structs.replace(Policy(), placement=Placement(policy="first-fit"))
    pods = (Pod(name="small", racks=1, nodes_per_rack=2), Pod(name="large", racks=1, nodes_per_rack=6))
    place = Site(name="test", chip="local-cpu", pods=pods, chips_per_node=1)
    site = Site0(policy, place, quota=100)
    site.submit("spread", 4, stretch=(1.0, 2.0, 3.0))
    assert site.running() == ["spread"]


def impatient() -> Policy:
    """Preemption at once, whatever it costs."""
    return Policy(preemption=Preemption(min_run="1s", patience="1s", worth=1000.0))


def test_nobody_leaves_for_a_quota_with_which_the_other_cannot_start_either() -> None:
    site = Site0(impatient(), build.site(racks=1, nodes_per_rack=4, spares=0), quota=2)
    window = Window(
        name="kept",
        kind="reservation",
        nodes=(NodeId("n3"),),
        start_at=DAY,
        end_at=2 * DAY,
        tenant=build.tenant().name,
    )
    site.core.step(inputs.SetWindow(at=0, window=window))
    site.submit("low", 2, priority="low")
    site.start("low")
    site.submit("high", 1, priority="high", reservation="kept")
    site.now += 10 * SECOND
    site.core.step(inputs.Woke(at=site.now, about="cycle:"))
    assert site.running() == ["low"] and not site.core.state.claims


def test_who_left_for_a_quota_does_not_take_it_back_before_the_others_have_left() -> None:
    site = Site0(impatient(), build.site(racks=1, nodes_per_rack=8, spares=0), quota=4)
    for name in ("one", "other"):
        site.submit(name, 2, priority="low")
        site.start(name)
    site.now += 10 * SECOND
    site.submit("high", 4, priority="high")
    site.core.step(inputs.Woke(at=site.now, about="cycle:"))
    left = site.core.state.claims[JobId("high")]
    assert len(left) == 2
    for attempt in list(left):
        assert site.running() == ["one", "other"][-len(left) :]
        site.now += SECOND
        site.core.step(inputs.GangGone(at=site.now, attempt=attempt))
    assert site.running() == ["high"]


def test_a_pause_that_is_over_within_the_same_turn_ends() -> None:
    """Its timer is ordered when the whole turn is known, and is due by then."""
    site = Site0(Policy(), build.site(racks=1, nodes_per_rack=2, spares=0), quota=2)
    site.submit("failing", 2)
    for _ in range(2):
        site.start("failing")
        attempt = site.core.state.jobs[JobId("failing")].attempt
        assert attempt
        failed = inputs.GangExited(at=site.now, attempt=attempt, code=1)
        site.now += 60 * SECOND
        steps, cycle = site.core.turn([failed, inputs.DrainNode(at=site.now, node=NodeId("n1"))])
        orders = [order for step in (*steps, cycle) for order in step.orders]
        for order in orders:
            if isinstance(order, WakeAt) and order.about == "job:failing":
                site.core.step(inputs.Woke(at=site.now, about=order.about))
        site.core.step(inputs.UndrainNode(at=site.now, node=NodeId("n1")))
        site.core.step(inputs.NodeQualified(at=site.now, node=NodeId("n1"), instance="i", ok=True))
    assert site.running() == ["failing"]


def test_a_service_that_comes_back_gives_its_replicas_new_names() -> None:
    """Found by seed 511: an attempt's name was given twice, and bodies refuse what they have fenced."""
    rig = Rig()
    rig.serve("chat")
    rig.pass_s(10)
    rig.give(inputs.RemoveService(at=rig.world.now, service=ServiceId("chat")))
    rig.pass_s(10)
    rig.serve("chat")
    rig.pass_s(10)
    placed = [fact.attempt for fact in rig.facts(facts.GangPlaced) if isinstance(fact, facts.GangPlaced)]
    assert len(placed) == 2 == len(set(placed))


def test_nobody_passes_where_nobody_may_whatever_chip_it_asks_for() -> None:
    """Found by seeds 276, 503 and 555: what waits behind another says so, and does so."""
    pods = (
        Pod(name="a", racks=1, nodes_per_rack=2),
        Pod(name="b", racks=1, nodes_per_rack=2, chip="zhenwu-810e", chips_per_node=8),
    )
    site = Site(name="two", chip="h20", chips_per_node=8, pods=pods)
    rig = Site0(policyfile.choose("fifo").policy, site, quota=1000)
    rig.submit("first", nodes=2, chips_per_node=8)
    rig.submit("front", nodes=2, chips_per_node=8)
    rig.submit("other", nodes=1, chips_per_node=8, chip="zhenwu-810e")
    core = rig.core
    assert core.state.jobs[JobId("other")].attempt is None
    told = views.explain(core.moment(rig.now), core.state.jobs[JobId("other")])
    assert "front" in str(told)


def test_a_gang_of_nodes_that_are_too_small_is_refused_at_once() -> None:
    """Pods of one chip type may differ in chips a node: a gang counts those that can hold it."""
    pods = (
        Pod(name="a", racks=1, nodes_per_rack=4, chips_per_node=8),
        Pod(name="b", racks=1, nodes_per_rack=2, chips_per_node=16),
    )
    site = Site(name="two", chip="h20", chips_per_node=8, pods=pods)
    rig = Site0(Policy(), site, quota=1000)
    for name, nodes, chips, within, fits in (
        ("small", 6, 8, "", True),
        ("large", 2, 16, "rack", True),
        ("more", 3, 16, "", False),
        ("wide", 3, 16, "pod", False),
    ):
        rig.submit(name, nodes=nodes, chips_per_node=chips, within=within)
        assert (JobId(name) in rig.core.state.jobs) is fits, name


def test_a_gang_of_all_nodes_gets_the_spares_that_the_site_works_out() -> None:
    """Found by seed 1065: it waited in front for ever, and all others behind it."""
    pods = (Pod(name="a", racks=10, nodes_per_rack=30),)
    site = Site(name="auto", chip="local-cpu", pods=pods, spares="auto")
    rig = Site0(Policy(), site, quota=1000)
    assert rig.core.state.columns.spares
    rig.submit("all", nodes=300)
    assert rig.running() == ["all"]


def test_gangs_stand_on_nodes_with_names_in_racks_of_unequal_size() -> None:
    """A rack is as large as its hosts are many; what one is too small for goes to another."""
    pods = (Pod(name="a", hosts={"small": "node[1-2]", "large": "node[3-7]"}),)
    site = Site(name="named", chip="local-cpu", pods=pods)
    rig = Site0(Policy(), site, quota=1000)
    rig.submit("fits", nodes=5, within="rack")
    rig.submit("wide", nodes=6, within="rack")
    assert rig.running() == ["fits"] and JobId("wide") not in rig.core.state.jobs
    (gang,) = rig.core.state.gangs.values()
    assert sorted(gang.nodes) == [f"node{k}" for k in range(3, 8)]
