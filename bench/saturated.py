"""A saturated site to schedule on: three levels of quota, a full queue, gangs that come and go."""

import heapq
from collections.abc import Iterable

import msgspec

from bench.peers.slurm import mix
from myriad.control.core import Core
from myriad.control.policy import Own, Policy
from myriad.fleet.site import Pod, Site
from myriad.kernel.ids import JobId, TenantId
from myriad.kernel.rng import Stream
from myriad.kernel.units import MINUTE, SECOND, Instant
from myriad.protocol import facts, inputs, orders
from myriad.protocol.values import Profile
from myriad.workload.jobs import Priority, TrainingJob
from myriad.workload.tenants import Quota, Tenant

#: Organisations, teams of each, users of each team.
ORGS, TEAMS, USERS = 4, 5, 5
#: One job in ten of a low and of a high priority.
PRIORITIES: tuple[Priority, ...] = ("low", *("normal",) * 8, "high")


def site(chips: int, chips_per_node: int = 16) -> Site:
    """Pods of 25 racks of 25 nodes; for a smaller site one pod."""
    nodes = chips // chips_per_node
    pods = max(1, nodes // 625)
    racks = nodes // pods // 25
    return Site(
        name=f"bench-{chips}",
        chip="zhenwu-810e",
        chips_per_node=chips_per_node,
        pods=tuple(Pod(name=f"p{k}", racks=racks, nodes_per_rack=25) for k in range(pods)),
    )


def opened(of: Site, policy: Policy | None = None, own: Own | None = None) -> Core:
    """A core with every node of the site in service and nobody on it."""
    core = Core(policy, own=own)
    core.step(inputs.OpenSite(at=0, site=of))
    for place in of.places():
        core.step(inputs.NodeJoined(at=0, node=place.node, instance="i", chips=place.chips))
        core.step(inputs.NodeQualified(at=0, node=place.node, instance="i", ok=True))
    return core


def add_tenants(core: Core, chips: int) -> list[TenantId]:
    """Three levels of quota: each may borrow half as much again, the users twice what they own."""
    users = []
    for org in range(ORGS):
        _tenant(core, f"org{org}", "", chips // ORGS, chips // ORGS // 2)
        for team in range(TEAMS):
            own = chips // ORGS // TEAMS
            _tenant(core, f"org{org}-team{team}", f"org{org}", own, own)
            for user in range(USERS):
                name = f"org{org}-team{team}-user{user}"
                _tenant(core, name, f"org{org}-team{team}", own // USERS, 2 * own)
                users.append(TenantId(name))
    return users


def _tenant(core: Core, name: str, parent: str, chips: int, borrow: int) -> None:
    tenant = Tenant(name=TenantId(name), parent=TenantId(parent), quota=Quota(chips=chips, borrow=borrow))
    happened = core.step(inputs.ApplyTenant(at=0, tenant=tenant)).facts
    assert not any(isinstance(fact, facts.Refused) for fact in happened), happened


class Crowd:
    """Jobs of the mix, submitted so that the queue stays full; each runs for about what was predicted."""

    def __init__(self, core: Core, users: list[TenantId], seed: int) -> None:
        self.core = core
        self.now: Instant = 0
        self.submitted = self.started = self.ended = 0
        self._users = users
        self._stream = Stream(seed, "crowd")
        self._sizes = mix(4096, seed)
        self._runs: dict[JobId, int] = {}
        #: What will be said, and when: ends of gangs, and timers.
        self._ahead: list[tuple[Instant, int, inputs.Input]] = []
        self._sequence = 0

    def submit(self) -> None:
        """One more job of the mix."""
        number = self.submitted
        self.submitted += 1
        run_ns = int(self._stream.exponential(10.0) * MINUTE) + MINUTE
        job = JobId(f"job-{number}")
        self._runs[job] = int(run_ns * self._stream.uniform(0.8, 1.2))
        spec = TrainingJob(
            name="job",
            tenant=self._users[self._stream.integer(0, len(self._users) - 1)],
            nodes=self._sizes[number % len(self._sizes)],
            chips_per_node=int(self.core.state.columns.chips[0]),
            priority=self._stream.choice(PRIORITIES),
            command=("train",),
        )
        given = inputs.SubmitJob(at=self.now, job=job, spec=spec, profile=Profile(expected_ns=run_ns))
        self._obey(self.core.step(given).orders)

    def pass_time(self, together: int = 1) -> None:
        """Until the next things happen, so many at once."""
        batch = []
        while self._ahead and len(batch) < together:
            self.now, _, given = heapq.heappop(self._ahead)
            if isinstance(given, inputs.GangExited) and given.attempt in self.core.state.gangs:
                self.ended += 1
            batch.append(msgspec.structs.replace(given, at=self.now))
        steps, cycle = self.core.turn(batch)
        for step in steps:
            self._obey(step.orders)
        self._obey(cycle.orders)

    def _later(self, at: Instant, given: inputs.Input) -> None:
        self._sequence += 1
        heapq.heappush(self._ahead, (max(at, self.now), self._sequence, given))

    def _obey(self, given: Iterable[orders.Order]) -> None:
        for order in given:
            match order:
                case orders.StartGang():
                    self.started += 1
                    up = self.now + SECOND
                    run_ns = self._runs[order.job]
                    self._later(up, inputs.GangStarted(at=up, attempt=order.attempt))
                    self._later(up + run_ns, inputs.GangExited(at=up, attempt=order.attempt))
                case orders.StopGang():
                    self._later(self.now, inputs.GangGone(at=0, attempt=order.attempt))
                case orders.WakeAt():
                    # time leaps within a batch: whoever answers at once is never late
                    due = max(order.wake_at, self.now + SECOND)
                    self._later(due, inputs.Woke(at=0, about=order.about))
                case _:
                    pass

    @property
    def pending(self) -> int:
        """Jobs that wait."""
        return len(self.core.state.waiting)
