"""The two schedulers that Myriad is compared with: first-fit FIFO, and best-fit with EASY backfill.

Both see what Myriad sees, except that EASY believes users (`Job.asked`) as the batch systems of the field do.
EASY: Lifka, The ANL/IBM SP Scheduling System, 1995; best fit over switches: as Slurm's tree topology does it.
"""

import heapq
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bench.scheduling.workload import Job
from myriad.fleet.site import Site
from myriad.kernel.units import Instant, Span

Rows = NDArray[np.intp]


class Run(NamedTuple):
    """One stretch of a job on nodes: what a scheduler is judged by."""

    job: Job
    start: Instant
    end: Instant
    rows: Rows  # its nodes, as positions in site order


class Machine:
    """Free chips of every node, and where the nodes stand."""

    def __init__(self, site: Site) -> None:
        places = site.places()
        self.chips = np.array([place.chips for place in places])
        self.free = self.chips.copy()
        self.rack = np.unique([place.rack for place in places], return_inverse=True)[1]
        self.pod = np.unique([place.pod for place in places], return_inverse=True)[1]

    def candidates(self, job: Job) -> Rows:
        """Nodes that could take a member now."""
        return np.flatnonzero(self.free >= job.chips_per_node)

    def hold(self, job: Job, rows: Rows) -> None:
        """Take chips; they must be there."""
        self.free[rows] -= job.chips_per_node
        assert (self.free[rows] >= 0).all(), "a chip was given twice"

    def give_back(self, job: Job, rows: Rows) -> None:
        """Return them."""
        self.free[rows] += job.chips_per_node
        assert (self.free[rows] <= self.chips[rows]).all(), "a chip came back twice"


Place = Callable[[Machine, Job], Rows | None]
Estimate = Callable[[Job], Span]


def first_fit(machine: Machine, job: Job) -> Rows | None:
    """The first nodes in index order with room."""
    rows = machine.candidates(job)
    return rows[: job.nodes] if len(rows) >= job.nodes else None


def best_fit(machine: Machine, job: Job) -> Rows | None:
    """The tightest rack of the tightest pod that holds the whole gang; else emptiest pods and racks first.

    A part of a node goes where the fewest chips are left over.
    """
    rows = machine.candidates(job)
    if len(rows) < job.nodes:
        return None
    if job.chips_per_node < machine.chips.max():
        return rows[np.argsort(machine.free[rows], kind="stable")][: job.nodes]
    rows, in_pod = _tightest(machine.pod, rows, job.nodes)
    rows, in_rack = _tightest(machine.rack, rows, job.nodes)
    pod, rack = machine.pod[rows], machine.rack[rows]
    return rows[np.lexsort((rows, rack, -in_rack[rack], pod, -in_pod[pod]))][: job.nodes]


def _tightest(domain: NDArray[np.intp], rows: Rows, count: int) -> tuple[Rows, NDArray[np.intp]]:
    """Rows of the smallest domain that holds `count`, all rows if none does; and the room of each domain."""
    room = np.bincount(domain[rows], minlength=int(domain.max()) + 1)
    enough = np.flatnonzero(room >= count)
    if len(enough):
        rows = rows[domain[rows] == enough[np.argmin(room[enough])]]
    return rows, room


def simulate(
    site: Site,
    jobs: Sequence[Job],
    place: Place,
    estimate: Estimate | None = None,
    told: Callable[[int], None] = lambda _: None,
) -> list[Run]:
    """Run the whole queue. Without `estimate` strictly first come, first served; with it EASY backfill.

    Everything that happens at one instant is known before anything is started. `told` hears of each end.
    """
    machine, waiting, running, runs = Machine(site), list[Job](), dict[int, Run](), list[Run]()
    ends: list[tuple[Instant, int]] = []
    arrivals = sorted(jobs, key=lambda job: (job.arrives, job.number))[::-1]
    while arrivals or ends:
        now = min([job.arrives for job in arrivals[-1:]] + [at for at, _ in ends[:1]])
        while ends and ends[0][0] == now:
            done = running.pop(heapq.heappop(ends)[1])
            machine.give_back(done.job, done.rows)
            told(len(runs) - len(running))
        while arrivals and arrivals[-1].arrives == now:
            waiting.append(arrivals.pop())
        for job, rows in cycle(machine, waiting, list(running.values()), now, place, estimate):
            run = Run(job, now, now + job.runs, rows)
            running[job.number] = run
            runs.append(run)
            heapq.heappush(ends, (run.end, job.number))
    assert not waiting, "every job fits the empty site"
    return runs


def cycle(
    machine: Machine,
    waiting: list[Job],
    running: list[Run],
    now: Instant,
    place: Place,
    estimate: Estimate | None,
) -> Iterator[tuple[Job, Rows]]:
    """Start what may start: taken from `waiting`, held on `machine`."""
    while waiting and (rows := place(machine, waiting[0])) is not None:
        job = waiting.pop(0)
        machine.hold(job, rows)
        running.append(Run(job, now, now + job.runs, rows))
        yield job, rows
    if estimate is None or not waiting:
        return
    head = waiting[0]
    starts, then = reservation(machine, head, running, now, estimate)
    room: dict[int, int] = {}
    for job in waiting[1:]:
        each = job.chips_per_node
        if each not in room:
            room[each] = len(machine.candidates(job))
        if room[each] < job.nodes:
            continue
        rows = place(machine, job)
        assert rows is not None
        if now + estimate(job) > starts:
            then[rows] -= each
            if np.count_nonzero(then >= head.chips_per_node) < head.nodes:
                then[rows] += each
                continue
        machine.hold(job, rows)
        waiting.remove(job)
        room.clear()
        yield job, rows


def reservation(
    machine: Machine, head: Job, running: Iterable[Run], now: Instant, estimate: Estimate
) -> tuple[Instant, NDArray[np.int64]]:
    """When the first in the queue can start if estimates hold, and the free chips of each node then."""
    then, starts = machine.free.copy(), now
    for run in sorted(running, key=lambda run: (run.start + estimate(run.job), run.job.number)):
        ends = max(now, run.start + estimate(run.job))
        if ends > starts and np.count_nonzero(then >= head.chips_per_node) >= head.nodes:
            break
        starts = ends
        then[run.rows] += run.job.chips_per_node
    return starts, then
