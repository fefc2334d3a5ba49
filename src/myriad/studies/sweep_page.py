"""A sweep as a page: each figure with its interval by variation, and the differences seed by seed."""

from collections.abc import Mapping, Sequence
from html import escape

from myriad.studies import intervals, page, simulation_charts
from myriad.studies.intervals import Interval
from myriad.studies.page import Html
from myriad.studies.sweeps import Sweep


def render(sweep: Sweep, shown: Sequence[str]) -> Html:
    """A page that stands alone. `shown` are the figures to plot; the table at its end has all."""
    parts = [_figure(sweep, name) for name in shown if name in sweep.rows[0].figures]
    parts.append(page.section("Every figure", _every(sweep)))
    runs = f"{len(sweep.rows)} variations × {len(sweep.seeds)} seeds"
    subtitle = f"{runs} · {sweep.days:g} days each · scenario {sweep.scenario_hash}"
    return page.document(f"Sweep of {sweep.name}", subtitle, parts)


def _figure(sweep: Sweep, name: str) -> Html:
    found = {row.variation: row.figures[name] for row in sweep.rows if name in row.figures}
    points = {variation: (one.mean, one.half or 0.0) for variation, one in found.items()}
    plot = page.figure(simulation_charts.whiskers(points, name, f"sweep-{name}"))
    first = sweep.rows[0].variation
    head = ("variation", name, f"less that of {first}, seed by seed")
    rows = [
        (
            escape(row.variation),
            intervals.shown(row.figures.get(name)),
            _difference(row.against_first.get(name), k),
        )
        for k, row in enumerate(sweep.rows)
    ]
    told = page.note(f"Mean and 95 % confidence interval of {len(sweep.seeds)} seeds (Student's t).")
    return page.section(name, plot + page.table(head, rows, numbers=(1, 2)) + told)


def _difference(found: Interval | None, row: int) -> Html:
    """Empty for the first variation itself; a badge where zero is outside of the interval."""
    if found is None or not row:
        return Html("")
    told = escape(intervals.shown(found, "+"))
    if found.half is not None and not found.low <= 0 <= found.high:
        told += " " + page.badge("differs", "good")
    return told


def _every(sweep: Sweep) -> Html:
    names: Mapping[str, None] = dict.fromkeys(name for row in sweep.rows for name in row.figures)
    head = ("figure", *(row.variation for row in sweep.rows))
    rows = [(escape(name), *(intervals.shown(row.figures.get(name)) for row in sweep.rows)) for name in names]
    return page.table(head, rows, numbers=range(1, len(head)))
