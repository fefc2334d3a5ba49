"""`myriad simulate`: a scenario, or the replay of a trace of jobs, played once."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import click

from myriad.cli import progress, scenarios, show
from myriad.kernel import units
from myriad.kernel.errors import UserError
from myriad.studies import expectations, simulation
from myriad.studies.expectations import Judged
from myriad.studies.simulation import Case, Result
from myriad.twin.outcome import Outcome
from myriad.twin.scenario import Scenario

_ESTIMATED: Final = "(estimated)"
#: Rows of a trace that cannot be read and are shown.
_MOST_ROWS: Final = 5


@click.command()
@click.argument("scenario", type=click.Path(path_type=Path), required=False)
@scenarios.changing
@click.option("--seed", type=click.IntRange(0), help="Of all chance in it; by default the scenario's.")
@click.option("--report", type=click.Path(path_type=Path), metavar="DIR", help="Write page, facts, series.")
@click.option("--trace", type=click.Path(path_type=Path), help="Replay the jobs of this file.")
@click.option("--site", type=click.Path(path_type=Path), help="Where the trace is replayed.")
@click.option("--kind", default="auto", show_default=True, help="Format of the trace.")
@click.option("--skip-bad-rows", is_flag=True, help="Leave out rows of the trace that are malformed.")
@show.as_json
@click.pass_context
def simulate(
    ctx: click.Context,
    scenario: Path | None,
    days: float | None,
    policy: str | None,
    sets: tuple[str, ...],
    seed: int | None,
    report: Path | None,
    trace: Path | None,
    site: Path | None,
    kind: str,
    skip_bad_rows: bool,
    as_json: bool,
) -> None:
    """Play SCENARIO once: months of a site in seconds. Exit code 1 when it is not as the scenario expects.

    With --trace and --site the jobs of a file are replayed on that site.

    \b
    Example:
      myriad simulate scenarios/shaoguan-10k.yaml --days 90 --seed 7 --report out/
      myriad simulate scenarios/shaoguan-10k.yaml --set recover.spares=1% --policy easy --json
      myriad simulate --trace venus.csv --site sites/venus.yaml
    """
    case = _case(scenario, trace, site, kind, skip_bad_rows)
    case = scenarios.changed(case, days, policy, sets)
    asked = simulation.check(case)
    seed = asked.seed if seed is None else seed
    folder = scenarios.folder(report)
    if not as_json:
        days_told = f"{asked.span_ns / units.DAY:g} days"
        click.echo(scenarios.stamp(asked.name, f"seed {seed}", days_told, f"scenario {asked.digest}"))
        _tell_rows(asked)
    result = _played(case, asked, seed, folder)
    if as_json:
        rows = simulation.left_out(asked)
        show.dump(
            {"commit": scenarios.commit(), **simulation.tree(result), **({"trace": rows} if rows else {})}
        )
    else:
        _tell(result)
        if folder:
            click.echo(f"\nwritten to {folder / 'report.html'}, facts.parquet, series.parquet, result.json")
    if result.broken:
        ctx.exit(1)


def _case(scenario: Path | None, trace: Path | None, site: Path | None, kind: str, skip: bool) -> Case:
    if trace is None:
        if scenario is None:
            remedy = "Name a scenario file, or give --trace and --site"
            raise UserError("is missing", field="SCENARIO", remedy=remedy)
        for given, option in ((site, "--site"), (kind != "auto", "--kind"), (skip, "--skip-bad-rows")):
            if given:
                raise UserError("is only for a replay", field=option, remedy="Give --trace too")
        return simulation.read(scenario)
    if scenario is not None:
        remedy = "Leave one out; a scenario may name a trace as its workload"
        raise UserError("cannot stand beside a scenario", field="--trace", value=str(trace), remedy=remedy)
    if site is None:
        raise UserError("is missing", field="--site", remedy="Name the file of the site to replay it on")
    return simulation.of_trace(trace, site, kind, skip)


def _tell_rows(asked: Scenario) -> None:
    """Of a replay: which rows are not in it."""
    for error in simulation.bad_rows(asked)[:_MOST_ROWS]:
        click.echo(f"left out: {error}", err=True)
    rows = simulation.left_out(asked)
    if rows:
        others = [f"{count:,} {reason}" for reason, count in rows.items() if reason != "jobs"]
        click.echo(
            f"{rows['jobs']:,} jobs of the trace" + (f"; left out: {', '.join(others)}" if others else "")
        )


def _played(case: Case, asked: Scenario, seed: int, folder: Path | None) -> Result:
    with progress.bar(asked.name, asked.span_ns / units.DAY, "days") as tell:

        def heard(elapsed: units.Span) -> None:
            tell(elapsed / units.DAY, "")

        if folder is None:
            return simulation.run(case, seed, heard)
        from myriad.studies import simulation_report

        return simulation_report.run(case, seed, folder, heard)


def _tell(result: Result) -> None:
    outcome = result.outcome
    click.echo()
    show.pairs(_figures(result))
    _counts("Chip-time", "BUCKET", outcome.buckets, spans=True)
    _counts("Jobs that ended", "OUTCOME", outcome.jobs)
    _counts("Faults", "CAUSE", outcome.faults)
    _counts("Gangs that they stopped", "CAUSE", outcome.broke)
    _counts("Ends of gangs", "CAUSE", outcome.stops)
    _sizes(outcome)
    if result.expectations:
        click.echo("\n" + click.style("Expected", bold=True))
        rows = (expectation_row(one) for one in result.expectations)
        show.table(("FIGURE", ">EXPECTED", ">FOUND", ""), rows, empty="")


def _figures(result: Result) -> list[tuple[str, Any]]:
    """The lines at the top: each figure that the simulation has."""
    found = result.figures
    shares = ("goodput", "utilisation", "availability", "mfu", "ettr")
    lines: list[tuple[str, Any]] = [(name, show.percent(found[name])) for name in shares if name in found]
    spans = (("mttf_s", "MTTF of a node"), ("mttr_s", "MTTR of a node"), ("recovery_s", "recovery"))
    lines += [(title, expectations.shown(name, found[name])) for name, title in spans if name in found]
    if result.outcome.energy_j:
        peak = f"{found['peak_w'] / 1e6:,.1f} MW at most, PUE {found['mean_pue']:.2f}"
        lines.append(("energy", f"{found['energy_mwh']:,.0f} MWh, {peak}"))
    if cost := result.outcome.cost_per_useful_chip_hour:
        lines.append(("cost", f"{cost:,.2f} for each useful chip-hour {_ESTIMATED}"))
    lines.append(("ran", f"{result.wall_s:.1f} s, {result.days_per_s:,.1f} simulated days/s"))
    lines.append(("digest", result.digest))
    return lines


def _counts(title: str, column: str, counts: Mapping[str, int], spans: bool = False) -> None:
    total = sum(counts.values())
    if not total:
        return
    click.echo("\n" + click.style(title, bold=True))
    rows = (
        (
            name.replace("_", " "),
            show.chip_time(count) if spans else f"{count:,}",
            show.percent(count / total),
            show.bar(count / total),
        )
        for name, count in sorted(counts.items(), key=lambda item: 0 if spans else -item[1])
        if count
    )
    show.table((column, ">" + ("CHIP-TIME" if spans else "COUNT"), ">SHARE", ""), rows, empty="")


def _sizes(outcome: Outcome) -> None:
    """Jobs that ended, by their size."""
    rows = [
        (
            size,
            f"{row['jobs']:,.0f}",
            *(expectations.shown(name, row.get(name)) for name in ("wait_p50_s", "wait_p99_s")),
            f"{outcome.interruptions.get(size, 0):,}" if size != "all" else "",
        )
        for size, row in outcome.by_size.items()
        if row["jobs"]
    ]
    if rows:
        click.echo("\n" + click.style("By size", bold=True))
        show.table(("CHIPS", ">JOBS", ">WAIT, HALF", ">WAIT, 99 %", ">INTERRUPTIONS"), rows, empty="")


def expectation_row(one: Judged) -> tuple[str, str, str, str]:
    """One expectation as cells of a table."""
    found = expectations.shown(one.figure, one.found)
    return one.figure, one.expected, found, "" if one.held else "BROKEN"
