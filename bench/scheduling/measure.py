"""Figures of a schedule, from its runs alone: the same arithmetic for every scheduler.

The runs are replayed over the nodes, which also proves them: no chip held twice, no gang torn, no run cut
short. Figures count from the arrival of the job at a tenth of the queue (the site fills up before) to the
last arrival (it runs empty after); waits are those of the jobs that arrived in between. Shares are over time.
"""

import math
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from bench.scheduling.peers import Machine, Run
from bench.scheduling.workload import Job
from myriad.fleet.site import Site
from myriad.kernel.units import HOUR, MINUTE, Instant

WARM_UP = 0.1
#: Shorter jobs count as so long in slowdowns (Feitelson et al., Theory and Practice in Parallel Job
#: Scheduling, 1997).
SLOWDOWN_BOUND = 10 * MINUTE


class Waits(NamedTuple):
    """Waits of one size class, in hours."""

    jobs: int
    mean: float
    p99: float


class Figures(NamedTuple):
    """What a schedule is worth."""

    utilisation: float  # chips held, as a share of all
    waits: dict[str, Waits]  # by size class, and of `all`
    wait_by_work: float  # hours; mean weighted by each job's chip-hours
    slowdown: float  # mean bounded slowdown
    #: Idle shares of all chips, which with utilisation sum to 1: nobody waits; somebody waits and nobody
    #: fits; somebody fits and is not started (the chips are kept for another).
    idle_no_demand: float
    idle_no_fit: float
    idle_kept: float
    #: Of the free chips, while somebody waits: those on nodes where the largest waiting gang cannot have a
    #: member.
    stranded: float
    #: Of the wholly free nodes: those in racks that are not wholly free.
    broken_racks: float
    #: Mean over gangs of more than one node; and racks as a multiple of the least that could hold the gang.
    pods: float
    racks: float
    racks_over_least: float
    #: Jain's index over tenants (Jain, Chiu and Hawe, 1984), 1 is equal: of their mean bounded slowdowns, and
    #: of chip-hours had as a share of those asked for.
    fair_slowdown: float
    fair_service: float
    preempted: int  # runs that did not end their job


class Level(NamedTuple):
    """Chips held from an instant on, for the plot."""

    at: Instant
    held: int


def window(jobs: Sequence[Job]) -> tuple[Instant, Instant]:
    """From when to when figures count."""
    arrivals = sorted(job.arrives for job in jobs)
    return arrivals[int(WARM_UP * len(arrivals))], arrivals[-1]


def figures(site: Site, jobs: Sequence[Job], runs: Sequence[Run]) -> Figures:
    """Everything, after proving that the runs are a schedule of the jobs."""
    check(jobs, runs)
    low, high = window(jobs)
    idle = _Replay(site, runs).over(low, high)
    counted = [job for job in jobs if low <= job.arrives <= high]
    first, last = _first(runs), _last(runs)
    waits = np.array([first[job.number] - job.arrives for job in counted]) / HOUR
    by_kind = {"all": _waits(waits)}
    for kind in dict.fromkeys(job.kind for job in sorted(jobs, key=lambda job: job.chips)):
        by_kind[kind] = _waits(waits[[job.kind == kind for job in counted]])
    slowdowns = np.array(
        [max(1.0, (last[job.number] - job.arrives) / max(job.runs, SLOWDOWN_BOUND)) for job in counted]
    )
    gangs = [run for run in runs if run.job.nodes > 1 and low <= run.job.arrives <= high]
    spans = np.array([_spans(idle.machine, run) for run in gangs]).reshape(-1, 3)
    tenants = list(dict.fromkeys(job.tenant for job in jobs))
    per_tenant = [slowdowns[[job.tenant == tenant for job in counted]].mean() for tenant in tenants]
    return Figures(
        utilisation=idle.share("held"),
        waits=by_kind,
        wait_by_work=float(np.average(waits, weights=[float(job.work) for job in counted])),
        slowdown=float(slowdowns.mean()),
        idle_no_demand=idle.share("no demand"),
        idle_no_fit=idle.share("no fit"),
        idle_kept=idle.share("kept"),
        stranded=idle.stranded / max(idle.free_in_demand, 1),
        broken_racks=idle.broken / max(idle.whole, 1),
        pods=float(spans[:, 0].mean()),
        racks=float(spans[:, 1].mean()),
        racks_over_least=float((spans[:, 1] / spans[:, 2]).mean()),
        fair_slowdown=jain(per_tenant),
        fair_service=jain(_served(tenants, jobs, runs, low, high)),
        preempted=len(runs) - len(jobs),
    )


def jain(values: Sequence[float]) -> float:
    """(sum x)^2 / (n sum x^2): 1 when all are equal, 1/n when one has everything."""
    x = np.asarray(values, float)
    return float(x.sum() ** 2 / (len(x) * (x**2).sum()))


def check(jobs: Sequence[Job], runs: Sequence[Run]) -> None:
    """Every job has run to its end, whole and not before it arrived."""
    time = Counter[int]()
    for run in runs:
        assert run.start >= run.job.arrives, f"{run.job} started before it arrived"
        assert len(set(run.rows.tolist())) == run.job.nodes, f"{run.job} is not whole"
        time[run.job.number] += run.end - run.start
    for job in jobs:
        assert time[job.number] >= job.runs, f"{job} did not run to its end"


def levels(runs: Sequence[Run]) -> list[Level]:
    """Chips held over time."""
    changes = sorted(
        [(run.start, run.job.chips) for run in runs] + [(run.end, -run.job.chips) for run in runs]
    )
    held, found = 0, []
    for at, change in changes:
        held += change
        found.append(Level(at, held))
    return found


class _Replay:
    """Walks through the events and adds up chip-time by what it was."""

    def __init__(self, site: Site, runs: Sequence[Run]) -> None:
        self.machine = Machine(site)
        self.runs = runs
        self.spent: Counter[str] = Counter()
        self.stranded = self.free_in_demand = self.broken = self.whole = 0.0
        self._waiting: Counter[tuple[int, int]] = Counter()  # (chips per node, nodes) -> jobs
        self._per_rack = np.bincount(self.machine.rack)

    def share(self, what: str) -> float:
        """Of all chip-time in the window."""
        return self.spent[what] / sum(self.spent.values())

    def over(self, low: Instant, high: Instant) -> "_Replay":
        """Replay everything; add up between two instants."""
        first, last = _first(self.runs), _last(self.runs)
        ends = [(run.end, 0, run) for run in self.runs]
        arrivals = [(run.job.arrives, 1, run) for run in self.runs if first[run.job.number] == run.start]
        # a job that was stopped waits again until it is started anew
        arrivals += [(run.end, 1, run) for run in self.runs if run.end < last[run.job.number]]
        starts = [(run.start, 2, run) for run in self.runs]
        before = low
        for at, what, run in sorted(ends + arrivals + starts, key=lambda event: event[:2]):
            if min(at, high) > before:
                self._add(min(at, high) - before)
                before = min(at, high)
            size = run.job.chips_per_node, run.job.nodes
            if what == 0:
                self.machine.give_back(run.job, run.rows)
            elif what == 1:
                self._waiting[size] += 1
            else:
                self.machine.hold(run.job, run.rows)
                self._waiting[size] -= 1
        return self

    def _add(self, span: float) -> None:
        free, chips = self.machine.free, self.machine.chips
        idle = int(free.sum())
        self.spent["held"] += (int(chips.sum()) - idle) * span
        whole = free == chips
        in_rack = np.bincount(self.machine.rack[whole], minlength=len(self._per_rack))
        self.whole += int(in_rack.sum()) * span
        self.broken += int(in_rack[in_rack < self._per_rack].sum()) * span
        waiting = [size for size, count in self._waiting.items() if count]
        if not waiting:
            self.spent["no demand"] += idle * span
            return
        fits = any(np.count_nonzero(free >= each) >= nodes for each, nodes in waiting)
        self.spent["kept" if fits else "no fit"] += idle * span
        each, _ = max(waiting, key=lambda size: (size[0] * size[1], size))
        self.free_in_demand += idle * span
        self.stranded += (idle - int((free[free >= each] // each * each).sum())) * span


def _first(runs: Sequence[Run]) -> dict[int, Instant]:
    """Job number -> its first start."""
    return {run.job.number: run.start for run in sorted(runs, key=lambda run: -run.start)}


def _last(runs: Sequence[Run]) -> dict[int, Instant]:
    """Job number -> its last end."""
    return {run.job.number: run.end for run in sorted(runs, key=lambda run: run.end)}


def _waits(hours: np.ndarray) -> Waits:
    if not len(hours):
        return Waits(0, math.nan, math.nan)
    return Waits(len(hours), float(hours.mean()), float(np.percentile(hours, 99)))


def _spans(machine: Machine, run: Run) -> tuple[int, int, int]:
    """Pods, racks, and the fewest racks that could hold so many nodes."""
    racks = len(np.unique(machine.rack[run.rows]))
    least = math.ceil(run.job.nodes / int(np.bincount(machine.rack).max()))
    return len(np.unique(machine.pod[run.rows])), racks, least


def _served(
    tenants: Sequence[str], jobs: Sequence[Job], runs: Sequence[Run], low: Instant, high: Instant
) -> list[float]:
    """For each tenant: chip-time had in the window, as a share of what was still to be had when it began."""
    had, asked = Counter[str](), Counter[str]()
    for job in jobs:
        asked[job.tenant] += job.work
    for run in runs:
        had[run.job.tenant] += run.job.chips * max(0, min(run.end, high) - max(run.start, low))
        asked[run.job.tenant] -= run.job.chips * max(0, min(run.end, low) - run.start)
    return [had[tenant] / asked[tenant] for tenant in tenants]
