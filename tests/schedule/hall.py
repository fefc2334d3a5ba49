"""A site whose gangs do exactly what was predicted, driven straight through `Core.step`.

Every order is answered at once; a gang ends at the very instant that its prediction says, unless it is told
to leave. What is asserted about schedules elsewhere stands on this.
"""

import heapq
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import msgspec

from myriad.control import invariants
from myriad.control.core import Core, Step
from myriad.control.policy import Policy
from myriad.fleet.site import Pod, Site
from myriad.kernel.ids import JobId, NodeId, TenantId
from myriad.kernel.units import SECOND, Instant, Span
from myriad.performance.estimate import START_NS
from myriad.protocol import facts, inputs, orders
from myriad.protocol.inputs import Input
from myriad.protocol.values import Profile
from myriad.schedule.policy import Backfill, Order, Placement, Preemption
from myriad.workload.jobs import TrainingJob
from myriad.workload.tenants import Quota, Tenant
from tests import build


class Wish(NamedTuple):
    """A job that somebody will submit: all that decides about it."""

    job: str
    nodes: Any = 1
    run_s: int = 100  # predicted run time, start of the gang included
    at_s: int = 0
    tenant: str = "acme"
    chips: int = 1
    more: Mapping[str, Any] = MappingProxyType({})
    #: A recipe that is still loading, for as long as it runs.
    loads: bool = False
    #: It goes on for so much longer than was predicted.
    late_s: int = 0

    @property
    def spec(self) -> TrainingJob:
        """As it would be written."""
        command = {} if self.loads else {"command": ("x",)}
        more = {"chips_per_node": self.chips, **command, **self.more}
        return build.job(self.nodes, tenant=self.tenant, **more)

    @property
    def profile(self) -> Profile:
        """The user's word, from which the run time is predicted."""
        return Profile(expected_ns=self.run_s * SECOND - START_NS)


def policy(
    order: str = "fifo",
    placement: str = "packed",
    backfill: str = "easy",
    preemption: str = "none",
    **more: Any,
) -> Policy:
    """A policy in which predicted run times count as they are."""
    return Policy(
        order=Order(policy=order, period=more.pop("period", "5m"), starvation=more.pop("starvation", "3d")),
        placement=Placement(policy=placement),
        backfill=Backfill(policy=backfill, slack=1.0),
        preemption=Preemption(policy=preemption, **more),
    )


class Hall:
    """One core, its site in service, and the bodies that obey it."""

    def __init__(
        self,
        site: Site | None = None,
        rules: Policy | None = None,
        tenants: Iterable[Tenant] = (),
        check: bool = False,
    ) -> None:
        site = site or build.site(2, 4, spares=0)
        self.core = Core(rules or policy(), check=check)
        self.at: Instant = 0
        self.facts: list[facts.Fact] = []
        #: Job -> instants at which its gangs were placed, and its nodes the last time.
        self.starts: dict[str, list[Instant]] = {}
        self.where: dict[str, tuple[NodeId, ...]] = {}
        self.ends: dict[str, Instant] = {}
        #: Asked after every step.
        self.watch: Callable[[Step], None] = lambda _: None
        self._ahead: list[tuple[Instant, int, Input]] = []
        self._sequence = 0
        #: Run time on the most nodes, for each job.
        self._runs: dict[str, Span] = {}
        self.give(inputs.OpenSite(at=0, site=site))
        for place in site.places():
            self.join(place.node, place.chips)
        for tenant in tenants or (build.tenant(),):
            self.give(inputs.ApplyTenant(at=0, tenant=tenant))

    def join(self, node: NodeId, chips: int, instance: str = "i0") -> None:
        """The node comes into service."""
        self.give(inputs.NodeJoined(at=self.at, node=node, instance=instance, chips=chips))
        self.give(inputs.NodeQualified(at=self.at, node=node, instance=instance, ok=True))

    def lose(self, node: NodeId) -> None:
        """The node is dead for certain."""
        self.give(inputs.NodeFenced(at=self.at, node=node))

    def give(self, given: Input) -> Step:
        """One input; its facts are kept, its orders obeyed."""
        step = self.core.step(given)
        self.facts += step.facts
        for fact in step.facts:
            if isinstance(fact, facts.GangPlaced) and fact.job:
                self.starts.setdefault(fact.job, []).append(fact.at)
                self.where[fact.job] = tuple(member.node for member in fact.members)
            elif isinstance(fact, facts.JobEnded):
                self.ends[fact.job] = fact.at
        for order in step.orders:
            self._obey(order)
        self.watch(step)
        return step

    def _obey(self, order: orders.Order) -> None:
        match order:
            case orders.StartGang():
                gang = self.core.state.gangs[order.attempt]
                most = self.core.state.jobs[order.job].sizes[0]
                run_ns = self._runs[order.job] * most // len(order.members)
                self.later(self.at, inputs.GangStarted(at=0, attempt=order.attempt))
                self.later(gang.placed_at + run_ns, inputs.GangExited(at=0, attempt=order.attempt))
            case orders.AskCheckpoint():
                said = inputs.CheckpointReported(
                    at=0, attempt=order.attempt, step=0, path="p", request=order.request
                )
                self.later(self.at, said)
            case orders.StopGang():
                self.later(self.at, inputs.GangGone(at=0, attempt=order.attempt))
            case orders.WakeAt():
                self.later(order.wake_at, inputs.Woke(at=0, about=order.about))
            case _:
                pass

    def later(self, at: Instant, given: Input) -> None:
        """It will be said then."""
        self._sequence += 1
        heapq.heappush(self._ahead, (max(at, self.at), self._sequence, given))

    def wish(self, *wishes: Wish) -> None:
        """They will be submitted, each at its time."""
        for one in wishes:
            self._runs[one.job] = (one.run_s + one.late_s) * SECOND
            self.later(
                one.at_s * SECOND,
                inputs.SubmitJob(at=0, job=JobId(one.job), spec=one.spec, profile=one.profile),
            )

    def submit(self, one: Wish) -> Step:
        """Submitted this instant."""
        self._runs[one.job] = (one.run_s + one.late_s) * SECOND
        return self.give(inputs.SubmitJob(at=self.at, job=JobId(one.job), spec=one.spec, profile=one.profile))

    def run(self, until_s: int = 0) -> "Hall":
        """Until that time; until nothing is ahead if none is given."""
        while self._ahead and (not until_s or self._ahead[0][0] <= until_s * SECOND):
            self.at, _, given = heapq.heappop(self._ahead)
            self.give(msgspec.structs.replace(given, at=self.at))
        self.at = max(self.at, until_s * SECOND)
        invariants.check(self.core.state)
        return self

    @property
    def first_s(self) -> dict[str, int]:
        """Job -> seconds at which it first started."""
        return {job: found[0] // SECOND for job, found in self.starts.items()}

    def left_for(self, job: str) -> list[str]:
        """Owners of the gangs that were asked to leave for the job, in order."""
        return [
            str(fact.attempt).rpartition(".")[0]
            for fact in self.facts
            if isinstance(fact, facts.LeaveAsked) and fact.claimant == job
        ]


def tenant(name: str, chips: int = 100, borrow: int = 0, parent: str = "", weight: float = 1.0) -> Tenant:
    """A tenant somewhere in the tree."""
    quota = Quota(chips=chips, borrow=borrow)
    return Tenant(name=TenantId(name), quota=quota, parent=TenantId(parent), weight=weight)


def site(*pods: tuple[int, int], chips: int = 1, spares: int = 0) -> Site:
    """Pods of so many racks of so many nodes."""
    made = tuple(
        Pod(name=f"p{k}", racks=racks, nodes_per_rack=nodes) for k, (racks, nodes) in enumerate(pods)
    )
    return Site(name="test", chip="local-cpu", pods=made, chips_per_node=chips, spares=spares)
