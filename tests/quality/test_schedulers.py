"""Schedulers of the benchmark: what they produce is a schedule, and each keeps its own promise."""

from collections.abc import Callable

import numpy as np
import pytest
from bench.scheduling import brain, measure, peers, workload
from bench.scheduling.peers import Machine, Run
from bench.scheduling.workload import Job

from myriad.fleet.site import Site
from myriad.kernel.units import HOUR

SITE = workload.site_of(2000)
LARGER = workload.site_of(4000)


def queue(seed: int, count: int = 150, load: float = 5.0) -> list[Job]:
    """More than the site can do, so that everything queues."""
    return workload.queue(LARGER, count, load, seed)


def job(number: int, nodes: int, hours: int, *, each: int = 16, arrives: int = 0) -> Job:
    """A job whose length everybody knows."""
    span = hours * HOUR
    return Job(number, "tenant-1", "small", nodes, each, arrives, span, span, span)


def starts(runs: list[Run]) -> dict[int, int]:
    """Job number -> hours until it started."""
    return {run.job.number: run.start // HOUR for run in runs}


def easy(jobs: list[Job], estimate: Callable[[Job], int], site: Site = SITE) -> list[Run]:
    """Best fit with EASY backfill."""
    return peers.simulate(site, jobs, peers.best_fit, estimate)


@pytest.mark.parametrize(
    "scheduler",
    [
        lambda jobs: brain.simulate(LARGER, jobs),
        lambda jobs: peers.simulate(LARGER, jobs, peers.first_fit),
        lambda jobs: easy(jobs, lambda job: job.asked, LARGER),
        lambda jobs: easy(jobs, lambda job: job.predicted, LARGER),
    ],
    ids=["Myriad", "FIFO", "EASY", "EASY on predictions"],
)
def test_every_job_runs_whole_to_its_end_and_every_chip_hour_is_accounted_for(scheduler) -> None:
    jobs = queue(1)
    runs = scheduler(jobs)
    found = measure.figures(LARGER, jobs, runs)  # replays: asserts that no chip is held twice
    assert sum(run.job.chips * (run.end - run.start) for run in runs) == sum(job.work for job in jobs)
    idle = found.idle_no_demand + found.idle_no_fit + found.idle_kept
    assert found.utilisation + idle == pytest.approx(1.0)
    assert sum(waits.jobs for name, waits in found.waits.items() if name != "all") == found.waits["all"].jobs


def test_fifo_starts_in_the_order_of_arrival() -> None:
    runs = peers.simulate(LARGER, queue(2), peers.first_fit)
    assert [run.job.number for run in sorted(runs, key=lambda run: (run.start, run.job.number))] == [
        job.number for job in queue(2)
    ]


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_easy_never_delays_the_first_in_the_queue_when_estimates_are_exact(seed: int, monkeypatch) -> None:
    promised: dict[int, int] = {}
    reserve = peers.reservation

    def watched(machine, head, running, now, estimate):
        held = reserve(machine, head, running, now, estimate)
        assert held[0] <= promised.setdefault(head.number, held[0]), "the promise got worse"
        return held

    monkeypatch.setattr(peers, "reservation", watched)
    runs = easy(queue(seed), lambda job: job.runs, LARGER)
    assert promised
    for run in runs:
        assert run.start <= promised.get(run.job.number, run.start)


def test_easy_fills_the_hole_in_front_of_the_first_and_only_that() -> None:
    jobs = [job(0, 100, 4), job(1, 125, 1), job(2, 25, 4), job(3, 25, 5)]
    assert starts(easy(jobs, lambda job: job.runs)) == {0: 0, 1: 4, 2: 0, 3: 5}
    assert starts(peers.simulate(SITE, jobs, peers.first_fit)) == {0: 0, 1: 4, 2: 5, 3: 5}


def test_easy_lets_long_jobs_use_nodes_that_the_first_will_not_need() -> None:
    jobs = [job(0, 100, 4), job(1, 110, 1), job(2, 15, 9), job(3, 10, 9)]
    assert starts(easy(jobs, lambda job: job.runs)) == {0: 0, 1: 4, 2: 0, 3: 5}


def test_a_part_of_a_node_goes_where_least_is_left() -> None:
    machine = Machine(SITE)
    machine.free[7], machine.free[9] = 5, 8
    assert peers.best_fit(machine, job(0, 1, 1, each=4)).tolist() == [7]
    assert peers.best_fit(machine, job(0, 1, 1, each=6)).tolist() == [9]
    assert peers.first_fit(machine, job(0, 1, 1, each=4)).tolist() == [0]


def test_best_fit_takes_the_tightest_rack_and_else_the_emptiest_racks() -> None:
    machine = Machine(SITE)
    machine.free[:2] = 0  # rack 0 has three nodes left
    assert peers.best_fit(machine, job(0, 3, 1)).tolist() == [2, 3, 4]
    rows = peers.best_fit(machine, job(0, 10, 1))
    assert len(np.unique(machine.rack[rows])) == 2


def test_a_chip_held_twice_is_found() -> None:
    rows = np.array([0])
    runs = [Run(job(number, 1, 2), 0, 2 * HOUR, rows) for number in (0, 1)]
    with pytest.raises(AssertionError, match="given twice"):
        measure.figures(SITE, [run.job for run in runs], runs)


def test_a_run_cut_short_is_found() -> None:
    run = Run(job(0, 1, 2), 0, HOUR, np.array([0]))
    with pytest.raises(AssertionError, match="did not run to its end"):
        measure.check([run.job], [run])


def test_stranded_chips_are_those_that_the_largest_waiting_gang_cannot_use() -> None:
    parts = [job(k, 1, 4, each=8) for k in range(2)]
    gang = job(2, 125, 1)
    runs = [Run(parts[0], 0, 4 * HOUR, np.array([0])), Run(parts[1], 0, 4 * HOUR, np.array([1]))]
    runs.append(Run(gang, 4 * HOUR, 5 * HOUR, np.arange(125)))
    last = job(3, 1, 1, arrives=4 * HOUR)
    runs.append(Run(last, 5 * HOUR, 6 * HOUR, np.array([3])))
    found = measure.figures(SITE, [*parts, gang, last], runs)
    assert found.stranded == pytest.approx(16 / (2000 - 16))
    assert found.idle_no_fit == pytest.approx((2000 - 16) / 2000)
    assert found.broken_racks == pytest.approx(3 / 123)


def test_jains_index() -> None:
    assert measure.jain([2.0, 2.0, 2.0]) == pytest.approx(1.0)
    assert measure.jain([1.0, 0.0, 0.0, 0.0]) == pytest.approx(0.25)
