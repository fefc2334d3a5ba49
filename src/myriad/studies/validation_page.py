"""The errors of the performance model as a page: every run as a dot, every source as a bar."""

from collections.abc import Sequence
from html import escape

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure

from myriad.studies import charts, page, validation
from myriad.studies.validation import Errors, Judged

_MOST_SOURCES = 40
_SUBTITLE = (
    "parameters of chips, stacks and fabrics, fitted once on the shipped runs; none of a row or a source"
)


def render(judged: Sequence[Judged]) -> str:
    """A self-contained HTML page. Runs that were not timed are left out."""
    timed = [one for one in judged if one.run.measured_s]
    if not timed:
        return page.document("Performance model on published runs", "no run in this table was timed", [])
    chosen = [one for one in timed if one.run.recommended] or timed
    whole = validation.summary("all", [one.error for one in chosen])
    cards = [
        (
            "Mean of sources",
            f"{100 * validation.mean_of_sources(chosen):.1f} %",
            "mean absolute error of step time",
        ),
        (
            "Within 10 %",
            f"{100 * whole.within_tenth:.0f} %",
            f"of {whole.runs} runs with a full configuration",
        ),
        ("Runs", f"{len(timed):,}", f"{len(timed) - len(chosen):,} of them with gaps that were filled"),
    ]
    sources = validation.errors(timed, validation.GROUPS["source"])
    rows = [
        (
            escape(row.group),
            f"{row.runs}",
            f"{100 * row.mean_absolute:.1f} %",
            f"{100 * row.bias:+.1f} %",
            f"{100 * row.within_tenth:.0f} %",
        )
        for row in sources
    ]
    table = page.table(("Source", "Runs", "Error", "Bias", "Within 10 %"), rows, numbers=(1, 2, 3, 4))
    parts = (
        page.cards(cards),
        page.section("Predicted against measured step time", page.figure(dots(timed))),
        page.section("Error by source", page.figure(bars(sources)) + table),
    )
    return page.document(
        "Performance model on published runs",
        _SUBTITLE,
        parts,
    )


def dots(judged: Sequence[Judged]) -> str:
    """Every run: measured against predicted seconds, both logarithmic, with a band of 10 %."""
    measured = np.array([one.run.measured_s or 1.0 for one in judged])
    predicted = np.array([one.predicted_s for one in judged])
    full = np.array([one.run.recommended for one in judged])
    with rc_context(charts.STYLE):
        figure = Figure(figsize=(9.6, 6.4))
        axes = figure.add_subplot()
        ends = np.array([min(measured.min(), predicted.min()), max(measured.max(), predicted.max())])
        axes.fill_between(ends, 0.9 * ends, 1.1 * ends, color="#d6e6f4", linewidth=0)
        axes.plot(ends, ends, color=charts.MUTED, linewidth=0.8)
        for these, colour, label in (
            (~full, "#c98a1b", "with gaps that were filled"),
            (full, "#1b7f5c", "full configuration"),
        ):
            axes.scatter(
                measured[these], predicted[these], s=9, color=colour, alpha=0.6, label=label, linewidth=0
            )
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xlabel("measured seconds a step")
        axes.set_ylabel("predicted")
        axes.legend(frameon=False)
        return charts.svg(figure, "validation-dots")


def bars(sources: Sequence[Errors]) -> str:
    """Mean absolute error of each source, the largest sources first."""
    shown = sorted(sources, key=lambda row: (-row.runs, row.group))[:_MOST_SOURCES]
    with rc_context(charts.STYLE):
        figure = Figure(figsize=(9.6, 0.9 + 0.24 * len(shown)))
        axes = figure.add_subplot()
        for row, one in enumerate(shown):
            good = one.mean_absolute <= 0.06
            axes.barh(row, 100 * one.mean_absolute, color="#1b7f5c" if good else "#c98a1b", height=0.62)
        axes.set_yticks(range(len(shown)), [f"{one.group[:60]} ({one.runs})" for one in shown])
        axes.axvline(6, color=charts.MUTED, linewidth=0.8, linestyle=":")
        axes.set_ylim(len(shown) - 0.5, -0.5)
        axes.set_xlabel("mean absolute error of step time, %; dotted: 6 %, amber above it; runs in brackets")
        return charts.svg(figure, "validation-bars")
