"""`myriad validate`: predictions beside published measurements, and their errors."""

from collections.abc import Callable, Sequence
from pathlib import Path

import click

from myriad.catalog.shelf import Catalog
from myriad.cli import show
from myriad.cli.catalog import folders_option, opened
from myriad.kernel import documents
from myriad.studies import published, validation
from myriad.studies.published import Unmodelled
from myriad.studies.validation import Errors, Judged


@click.group()
def validate() -> None:
    """Compare predictions with published measurements.

    \b
    Example:
      myriad validate performance
      myriad validate reliability
    """


@validate.command()
@click.option("--data", type=click.Path(path_type=Path), help="A CSV of runs, with the columns of ours.")
@click.option(
    "--recommended", is_flag=True, help="Only rows with a full configuration and a measured step time."
)
@click.option("--plot", type=click.Path(path_type=Path), metavar="FILE.html", help="Also draw them.")
@folders_option
@show.as_json
def performance(
    data: Path | None, recommended: bool, plot: Path | None, folders: tuple[Path, ...], as_json: bool
) -> None:
    """Tell the errors of the training model on published runs: ours, or those of a file.

    Nothing is fitted here. Parameters were calibrated once on the shipped runs.

    \b
    Example:
      myriad validate performance
      myriad validate performance --data runs.csv --json
    """
    catalog = opened(folders)
    judged, failed = _judged(data, recommended, catalog)
    if plot:
        from myriad.studies import validation_page

        show.write(plot, validation_page.render(judged))
    if as_json:
        show.dump(_as_tree(judged, failed))
        return
    _tell(judged, failed)
    if plot:
        click.echo(f"\nwritten to {plot}")


@validate.command()
@click.option("--quick", is_flag=True, help="Fewer runs, wider intervals; of the twin only small sites.")
@click.option("--no-twin", is_flag=True, help="Without full simulations, which take minutes.")
@click.option("--seed", type=int, default=1, show_default=True, help="Of all chance.")
@click.option("--only", metavar="WORD", default="", help="Figures whose id has this word.")
@click.option(
    "--parts", type=click.Path(path_type=Path), help="The folder with faults-llama3.yaml and others."
)
@click.option("--plot", type=click.Path(path_type=Path), metavar="FILE.html", help="Also draw them.")
@show.as_json
def reliability(
    quick: bool, no_twin: bool, seed: int, only: str, parts: Path | None, plot: Path | None, as_json: bool
) -> None:
    """Compare the model of failures with published figures.

    Beside each: a closed form, a Monte Carlo of one job with its 95 % interval, and a full simulation of the
    site under the brain, which is judged where there is one. FORM says whether the usual first-order formula
    holds there. Only figures whose BASIS is `predicted` say anything of the model.

    \b
    Example:
      myriad validate reliability
      myriad validate reliability --only rsc --quick --json
      myriad validate reliability --no-twin
    """
    from myriad.cli import reliability_table

    asked = reliability_table.Asked(quick, not no_twin, seed, only, parts)
    reliability_table.tell(asked, plot=plot, as_json=as_json)


def _judged(data: Path | None, recommended: bool, catalog: Catalog) -> tuple[list[Judged], list[Unmodelled]]:
    text = documents.read(data) if data else published.shipped()
    runs, failed = published.read(text, str(data or "shipped runs"), catalog)
    chosen = [run for run in runs if run.recommended or not recommended]
    return validation.judge(chosen, catalog), failed


def _as_tree(judged: Sequence[Judged], failed: Sequence[Unmodelled]) -> dict[str, object]:
    timed = [one for one in judged if one.run.measured_s]
    tables = {
        name: [row._asdict() for row in validation.errors(judged, key)]
        for name, key in validation.GROUPS.items()
    }
    return {
        "rows": validation.rows(judged, failed),
        "all": validation.summary("all", [one.error for one in timed])._asdict() if timed else None,
        "mean_of_sources": validation.mean_of_sources(judged) if timed else None,
        "errors": tables,
        "rankings": [row._asdict() for row in validation.rankings(judged)],
    }


def _tell(judged: Sequence[Judged], failed: Sequence[Unmodelled]) -> None:
    parts: tuple[tuple[str, Callable[[Judged], bool]], ...] = (
        ("rows with a full configuration", lambda one: one.run.recommended),
        ("other rows, with gaps that were filled", lambda one: not one.run.recommended),
    )
    for title, chosen in parts:
        these = [one for one in judged if chosen(one) and one.run.measured_s]
        if not these:
            continue
        click.echo(click.style(f"Step time, {title}", bold=True))
        for name, key in validation.GROUPS.items():
            if name not in ("publisher", "stack"):
                click.echo()
                _table(name, validation.errors(these, key))
        whole = validation.summary("all", [one.error for one in these])
        means = (f"{kind}s {100 * validation.mean_of(kind, these):.1f} %" for kind in ("source", "publisher"))
        mean = "mean of " + ", of ".join(means)
        within = f"{100 * whole.within_tenth:.1f} % of {whole.runs} rows within 10 %"
        click.echo(f"\n{mean}, of rows {100 * whole.mean_absolute:.1f} %, {within}\n")
    _rankings(judged)
    if not any(one.run.measured_s for one in judged):
        click.echo("no run in this table can be modelled and was timed")
    if failed:
        click.echo(f"\n{len(failed)} rows cannot be modelled")
        show.table((">ROWS", "WHY", "FOR EXAMPLE"), _reasons(failed), empty="")


def _table(name: str, found: Sequence[Errors]) -> None:
    columns = (name.upper(), ">RUNS", ">ERROR", ">BIAS", ">WITHIN 10 %")
    cells = (
        (
            row.group,
            row.runs,
            f"{100 * row.mean_absolute:.1f} %",
            f"{100 * row.bias:+.1f} %",
            f"{100 * row.within_tenth:.0f} %",
        )
        for row in found
    )
    show.table(columns, cells, empty="no runs")


def _rankings(judged: Sequence[Judged]) -> None:
    found = validation.rankings(judged)
    if not found:
        return
    click.echo(click.style("Sweeps over layouts: predicted against measured order\n", bold=True))
    cells = ((row.group, row.runs, f"{row.tau:.2f}", f"{100 * row.loss:.1f} %") for row in found)
    show.table(("SWEEP", ">LAYOUTS", ">KENDALL TAU", ">LOSS OF THE CHOSEN"), cells, empty="")
    near = sum(row.loss <= 0.03 for row in found)
    tau = sum(row.tau for row in found) / len(found)
    told = f"the layout chosen is within 3 % of the best measured one in {near} of {len(found)} sweeps"
    click.echo(f"\nmean tau {tau:.2f}; {told}")


def _reasons(failed: Sequence[Unmodelled]) -> list[tuple[int, str, str]]:
    found: dict[str, list[str]] = {}
    for one in failed:
        found.setdefault(one.reason, []).append(one.id or "a row without id")
    return [(len(ids), reason, ", ".join(ids[:3])) for reason, ids in found.items()]
