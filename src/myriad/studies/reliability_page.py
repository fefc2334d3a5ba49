"""Published figures of reliability beside ours as a page: ratios, and where closed forms hold."""

from collections.abc import Sequence
from html import escape
from typing import Final

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure

from myriad.studies import charts, page
from myriad.studies.reliability import Row
from myriad.studies.reliability_models import Agreement

_COLOURS: Final = {"predicted": "#1b7f5c", "shaped": "#2f6fb7", "calibrated": "#c3cad2"}
_SUBTITLE: Final = (
    "calibrated: a constant was fitted to it; shaped: a choice was made knowing it; predicted: neither"
)


def render(rows: Sequence[Row], forms: Sequence[Agreement]) -> str:
    """A self-contained HTML page."""
    predicted = [row for row in rows if row.figure.basis == "predicted"]
    cards = [
        ("Within tolerance", f"{_met(rows)} of {len(rows)}", "published figures"),
        (
            "Of those predicted",
            f"{_met(predicted)} of {len(predicted)}",
            "nothing of ours was chosen to meet them",
        ),
        ("Twin", f"{sum(row.twin is not None for row in rows)}", "figures from full simulations"),
    ]
    head = (
        "Figure",
        "Published",
        "Closed form",
        "Monte Carlo",
        "Twin",
        "Within",
        "Verdict",
        "Basis",
        "Source",
    )
    body = page.figure(ratios(rows)) + page.legend(list(_COLOURS.items()))
    parts = [
        page.cards(cards),
        page.section("Ours over published", body),
        page.section("Every figure", page.table(head, map(_cells, rows), numbers=(1, 2, 3, 4))),
    ]
    if forms:
        words = "dotted: the usual first-order formula; line: Daly's exact form; dots: Monte Carlo"
        parts.append(
            page.section("Where the closed form holds", page.figure(curves(forms)) + page.note(words))
        )
    return page.document("Reliability against published figures", _SUBTITLE, parts)


def _met(rows: Sequence[Row]) -> int:
    return sum(row.verdict == "met" for row in rows)


def _cells(row: Row) -> tuple[str, ...]:
    figure, ours = row.figure, row.ours
    return (
        escape(figure.what) + page.small(figure.note),
        f"{figure.published:g} {escape(figure.unit)}".strip(),
        *("" if value is None else f"{value:.4g}" for value in (ours.closed, ours.monte_carlo, row.twin)),
        escape(figure.tolerance),
        page.badge(row.verdict, "good" if row.verdict == "met" else "bad"),
        figure.basis,
        escape(f"{figure.source} ({figure.mark})"),
    )


def ratios(rows: Sequence[Row]) -> str:
    """Each figure as a dot at ours over published, with the 95 % interval of its Monte Carlo."""
    known = [(row, row.ratio) for row in rows if row.figure.kind != "causes"]
    shown = [(row, ratio) for row, ratio in known if ratio is not None]
    with rc_context(charts.STYLE):
        figure = Figure(figsize=(9.6, 0.9 + 0.24 * len(shown)))
        axes = figure.add_subplot()
        axes.axvline(1.0, color=charts.MUTED, linewidth=0.8)
        for place, (row, ratio) in enumerate(shown):
            colour, published = _COLOURS[row.figure.basis], row.figure.published
            if row.twin is None and row.ours.low is not None and row.ours.high is not None:
                ends = (row.ours.low / published, row.ours.high / published)
                axes.plot(ends, (place, place), color=colour, linewidth=2.0, alpha=0.6)
            axes.scatter([ratio], [place], s=18, color=colour, zorder=3, linewidth=0)
        labels = [
            row.figure.what + (" (at least)" if row.figure.tolerance == "at least" else "")
            for row, _ in shown
        ]
        axes.set_yticks(range(len(shown)), labels)
        axes.set_ylim(len(shown) - 0.5, -0.5)
        axes.set_xlabel("ours over published")
        return charts.svg(figure, "reliability-ratios")


def curves(forms: Sequence[Agreement]) -> str:
    """Effective time by size, at each interval: the first order, the exact form and the Monte Carlo."""
    with rc_context(charts.STYLE):
        figure = Figure(figsize=(9.6, 4.2))
        axes = figure.add_subplot()
        groups = dict.fromkeys((one.interval_s, one.restart_s) for one in forms)
        for colour, group in zip(("#c0392b", "#1b7f5c"), groups, strict=False):
            these = [one for one in forms if (one.interval_s, one.restart_s) == group]
            chips = np.array([one.chips for one in these])
            label = f"checkpoint {group[0] / 60:.0f} min, restart {group[1] / 60:.0f} min"
            axes.plot(chips, [one.exact for one in these], color=colour, linewidth=1.4, label=label)
            axes.plot(chips, [one.first_order for one in these], color=colour, linewidth=1.0, linestyle=":")
            axes.scatter(chips, [one.monte_carlo for one in these], s=14, color=colour, linewidth=0, zorder=3)
        axes.set_xscale("log")
        axes.set_ylim(0, 1.02)
        axes.set_xlabel("chips of one job, at 6.5 failures for 1,000 node-days")
        axes.set_ylabel("effective time")
        axes.legend(frameon=False)
        return charts.svg(figure, "reliability-forms")
