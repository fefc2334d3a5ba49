"""Two plots of one queue: waits by size class, and chips in use over time, for each scheduler."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib import rc_context
from matplotlib.figure import Figure

from bench.scheduling.measure import Figures, Level
from myriad.kernel.units import HOUR
from myriad.studies.charts import STYLE

COLOURS = ("#1b7f5c", "#8793a1", "#2f6fb7", "#c98a1b", "#8a6fc0")


def waits(path: Path, title: str, found: Mapping[str, Figures]) -> None:
    """Mean (bar) and 99th percentile (mark) of the wait by size class, on a logarithmic scale."""
    classes = [name for name in next(iter(found.values())).waits if name != "all"]
    width = 0.8 / len(found)
    with rc_context(STYLE):
        figure = Figure(figsize=(9.6, 4.2), layout="constrained")
        axes = figure.add_subplot()
        for k, (name, row) in enumerate(found.items()):
            at = [n + (k - (len(found) - 1) / 2) * width for n in range(len(classes))]
            axes.bar(at, [row.waits[one].mean for one in classes], width * 0.9, color=COLOURS[k], label=name)
            axes.plot(at, [row.waits[one].p99 for one in classes], "_", color=COLOURS[k], markersize=14)
        axes.set_yscale("symlog", linthresh=0.1)
        axes.set_xticks(range(len(classes)), classes)
        axes.set_ylabel("wait in hours: mean (bar), p99 (mark)")
        axes.set_title(title, loc="left")
        figure.legend(frameon=False, loc="outside upper right", ncols=len(found))
        figure.savefig(path, dpi=120)


def utilisation(
    path: Path,
    title: str,
    chips: int,
    found: Mapping[str, Sequence[Level]],
    window: tuple[int, int],
) -> None:
    """Chips held over time, as a share; the dashed lines are where figures begin and end to count."""
    with rc_context(STYLE):
        figure = Figure(figsize=(9.6, 1.4 * len(found) + 0.9), layout="constrained")
        rows = figure.subplots(len(found), 1, sharex=True, sharey=True, squeeze=False)[:, 0]
        for k, (axes, (name, steps)) in enumerate(zip(rows, found.items(), strict=True)):
            hours = [step.at / HOUR for step in steps]
            share = [100 * step.held / chips for step in steps]
            axes.fill_between(hours, share, step="post", color=COLOURS[k], alpha=0.75, linewidth=0)
            axes.set_title(name, loc="left", fontsize=9)
            axes.set_ylim(0, 100)
            for edge in window:
                axes.axvline(edge / HOUR, color="#6b7785", linewidth=0.8, linestyle="--")
        rows[-1].set_xlabel("hours")
        figure.supylabel("% of chips held", fontsize=9)
        figure.suptitle(title, x=0.01, ha="left", fontsize=10)
        figure.savefig(path, dpi=120)
