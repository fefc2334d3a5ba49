"""The proved optimum: right on instances that can be searched, and never above any schedule."""

from itertools import permutations

import pytest
from bench.scheduling import instances, optimum
from bench.scheduling.instances import Class
from bench.scheduling.optimum import PRECISION, Task

from myriad.kernel.rng import Stream

NODES = 4


def ends_in_order(nodes: int, tasks: list[Task], order: list[int]) -> list[int]:
    """Ends of a schedule that puts each job, in this order, as early as it fits; some order is best."""
    free = [nodes] * sum(task.slots for task in tasks)
    ends = [0] * len(tasks)
    for j in order:
        width, slots = tasks[j]
        start = next(t for t in range(len(free)) if min(free[t : t + slots]) >= width)
        for t in range(start, start + slots):
            free[t] -= width
        ends[j] = start + slots
    return ends


def some(seed: int, jobs: int) -> list[Task]:
    """A random instance."""
    stream = Stream(seed, "tasks")
    return [Task(stream.integer(1, NODES), stream.integer(1, 4)) for _ in range(jobs)]


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_it_is_what_trying_every_order_finds(seed: int) -> None:
    tasks = some(seed, 6)
    weights = [task.nodes * task.slots / 10 for task in tasks]
    all_ends = [ends_in_order(NODES, tasks, list(order)) for order in permutations(range(6))]
    longest = max(max(ends) for ends in all_ends)
    assert optimum.makespan(NODES, tasks, longest) == min(max(ends) for ends in all_ends)
    costs = [sum(w * end for w, end in zip(weights, ends, strict=True)) for ends in all_ends]
    found = optimum.weighted_completion(NODES, tasks, weights, max(costs))
    assert min(costs) * (1 - PRECISION) <= found <= min(costs) + 1e-6


@pytest.mark.parametrize("seed", [4, 5])
def test_no_schedule_beats_it(seed: int) -> None:
    tasks, stream = some(seed, 9), Stream(seed, "orders")
    equal = [1 / 9] * 9
    fifo = ends_in_order(NODES, tasks, list(range(9)))
    makespan = optimum.makespan(NODES, tasks, max(fifo))
    mean = optimum.weighted_completion(NODES, tasks, equal, sum(fifo) / 9)
    for _ in range(300):
        ends = ends_in_order(NODES, tasks, sorted(range(9), key=lambda _: stream.uniform()))
        assert max(ends) >= makespan
        assert sum(ends) / 9 >= mean - 1e-6


def test_every_scheduler_is_at_the_optimum_or_behind_it() -> None:
    group = Class("tiny", 4, 6, (1, 2, 4), 3)
    found = instances.gaps(group, 1)
    assert {gap.scheduler for gap in found} == set(instances.SCHEDULERS)
    assert all(value >= -1e-9 for gap in found for value in gap.gaps.values())


def test_all_jobs_wait_when_the_site_becomes_free() -> None:
    site = instances.site_of(4)
    runs = instances.SCHEDULERS["Myriad"](site, instances.jobs_of(site, [Task(4, 1), Task(2, 2)]))
    assert instances.values(runs) == {
        "makespan": 3.0,
        "work-weighted completion": 2.0,
        "mean completion": 2.0,
    }
