"""A simulation as a page that stands alone: where every chip-second went, and how that came about."""

from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import Final, NamedTuple

import numpy as np

from myriad.kernel import units
from myriad.studies import charts, expectations, page, report, simulation_charts
from myriad.studies.expectations import Judged
from myriad.studies.page import Html
from myriad.studies.simulation import Result
from myriad.studies.simulation_charts import Line


class _Plot(NamedTuple):
    """A plot over time: what it is called, and which columns of the series it shows."""

    title: str
    unit: str
    columns: dict[str, str]  # column -> label
    stacked: bool = False
    #: Of the series' unit in the plot's.
    scale: float = 1.0
    #: Whether the axis begins at zero.
    from_zero: bool = True


_PLOTS: Final = (
    _Plot(
        "Nodes by state",
        "nodes",
        {
            "ready_nodes": "ready",
            "spare_nodes": "spare",
            "burn_in_nodes": "burn-in",
            "draining_nodes": "draining",
            "drained_nodes": "drained",
            "suspect_nodes": "suspect",
            "repairing_nodes": "repairing",
        },
        stacked=True,
    ),
    _Plot("Chips in use", "chips", {"used_chips": "held", "productive_chips": "productive"}),
    _Plot("Queue", "jobs", {"waiting_jobs": "waiting", "running_gangs": "running"}),
    _Plot("Power", "MW", {"power_w": "site", "it_power_w": "of which IT", "power_cap_w": "cap"}, scale=1e-6),
    _Plot("PUE", "site / IT power", {"pue": "PUE"}, from_zero=False),
)
#: Colours of the states that nodes are in.
_STATES: Final = {
    "ready_nodes": charts.COLOURS["productive"],
    "spare_nodes": charts.COLOURS["spare"],
    "burn_in_nodes": charts.COLOURS["burn_in"],
    "draining_nodes": charts.COLOURS["drained"],
    "drained_nodes": charts.COLOURS["idle_quota"],
    "suspect_nodes": charts.COLOURS["restart"],
    "repairing_nodes": charts.COLOURS["down"],
}


def render(result: Result) -> Html:
    """The page."""
    outcome = result.outcome
    makers: tuple[Callable[[Result], Html], ...] = (
        _cards, _expectations, _where_time_went, _over_time, _waits, _interruptions, _money,
    )  # fmt: skip
    chips, nodes = outcome.get("chips", 0), outcome.get("nodes", 0)
    subtitle = (
        f"{chips:,} chips in {nodes:,} nodes · {result.days:g} days · seed {result.seed} · "
        f"scenario {result.scenario_hash} · digest {result.digest}"
    )
    return page.document(f"Simulation of {result.name}", subtitle, [make(result) for make in makers])


def _cards(result: Result) -> Html:
    found = result.figures
    cards = [
        (title, f"{100 * found[name]:.1f} %", Html(words))
        for name, title, words in (
            ("goodput", "Goodput", "productive + serving, of capacity × time"),
            ("utilisation", "Utilisation", "chips held, of capacity × time"),
            ("availability", "Availability", "chips in service, of capacity × time"),
            ("mfu", "MFU", "model FLOPs, of peak × time held"),
        )
        if name in found
    ]
    cards += [
        (title, expectations.shown(name, found[name]), Html(words))
        for name, title, words in (
            ("mttf_s", "MTTF", "of one node"),
            ("mttr_s", "MTTR", "until it takes work again"),
        )
        if name in found
    ]
    cards.append(("Jobs ended", f"{int(found.get('jobs', 0)):,}", Html("by any outcome")))
    return page.cards(cards)


def _expectations(result: Result) -> Html:
    if not result.expectations:
        return Html("")
    rows = [_expectation(one) for one in result.expectations]
    return page.section(
        "What the scenario expects", page.table(("figure", "expected", "found", ""), rows, numbers=(1, 2))
    )


def _expectation(one: Judged) -> tuple[Html, ...]:
    mark = page.badge("held", "good") if one.held else page.badge("broken", "bad")
    return escape(one.figure), escape(one.expected), expectations.shown(one.figure, one.found), mark


def _where_time_went(result: Result) -> Html:
    buckets: Mapping[str, int] = result.outcome.get("buckets") or {}
    capacity = result.outcome.get("capacity_chip_ns", 0)
    if not capacity:
        return Html("")
    rows = [
        (
            page.swatch(charts.COLOURS.get(name, charts.MUTED)) + escape(name.replace("_", " ")),
            f"{chip_ns / units.HOUR:,.1f}",
            f"{100 * chip_ns / capacity:.2f} %",
            escape(report.MEANINGS.get(name, "")),
        )
        for name, chip_ns in buckets.items()
    ]
    total = sum(buckets.values())
    difference = "equal to the ns" if total == capacity else f"{capacity - total:+,} chip-ns apart"
    foot = [
        ("sum of buckets", f"{total / units.HOUR:,.1f}", "100.00 %", ""),
        ("capacity × time", f"{capacity / units.HOUR:,.1f}", "", f"integrated apart; {difference}"),
    ]
    body = page.figure(charts.waterfall(buckets, capacity))
    body += page.table(("bucket", "chip-hours", "share", "meaning"), rows, foot, numbers=(1, 2))
    return page.section("Where every chip-second went", body)


def _over_time(result: Result) -> Html:
    series: Mapping[str, Sequence[float]] = result.outcome.get("series") or {}
    if not series.get("at"):
        return Html("")
    at = simulation_charts.days([int(one) for one in series["at"]])
    return Html("").join(_plot(plot, at, series) for plot in _PLOTS)


def _plot(plot: _Plot, at: np.ndarray, series: Mapping[str, Sequence[float]]) -> Html:
    lines = [
        Line(label, plot.scale * np.asarray(series[name], dtype=np.float64), _STATES.get(name, ""))
        for name, label in plot.columns.items()
        if any(series.get(name) or ())
    ]
    if not lines:
        return Html("")
    salt = f"simulation-{plot.title}"
    if plot.stacked:
        drawn = simulation_charts.areas(at, lines, plot.unit, salt)
    else:
        drawn = simulation_charts.curves(at, lines, plot.unit, salt, from_zero=plot.from_zero)
    return page.section(plot.title, page.figure(drawn))


def _waits(result: Result) -> Html:
    rows: Mapping[str, Mapping[str, float]] = result.outcome.get("by_size") or {}
    parts = []
    for kind, title in (("wait", "Waits by size of job"), ("turnaround", "From submission to the end")):
        every = {f"{size} chips".replace("all chips", "all"): row for size, row in rows.items()}
        found = {size: row for size, given in every.items() if (row := _quantiles(given, kind))}
        if any(value for row in found.values() for value in row.values()):
            plot = simulation_charts.spreads(found, "minutes", f"simulation-{kind}")
            parts.append(page.section(title, page.figure(plot)))
    return Html("").join(parts)


def _quantiles(row: Mapping[str, float], kind: str) -> dict[str, float]:
    """`p50`, `p90`, ... in minutes, of what is told in seconds."""
    start = f"{kind}_p"
    return {
        name[len(kind) + 1 : -len("_s")]: value / 60 for name, value in row.items() if name.startswith(start)
    }


def _interruptions(result: Result) -> Html:
    parts = []
    for key, title in (("interruptions", "Interruptions by cause"), ("faults", "Faults by cause")):
        counts = {name: count for name, count in (result.outcome.get(key) or {}).items() if count}
        if counts:
            plot = simulation_charts.bars(counts, key, f"simulation-{key}")
            parts.append(page.section(f"{title}: {sum(counts.values()):,}", page.figure(plot)))
    return Html("").join(parts)


def _money(result: Result) -> Html:
    outcome = result.outcome
    rows = [
        (title, f"{outcome[name]:,.2f}" if isinstance(outcome[name], float) else escape(str(outcome[name])))
        for name, title in (
            ("cost", "cost"),
            ("cost_per_useful_chip_hour", "cost of a useful chip-hour"),
        )
        if outcome.get(name)
    ]
    if energy := outcome.get("energy_j"):
        rows.append(("energy", f"{energy / 3.6e9:,.2f} MWh"))
    return page.section("Money and energy", page.table(("", ""), rows, numbers=(1,))) if rows else Html("")
