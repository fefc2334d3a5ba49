"""Myriad's real brain on a virtual clock: `Core.step` and nothing else, with this file as its world.

The world obeys orders as an engine would: a gang starts at once, runs as long as it truly runs, and ends. It
tells the core what the performance model would predict, never the truth.
"""

import heapq
import itertools
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from bench.scheduling.peers import Run
from bench.scheduling.workload import Job
from myriad.control.core import Core
from myriad.control.policy import Policy
from myriad.fleet.site import Site
from myriad.kernel.ids import AttemptId, JobId, TenantId
from myriad.kernel.units import DAY, SECOND, Instant, Span
from myriad.performance import estimate
from myriad.protocol import inputs, orders
from myriad.protocol.inputs import Input
from myriad.protocol.values import Profile
from myriad.workload.jobs import TrainingJob
from myriad.workload.tenants import Quota, Tenant

#: When the workload's time 0 is: instant 0 means "unknown" to the core.
EPOCH = 10 * DAY


def started(at: Instant, order: orders.StartGang) -> Iterable[Input]:
    """What the engine says once a gang runs."""
    return (inputs.GangStarted(at=at, attempt=order.attempt),)


def exited(at: Instant, order: orders.StartGang) -> Iterable[Input]:
    """What it says when all is done."""
    return (inputs.GangExited(at=at, attempt=order.attempt, code=0),)


def simulate(
    site: Site,
    jobs: Sequence[Job],
    told: Callable[[int], None] = lambda _: None,
    policy: Policy | None = None,
) -> list[Run]:
    """Run the whole queue; one Run for each stretch of a job on nodes. `told` hears of each end."""
    world = _World(site, jobs, told, policy)
    world.turn()
    return world.runs


class _World:
    def __init__(
        self, site: Site, jobs: Sequence[Job], told: Callable[[int], None], policy: Policy | None
    ) -> None:
        self.core, self.now, self.runs = Core(policy), EPOCH - DAY, list[Run]()
        #: What is said in one instant comes in one turn.
        self._said: list[Input] = []
        self._told, self._ended = told, 0
        self._jobs = {JobId(f"job-{job.number:06d}"): job for job in jobs}
        #: True time that is still ahead of a job.
        self._left = {name: job.runs for name, job in self._jobs.items()}
        self._rows = {place.node: row for row, place in enumerate(site.places())}
        self._running: dict[AttemptId, tuple[orders.StartGang, Instant]] = {}
        #: Attempts ever started: an order may be repeated.
        self._known: dict[AttemptId, None] = {}
        #: How far into a running attempt its work is safe.
        self._saved: dict[AttemptId, Span] = {}
        self._wakes: dict[str, Instant] = {}
        self._heap: list[tuple[Instant, int, Callable[..., None], tuple[Any, ...]]] = []
        self._sequence = itertools.count()
        self._open(site, sorted({job.tenant for job in jobs}))
        for name, job in self._jobs.items():
            self._later(EPOCH + job.arrives, self._submit, name)

    def turn(self) -> None:
        """Until every job has ended."""
        while self._ended < len(self._jobs):
            self.now, _, event, arguments = heapq.heappop(self._heap)
            event(*arguments)
            if not self._heap or self._heap[0][0] > self.now:
                self._hear()

    def _open(self, site: Site, tenants: Sequence[str]) -> None:
        self._tell(inputs.OpenSite(at=self.now, site=site))
        for place in site.places():
            self._tell(inputs.NodeJoined(at=self.now, node=place.node, instance="i", chips=place.chips))
        for name in tenants:
            # an equal right each; and, as the peers know no quotas, more to borrow than can ever be held
            quota = Quota(chips=site.chip_count // len(tenants), borrow=2 * site.chip_count)
            self._tell(inputs.ApplyTenant(at=self.now, tenant=Tenant(name=TenantId(name), quota=quota)))

    def _later(self, at: Instant, event: Callable[..., None], *arguments: object) -> None:
        heapq.heappush(self._heap, (at, next(self._sequence), event, arguments))

    def _tell(self, given: Input) -> None:
        self._said.append(given)

    def _hear(self) -> None:
        """Until nothing more is said in this instant."""
        while self._said:
            batch, self._said = self._said, []
            steps, cycle = self.core.turn(batch)
            for step in (*steps, cycle):
                for order in step.orders:
                    self._obey(order)

    def _obey(self, order: orders.Order) -> None:
        match order:
            case orders.StartGang():
                self._start(order)
            case orders.StopGang():
                self._stop(order)
            case orders.AskCheckpoint():
                self._checkpoint(order)
            case orders.WakeAt():
                self._wakes[order.about] = order.wake_at
                self._later(max(order.wake_at, self.now), self._wake, order)
            case orders.QualifyNode():
                self._tell(inputs.NodeQualified(at=self.now, node=order.node, instance="i", ok=True))
            case orders.HoldNode():
                pass
            case _:
                raise AssertionError(f"nothing breaks in this world, and yet: {order}")

    def _submit(self, name: JobId) -> None:
        job = self._jobs[name]
        spec = TrainingJob(
            name="job",
            tenant=TenantId(job.tenant),
            nodes=job.nodes,
            chips_per_node=job.chips_per_node,
            command=("train",),
        )
        # the core adds the time a gang takes to start; here that is part of the run
        profile = Profile(expected_ns=max(1, job.predicted - estimate.START_NS))
        self._tell(inputs.SubmitJob(at=self.now, job=name, spec=spec, profile=profile))

    def _start(self, order: orders.StartGang) -> None:
        if order.attempt in self._known:
            return
        self._known[order.attempt] = None
        self._running[order.attempt] = order, self.now
        for given in started(self.now, order):
            self._tell(given)
        self._later(self.now + self._left[order.job], self._end, order.attempt)

    def _end(self, attempt: AttemptId) -> None:
        if attempt in self._running:  # else it was stopped meanwhile
            order, _ = self._running[attempt]
            self._record(attempt)
            self._ended += 1
            self._told(self._ended)
            for given in exited(self.now, order):
                self._tell(given)

    def _checkpoint(self, order: orders.AskCheckpoint) -> None:
        if order.attempt in self._running:
            started_as, start = self._running[order.attempt]
            self._saved[order.attempt] = self.now - start
            done = self._jobs[started_as.job].runs - self._left[started_as.job] + self.now - start
            given = inputs.CheckpointReported(
                at=self.now, attempt=order.attempt, step=done // SECOND, path="/saved", request=order.request
            )
            self._later(self.now, self._tell, given)

    def _stop(self, order: orders.StopGang) -> None:
        """The brain wants it gone; what was not saved by a checkpoint must be done again."""
        if order.attempt in self._running:
            job = self._running[order.attempt][0].job
            self._left[job] -= self._saved.get(order.attempt, 0)
            self._record(order.attempt)
        for member in order.members:
            gone = inputs.MemberGone(at=self.now, attempt=order.attempt, node=member.node)
            self._later(self.now, self._tell, gone)

    def _wake(self, order: orders.WakeAt) -> None:
        if self._wakes.get(order.about) == order.wake_at:  # else a later order replaced it
            self._tell(inputs.Woke(at=self.now, about=order.about))

    def _record(self, attempt: AttemptId) -> None:
        order, start = self._running.pop(attempt)
        rows = np.array([self._rows[member.node] for member in order.members])
        self.runs.append(Run(self._jobs[order.job], start - EPOCH, self.now - EPOCH, rows))
