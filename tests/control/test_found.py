"""What seeds of the twin found in the brain, each as small as it can be."""

import msgspec

from myriad.control.core import Core
from myriad.control.policy import Policy
from myriad.fleet.site import Pod, Site
from myriad.kernel.ids import JobId
from myriad.kernel.units import SECOND, span_ns
from myriad.protocol import inputs
from myriad.protocol.values import Profile
from myriad.schedule.policy import Order, Placement
from tests import build


class Site0:
    """A core whose nodes are all in service."""

    def __init__(self, policy: Policy, site: Site, quota: int) -> None:
        self.core, self.now = Core(policy, check=True), 0
        self.core.step(inputs.OpenSite(at=0, site=site))
        for place in site.places():
            self.core.step(inputs.NodeJoined(at=0, node=place.node, instance="i", chips=place.chips))
            self.core.step(inputs.NodeQualified(at=0, node=place.node, instance="i", ok=True))
        self.core.step(inputs.ApplyTenant(at=0, tenant=build.tenant(chips=quota)))

    def submit(self, job: str, nodes: int, stretch: tuple[float, float, float] = (1.0, 1.0, 1.0)) -> None:
        """A job of 100 s."""
        spec = build.job(nodes)
        profile = Profile(steps=100, expected_ns=span_ns("100s"), stretch=stretch)
        self.now += SECOND
        self.core.step(inputs.SubmitJob(at=self.now, job=JobId(job), spec=spec, profile=profile))

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
