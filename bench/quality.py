"""How good the schedules are: Myriad against FIFO and EASY on the same queues, and against proved optima.

Queues of mixed gangs at 95 % offered load, on 10,000 and 100,000 chips, the same jobs for all
(`scheduling.workload`):

- Myriad: the real brain through `Core.step` on a virtual clock. It predicts run times, with an error of 20 %.
  Once by the policy that comes with it, and once waiting for fewer racks.
- first-fit FIFO: strictly in order, nodes in index order, no backfill.
- EASY: best fit over racks and pods, backfill on users' estimates, as batch systems do it.
- For orientation the same EASY on Myriad's predictions, and on the true run times.

The last line compares mean waits with EASY's, at the smallest site. Small instances: `scheduling.instances`.
"""

import argparse
import os
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
from rich.console import Console
from rich.table import Table

from bench import report
from bench.scheduling import brain, instances, measure, peers, plots, workload
from bench.scheduling.measure import Figures, Level
from bench.scheduling.peers import Run
from bench.scheduling.workload import Job
from myriad.control.policy import Policy
from myriad.fleet.site import Site
from myriad.schedule.policy import Placement

W, R = TypeVar("W"), TypeVar("R")
OUT = Path(__file__).parent.parent / "out"
MYRIAD, FIFO, EASY = "Myriad", "first-fit FIFO", "EASY, users' estimates"
#: What fewer racks cost: a gang waits for them up to this share of its predicted run.
WAITING = Policy(placement=Placement(wait_for_racks=0.05))
Told = Callable[[int], None]
SCHEDULERS: dict[str, Callable[[Site, Sequence[Job], Told], list[Run]]] = {
    MYRIAD: brain.simulate,
    f"{MYRIAD}, wait_for_racks {WAITING.placement.wait_for_racks}": lambda site, jobs, told: brain.simulate(
        site, jobs, told, WAITING
    ),
    FIFO: lambda site, jobs, told: peers.simulate(site, jobs, peers.first_fit, told=told),
    EASY: lambda site, jobs, told: peers.simulate(site, jobs, peers.best_fit, lambda job: job.asked, told),
    "EASY, Myriad's predictions": lambda site, jobs, told: peers.simulate(
        site, jobs, peers.best_fit, lambda job: job.predicted, told
    ),
    "EASY, true run times": lambda site, jobs, told: peers.simulate(
        site, jobs, peers.best_fit, lambda job: job.runs, told
    ),
}


class Case(NamedTuple):
    """One queue given to one scheduler."""

    chips: int
    jobs: int
    load: float
    seed: int
    scheduler: str

    def queue(self) -> tuple[Site, list[Job]]:
        """The site and the jobs: the same for every scheduler."""
        site = workload.site_of(self.chips)
        return site, workload.queue(site, self.jobs, self.load, self.seed)


class Result(NamedTuple):
    """What came of it."""

    figures: Figures
    levels: list[Level]
    spent_s: float


def say(text: str) -> None:
    """Progress, where it does not disturb the tables."""
    print(text, file=sys.stderr, flush=True)


def run(case: Case) -> Result:
    """Schedule one queue and measure it."""
    site, jobs = case.queue()
    name = f"{case.scheduler}, {case.chips} chips, seed {case.seed}"

    def told(ended: int) -> None:
        if ended % 1000 == 0:
            say(f"{name}: {ended} of {len(jobs)} jobs ended")

    begun = time.perf_counter()
    runs = SCHEDULERS[case.scheduler](site, jobs, told)
    spent_s = time.perf_counter() - begun
    return Result(measure.figures(site, jobs, runs), measure.levels(runs), spent_s)


def solve(work: tuple[instances.Class, int]) -> list[instances.Gap]:
    """One small instance."""
    return instances.gaps(*work)


def quiet() -> None:
    """HiGHS prints from C, past Python; worker processes need no standard output."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def everywhere(workers: int, task: Callable[[W], R], works: Sequence[W]) -> dict[W, R]:
    """Do all works in worker processes; the results in the order of the works."""
    with ProcessPoolExecutor(workers, initializer=quiet) as pool:
        futures = {pool.submit(task, work): work for work in works}
        for done, future in enumerate(as_completed(futures), 1):
            future.result()
            say(f"{done} of {len(works)} done: {futures[future]}")
        return {work: future.result() for future, work in futures.items()}


Column = tuple[str, str, Callable[[Figures], float]]  # heading, format, what to read

OVERVIEW: tuple[Column, ...] = (
    ("utilisation", "{:.1%}", lambda f: f.utilisation),
    ("idle: no demand", "{:.1%}", lambda f: f.idle_no_demand),
    ("idle: no fit", "{:.1%}", lambda f: f.idle_no_fit),
    ("idle: kept", "{:.1%}", lambda f: f.idle_kept),
    ("mean wait", "{:.2f} h", lambda f: f.waits["all"].mean),
    ("by work", "{:.2f} h", lambda f: f.wait_by_work),
    ("slowdown", "{:.2f}", lambda f: f.slowdown),
    ("Jain slowdown", "{:.3f}", lambda f: f.fair_slowdown),
    ("Jain service", "{:.3f}", lambda f: f.fair_service),
)
PLACES: tuple[Column, ...] = (
    ("stranded", "{:.2%}", lambda f: f.stranded),
    ("in broken racks", "{:.1%}", lambda f: f.broken_racks),
    ("pods a gang", "{:.2f}", lambda f: f.pods),
    ("racks a gang", "{:.2f}", lambda f: f.racks),
    ("racks / least", "{:.2f}", lambda f: f.racks_over_least),
    ("preempted", "{:.0f}", lambda f: f.preempted),
)
LEGEND = """\
Utilisation: chips held. Idle: nobody waits; somebody waits and no waiting gang fits; a waiting gang fits and
is not started. By work: mean wait weighted by chip-hours. Slowdown: (wait + run) / run, run at least 10 min.
Jain: 1 if all tenants have the same mean slowdown, or got the same share of the chip-hours they asked for.
Stranded: of the free chips while somebody waits, those on nodes where the largest waiting gang (by chips)
cannot have a member. In broken racks: of the wholly free nodes, those in racks that are not wholly free.
Pods, racks: means over gangs of 2 and more nodes; least: the fewest racks that could hold so many nodes."""


def averaged(rows: Sequence[Figures], read: Callable[[Figures], float]) -> float:
    """Mean over the seeds."""
    return float(np.mean([read(row) for row in rows]))


def by_class(rows: Sequence[Figures]) -> tuple[Column, ...]:
    """Columns of waits by size class."""

    def columns(kind: str) -> Iterable[Column]:
        yield f"{kind}: mean", "{:.2f} h", lambda f: f.waits[kind].mean
        yield "p99", "{:.1f} h", lambda f: f.waits[kind].p99

    return tuple(column for kind in rows[0].waits for column in columns(kind))


def show(title: str, columns: Sequence[Column], found: dict[str, list[Figures]]) -> None:
    """One table, a row for each scheduler, means over the seeds."""
    table = Table("scheduler", *(heading for heading, _, _ in columns), title=title)
    for name, rows in found.items():
        table.add_row(name, *(text.format(averaged(rows, read)) for _, text, read in columns))
    Console(width=190).print(table)


def queues(options: argparse.Namespace, chips: int) -> dict[str, list[Figures]]:
    """All schedulers on the queues of one site size: tables and plots; figures of each seed."""
    # a large site says how things scale, which one queue does: it takes minutes
    seeds = options.seeds if chips == min(options.chips) else options.seeds[:1]
    cases = [Case(chips, options.jobs, options.load, seed, name) for seed in seeds for name in SCHEDULERS]
    results = everywhere(options.workers, run, cases)
    of = {name: [results[case] for case in cases if case.scheduler == name] for name in SCHEDULERS}
    found = {name: [result.figures for result in rows] for name, rows in of.items()}
    what = f"{chips:,} chips, {options.jobs:,} jobs, {100 * options.load:g} % offered load"
    show(f"{what}, mean of {len(seeds)} queue(s)", OVERVIEW, found)
    show("waits by size of the gang", by_class(found[MYRIAD]), found)
    show("fragmentation and topology", PLACES, found)
    for name, rows in of.items():
        each = ", ".join(f"{row.figures.waits['all'].mean:.2f}" for row in rows)
        print(f"{name}: mean wait by queue {each} h; {sum(row.spent_s for row in rows):.1f} s to schedule")
    OUT.mkdir(exist_ok=True)
    shown = (MYRIAD, FIFO, EASY)
    first = {name: of[name][0] for name in shown}
    plots.waits(OUT / f"quality-waits-{chips}.png", what, {k: row.figures for k, row in first.items()})
    window = measure.window(cases[0].queue()[1])
    held = {k: row.levels for k, row in first.items()}
    plots.utilisation(OUT / f"quality-utilisation-{chips}.png", what, chips, held, window)
    return found


def small(options: argparse.Namespace) -> dict[str, dict[str, float]]:
    """Instances with a proved optimum; mean gap of each scheduler and objective."""
    works = [(group, seed) for group in instances.CLASSES for seed in range(options.instances)]
    gaps = [gap for found in everywhere(options.workers, solve, works).values() for gap in found]
    heads = [f"{what}: mean (worst)" for what in instances.OBJECTIVES]
    title = f"distance from the optimum, {options.instances} instances a class, run times known"
    table = Table("instances", "scheduler", *heads, title=title)
    mean: dict[str, dict[str, float]] = {}
    for group in [*(one.name for one in instances.CLASSES), "all"]:
        for name in instances.SCHEDULERS:
            rows = [gap.gaps for gap in gaps if gap.scheduler == name and group in ("all", gap.group)]
            mean[name] = {what: float(np.mean([row[what] for row in rows])) for what in rows[0]}
            worst = {what: max(row[what] for row in rows) for what in rows[0]}
            cells = [f"{mean[name][what]:.1%} ({worst[what]:.1%})" for what in instances.OBJECTIVES]
            table.add_row(group, name, *cells)
    Console(width=190).print(table)
    for what in instances.OBJECTIVES:
        for name in (MYRIAD, instances.SEARCH):
            verdict = "within" if mean[name][what] <= instances.BAR else "NOT within"
            print(f"{what}: {name} is {verdict} {100 * instances.BAR:.0f} % of the optimum on average")
    return mean


def main() -> None:
    """Print the tables and the last line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--chips", type=int, nargs="*", default=[10_000, 100_000], help="site sizes")
    parser.add_argument("--jobs", type=int, default=3000, help="length of each queue")
    parser.add_argument(
        "--seeds",
        type=int,
        nargs="+",
        default=[1, 2, 3],
        help="one queue each, the first alone for larger sites",
    )
    parser.add_argument("--load", type=float, default=0.95, help="offered load")
    parser.add_argument("--instances", type=int, default=4, help="small instances of each class; 0: none")
    parser.add_argument("--workers", type=int, default=2, help="processes")
    options = parser.parse_args()
    found = {chips: queues(options, chips) for chips in options.chips}
    print(LEGEND)
    gaps = small(options) if options.instances else {}
    if not found:
        return
    chips, rows = min(found), found[min(found)]

    def wait(figures: Figures) -> float:
        return figures.waits["all"].mean

    report.finish(
        "quality",
        averaged(rows[MYRIAD], wait),
        f"h mean wait at {chips} chips, {100 * options.load:g} % load",
        "EASY backfill on users' estimates, best fit (same queues)",
        averaged(rows[EASY], wait),
        better="lower",
        fifo_wait_h=round(averaged(rows[FIFO], wait), 3),
        utilisation=round(averaged(rows[MYRIAD], lambda f: f.utilisation), 4),
        utilisation_easy=round(averaged(rows[EASY], lambda f: f.utilisation), 4),
        gap_to_optimum={what: round(gap, 4) for what, gap in gaps.get(MYRIAD, {}).items()},
        gap_with_search={what: round(gap, 4) for what, gap in gaps.get(instances.SEARCH, {}).items()},
        jobs=options.jobs,
        seeds=len(options.seeds),
    )


if __name__ == "__main__":
    main()
