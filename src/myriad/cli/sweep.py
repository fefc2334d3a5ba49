"""`myriad sweep`: a scenario over the values of its settings, each with the same seeds."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import click

from myriad.cli import progress, scenarios, show
from myriad.kernel.errors import UserError, near
from myriad.studies import executors, intervals, settings, simulation, sweeps
from myriad.studies.settings import VARY
from myriad.studies.sweeps import Sweep
from myriad.twin.scenario import Scenario

#: What the table shows unless it is asked for more.
SHOWN: Final = ("goodput", "utilisation", "availability", "cost_per_useful_chip_hour")


@click.command()
@click.argument("scenario", type=click.Path(path_type=Path))
@click.option(
    "--vary", "varied", multiple=True, metavar="KEY.PATH=A,B,...", help="Values in turn; several make a grid."
)
@click.option("--seeds", type=click.IntRange(1, 100_000), default=20, show_default=True, help="How many.")
@click.option("--first-seed", type=click.IntRange(0), default=0, show_default=True, help="The first of them.")
@scenarios.changing
@click.option("--on", "place", default="local", show_default=True, metavar="local|ray", help="Who computes.")
@click.option("--jobs", type=click.IntRange(1, 1024), help="Processes; as many as cores by default.")
@click.option("--figure", "figures", multiple=True, help=f"Columns of the table, not {', '.join(SHOWN)}.")
@click.option("--report", type=click.Path(path_type=Path), metavar="DIR", help="Write page and result.")
@show.as_json
def sweep(
    scenario: Path,
    varied: tuple[str, ...],
    seeds: int,
    first_seed: int,
    days: float | None,
    policy: str | None,
    sets: tuple[str, ...],
    place: str,
    jobs: int | None,
    figures: tuple[str, ...],
    report: Path | None,
    as_json: bool,
) -> None:
    """Play SCENARIO many times and tell means with 95 % confidence intervals.

    Every variation gets the same seeds. The result is the same on one machine and on a Ray cluster.
    recover.spares is a number of nodes or percent of them.

    \b
    Example:
      myriad sweep scenarios/shaoguan-10k.yaml --vary recover.spares=0,0.5%,1%,2% --seeds 20
      myriad sweep scenarios/rsc-1.yaml --vary order.policy=fifo,fair --vary recover.spares=0,2% --on ray
    """
    case = scenarios.changed(simulation.read(scenario), days, policy, sets)
    asked = simulation.sweep_of(
        case, [settings.parse_varied(text, VARY) for text in varied], range(first_seed, first_seed + seeds)
    )
    _check_figures(figures, simulation.check(case))
    folder = scenarios.folder(report)
    executor = executors.named(place, jobs or 0)
    if not as_json:
        seeds_told = f"seeds {first_seed} to {first_seed + seeds - 1}"
        days_told, scenario_told = f"{asked.days:g} days", f"scenario {asked.scenario_hash}"
        click.echo(scenarios.stamp(asked.name, seeds_told, days_told, scenario_told))
    started = time.perf_counter()
    runs = len(asked.cases) * seeds
    with progress.bar(f"{asked.name}: {runs} simulations", runs * asked.days, "days") as tell:
        found = sweeps.run(
            asked, simulation.run_task, executor, lambda done: tell(done * asked.days, f"{done} of {runs}")
        )
    wall_s = time.perf_counter() - started
    took = {"on": place, "places": executor.places, "wall_s": round(wall_s, 3)}
    if folder:
        from myriad.studies import sweep_page

        show.write(folder / "report.html", sweep_page.render(found, _shown(figures, found)))
        show.write(folder / "result.json", show.as_text(found) + "\n")
    if as_json:
        show.dump({"commit": scenarios.commit(), "sweep": found, "took": took})
        return
    _tell(found, _shown(figures, found))
    speed = runs * asked.days / wall_s
    click.echo(f"\n{runs} simulations in {wall_s:.1f} s on {executor.places} places: {speed:,.1f} days/s")
    if folder:
        click.echo(f"written to {folder / 'report.html'}, result.json")


def _check_figures(figures: Sequence[str], scenario: Scenario) -> None:
    known = simulation.figure_roots(scenario)
    for name in figures:
        if (first := name.partition(".")[0]) not in known:
            raise UserError("is no figure", field="--figure", value=name, remedy=near(first, known))


def _shown(figures: Sequence[str], found: Sweep) -> list[str]:
    known = found.rows[0].figures
    return [name for name in (figures or SHOWN) if name in known or figures]


def _tell(found: Sweep, names: Sequence[str]) -> None:
    click.echo()
    rows = [
        [row.variation, *(intervals.shown(row.figures.get(name)) for name in names)] for row in found.rows
    ]
    columns = ("VARIATION", *(f">{name.upper()}" for name in names))
    show.table(columns, rows, empty="")
    if len(found.rows) > 1:
        click.echo(f"\nDifferences from {found.rows[0].variation}, seed by seed")
        rows = [
            [row.variation, *(intervals.shown(row.against_first.get(name), "+") for name in names)]
            for row in found.rows[1:]
        ]
        show.table(columns, rows, empty="")
    click.echo(f"\nmean ± 95 % confidence of {len(found.seeds)} seeds")
    broken = sum(bool(run.broken) for run in found.runs)
    if broken:
        click.echo(f"{broken} of {len(found.runs)} simulations are not as the scenario expects")
