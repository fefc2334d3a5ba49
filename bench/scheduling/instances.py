"""Small instances with a known optimum: how far is each scheduler from it?

All jobs are there at time 0 and run times are known exactly, so nothing is left to luck; what differs is
order and packing. Three objectives, each against its own optimum (no schedule reaches all three at once):

- makespan: when the last job ends. The utilisation of a closed queue.
- work-weighted completion: mean end, each job weighing its node-hours. The fairest of the three to a
  scheduler that must keep an order, because it rewards none: on one machine every order without idle time is
  optimal (Smith's rule, 1956, with weight = work). Who keeps to the queue loses by bad packing alone, and who
  runs small jobs first gains nothing (Schwiegelshohn and Yahyapour, Fairness in Parallel Job Scheduling,
  2000).
- mean completion: every job weighs the same, so the optimum puts short and small jobs first and large ones
  last. A scheduler that always did so would starve large gangs when jobs keep coming.

The bar is held against all three, and each verdict is printed.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from bench.scheduling import brain, optimum, peers
from bench.scheduling.optimum import Task
from bench.scheduling.peers import Run
from bench.scheduling.workload import CHIPS_PER_NODE, Job
from myriad.control.policy import Policy
from myriad.fleet.site import Pod, Site
from myriad.kernel.rng import Stream
from myriad.kernel.units import HOUR
from myriad.schedule.policy import Order

#: How far from the optimum Myriad may be on average.
BAR = 0.03
#: For sites with few jobs a minute: a search for the best order at every change.
SEARCH = "Myriad, search"
SEARCHING = Policy(order=Order(search=600))
OBJECTIVES = ("makespan", "work-weighted completion", "mean completion")


class Class(NamedTuple):
    """A family of instances."""

    name: str
    nodes: int
    jobs: int
    sizes: tuple[int, ...]  # nodes of a gang, all equally likely
    slots: int  # run times are 1 to so many hours


CLASSES = (
    Class("8 nodes, 10 jobs, powers of two", 8, 10, (1, 2, 4, 8), 8),
    Class("8 nodes, 10 jobs, any size", 8, 10, tuple(range(1, 9)), 8),
    Class("16 nodes, 12 jobs, powers of two", 16, 12, (1, 2, 4, 8, 16), 8),
    Class("16 nodes, 16 jobs, small gangs", 16, 16, (1, 2, 3, 4, 6, 8), 5),
)


class Gap(NamedTuple):
    """How much worse than the optimum one scheduler was on one instance: 0.03 is 3 %."""

    group: str
    seed: int
    scheduler: str
    gaps: dict[str, float]  # by objective


def site_of(nodes: int) -> Site:
    """One rack: topology plays no part."""
    return Site(name="small", chip="zhenwu-810e", pods=(Pod(name="p0", racks=1, nodes_per_rack=nodes),))


def tasks_of(group: Class, seed: int) -> list[Task]:
    """The jobs of one instance."""
    stream = Stream(seed, group.name)
    return [Task(stream.choice(group.sizes), stream.integer(1, group.slots)) for _ in range(group.jobs)]


def jobs_of(site: Site, tasks: Sequence[Task]) -> list[Job]:
    """The instance as a queue. A first job holds the whole site until time 0, when all others wait."""
    holder = _job(0, site.node_count, HOUR, "setup", -HOUR)
    return [holder] + [
        _job(number, task.nodes, task.slots * HOUR, "tenant", -1) for number, task in enumerate(tasks, 1)
    ]


def _job(number: int, nodes: int, runs: int, tenant: str, arrives: int) -> Job:
    return Job(number, tenant, "", nodes, CHIPS_PER_NODE, arrives, runs, runs, runs)


def values(runs: Sequence[Run]) -> dict[str, float]:
    """The three objectives of a schedule, in hours; the holder aside."""
    ends = [(run.end / HOUR, run.job.nodes * run.job.runs / HOUR) for run in runs if run.job.number]
    return {
        "makespan": max(end for end, _ in ends),
        "work-weighted completion": sum(end * work for end, work in ends) / sum(work for _, work in ends),
        "mean completion": sum(end for end, _ in ends) / len(ends),
    }


def best(nodes: int, tasks: Sequence[Task], known: dict[str, float]) -> dict[str, float]:
    """The optimum of each objective. `known`: values that some schedule reaches."""
    work = sum(task.nodes * task.slots for task in tasks)
    weights = [task.nodes * task.slots / work for task in tasks]
    equal = [1 / len(tasks)] * len(tasks)
    return {
        "makespan": optimum.makespan(nodes, tasks, round(known["makespan"])),
        "work-weighted completion": optimum.weighted_completion(
            nodes, tasks, weights, known["work-weighted completion"]
        ),
        "mean completion": optimum.weighted_completion(nodes, tasks, equal, known["mean completion"]),
    }


SCHEDULERS: dict[str, Callable[[Site, Sequence[Job]], list[Run]]] = {
    "Myriad": brain.simulate,
    SEARCH: lambda site, jobs: brain.simulate(site, jobs, policy=SEARCHING),
    "first-fit FIFO": lambda site, jobs: peers.simulate(site, jobs, peers.first_fit),
    # estimates are exact here, so EASY is at its best
    "EASY": lambda site, jobs: peers.simulate(site, jobs, peers.best_fit, lambda job: job.asked),
}


def gaps(group: Class, seed: int) -> list[Gap]:
    """Solve one instance and compare every scheduler with the optimum."""
    site, tasks = site_of(group.nodes), tasks_of(group, seed)
    jobs = jobs_of(site, tasks)
    reached = {name: values(run(site, jobs)) for name, run in SCHEDULERS.items()}
    known = {what: min(found[what] for found in reached.values()) for what in OBJECTIVES}
    least = best(group.nodes, tasks, known)
    return [
        Gap(group.name, seed, name, {what: found[what] / least[what] - 1 for what in OBJECTIVES})
        for name, found in reached.items()
    ]
