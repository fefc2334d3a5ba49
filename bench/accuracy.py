"""Error of predicted step times on published training runs, against a constant efficiency with a bubble.

Ours: `performance.training` with the catalogue's parameters (`python -m tools.calibrate_training --check`
leaves rows out). Peer, in the same run: hardware FLOPs over peak times one efficiency a chip and stack, the
median of that chip and stack, and the bubble of the pipeline. Published peers, each on rows of its own
choice: Calculon 3.65 % on 8 rows, vTrain 14.7 % on 116 multi-node rows and 8.4 % on one node, Charon under
5.35 %; on vTrain's multi-node points Calculon 12.9 %, constant efficiency 17.9 %, zhebrak's simulator 22.7
%, llm-analysis 24.4 %.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from rich.console import Console
from rich.table import Table

from bench import report
from myriad.catalog.shelf import Catalog
from myriad.performance.layouts import Recompute
from myriad.studies import published, validation
from myriad.studies.published import Run
from myriad.studies.validation import Judged

#: A stack that knows nothing of anybody's framework.
GENERIC = "reference"
BAR = {"mean of sources": 6.0, "within 10 %": 90.0, "worst chip": 10.0, "vTrain multi-node": 7.0}


def constant(runs: Sequence[Run], catalog: Catalog) -> np.ndarray:
    """Seconds by one efficiency for each chip and stack, shape (n,)."""
    work, machine, layouts = validation.columns(runs, catalog)
    passes = np.where(layouts.recompute == Recompute.FULL, 4 / 3, 1.0)
    batches = np.maximum(work.global_batch / (layouts.dp * layouts.micro_batch), 1.0)
    bubble = 1 + (layouts.pp - 1) / (layouts.vpp * batches)
    ideal = work.model_flops * passes * bubble / (layouts.chips * machine.flops)
    measured = np.array([run.measured_s for run in runs], dtype=float)
    groups = np.array([f"{run.chip} {run.stack}" for run in runs])
    found = np.zeros(len(runs))
    for group in np.unique(groups):
        rows = groups == group
        found[rows] = ideal[rows] * np.median(measured[rows] / ideal[rows])
    return found


def peers(judged: Sequence[Judged], catalog: Catalog) -> list[Judged]:
    """The same runs as the peer sees them."""
    times = constant([one.run for one in judged], catalog)
    return [one._replace(predicted_s=float(time)) for one, time in zip(judged, times, strict=True)]


def main() -> None:
    """Print the tables and the last line."""
    catalog = Catalog.shipped()
    runs, _ = published.read(published.shipped(), "shipped runs", catalog)
    judged = [one for one in validation.judge(runs, catalog) if one.run.measured_s]
    full = [one for one in judged if one.run.recommended]
    peer = peers(full, catalog)
    for name, key in validation.GROUPS.items():
        show(f"step time by {name}, rows with a full configuration", full, peer, key)
    gaps = [one for one in judged if not one.run.recommended]
    show("step time by source, other rows", gaps, peers(gaps, catalog), validation.GROUPS["source"])
    mean, theirs = validation.mean_of_sources(full), validation.mean_of_sources(peer)
    whole = validation.summary("all", [one.error for one in full])
    worst = max(row.mean_absolute for row in validation.errors(full, validation.GROUPS["chip"]))
    vtrain = validation.summary("vTrain", [one.error for one in full if "vTrain" in one.run.source])
    figures = {
        "mean of sources": 100 * mean,
        "within 10 %": 100 * whole.within_tenth,
        "worst chip": 100 * worst,
        "vTrain multi-node": 100 * vtrain.mean_absolute,
    }
    generic = [replace(one.run, stack=GENERIC) for one in full]
    print(f"mean of publishers {told('publisher', full)}, peer {told('publisher', peer)}")
    print(f"mean of rows       {100 * whole.mean_absolute:5.1f} %")
    print(f"every run under the stack {GENERIC!r}: {told('source', validation.judge(generic, catalog))}")
    for name, figure in figures.items():
        met = figure >= BAR[name] if name.startswith("within") else figure <= BAR[name]
        print(f"{name:18} {figure:5.1f} %  bar {BAR[name]:.0f} %  {'met' if met else 'MISSED'}")
    report.finish(
        "accuracy",
        100 * mean,
        "% mean absolute error of step time, mean of sources",
        "constant efficiency and bubble, fitted to each chip and stack (same rows)",
        100 * theirs,
        better="lower",
        rows=len(full),
        **{
            name.replace(" ", "_").replace("%", "percent"): round(value, 2) for name, value in figures.items()
        },
    )


def told(kind: str, judged: Sequence[Judged]) -> str:
    """Mean over the groups of a kind, in percent."""
    return f"{100 * validation.mean_of(kind, judged):.1f} %"


def show(title: str, ours: Sequence[Judged], theirs: Sequence[Judged], key: validation.Key) -> None:
    """One table of errors, ours beside the peer's."""
    table = Table("group", "runs", "ours", "bias", "within 10 %", "peer", title=title)
    other = {row.group: row for row in validation.errors(theirs, key)}
    for row in validation.errors(ours, key):
        table.add_row(
            row.group,
            str(row.runs),
            f"{100 * row.mean_absolute:.1f} %",
            f"{100 * row.bias:+.1f} %",
            f"{100 * row.within_tenth:.0f} %",
            f"{100 * other[row.group].mean_absolute:.1f} %",
        )
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
