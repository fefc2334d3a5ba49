"""A simulation as a page that stands alone: where every chip-second went, and how that came about."""

from collections.abc import Callable, Mapping
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
        "What the chips do",
        "chips",
        {
            "useful": "useful",
            "overhead": "held, not useful",
            "idle": "idle",
            "spare": "spare",
            "burn_in": "burn-in",
            "drained": "drained",
            "down": "down",
        },
        stacked=True,
    ),
    _Plot(
        "Out of service", "chips", {"burn_in": "burn-in", "drained": "drained", "down": "down"}, stacked=True
    ),
    _Plot("Queue", "jobs", {"waiting": "waiting", "running": "running"}),
    _Plot("Replicas", "replicas", {"replicas": "of all services"}),
    _Plot("Power", "MW", {"site_w": "at the meter"}, scale=1e-6),
    _Plot("Clocks under the site's cap", "of full speed", {"throttle": "clocks"}, from_zero=False),
)
#: Colours of what chips do.
_COLOURS: Final = {
    "useful": charts.COLOURS["productive"],
    "overhead": charts.COLOURS["restart"],
    "idle": charts.COLOURS["idle_no_demand"],
    **{name: charts.COLOURS[name] for name in ("spare", "burn_in", "drained", "down")},
}


def render(result: Result) -> Html:
    """The page."""
    outcome = result.outcome
    makers: tuple[Callable[[Result], Html], ...] = (
        _cards, _expectations, _where_time_went, _over_time, _waits, _interruptions, _services, _money,
    )  # fmt: skip
    subtitle = (
        f"{outcome.chips:,} chips in {outcome.nodes:,} nodes · {result.days:g} days · seed {result.seed} · "
        f"scenario {result.scenario_hash} · digest {result.digest}"
    )
    return page.document(f"Simulation of {result.name}", subtitle, [make(result) for make in makers])


def _cards(result: Result) -> Html:
    found = result.figures
    cards = [
        (title, f"{100 * found[name]:.1f} %", Html(words))
        for name, title, words in (
            ("goodput", "Goodput", "productive + serving busy, of capacity × time"),
            ("utilisation", "Utilisation", "chips held, of capacity × time"),
            ("availability", "Availability", "chips in service, of capacity × time"),
            ("mfu", "MFU", "model FLOPs, of peak × time held"),
            ("ettr", "ETTR", "productive, of gangs × time since placed"),
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
    cards.append(("Jobs ended", f"{sum(result.outcome.jobs.values()):,}", Html("by any outcome")))
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
    buckets, capacity = result.outcome.buckets, result.outcome.capacity_chip_ns
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
    series = {name: np.asarray(column) for name, column in result.outcome.series.items()}
    if len(series["at_s"]) < 2:
        return Html("")
    series["overhead"] = series["held"] - series["useful"]
    at = series["at_s"] / units.seconds(units.DAY)
    return Html("").join(_plot(plot, at, series) for plot in _PLOTS)


def _plot(plot: _Plot, at: np.ndarray, series: Mapping[str, np.ndarray]) -> Html:
    lines = [
        Line(label, plot.scale * series[name], _COLOURS.get(name, ""))
        for name, label in plot.columns.items()
        if np.ptp(series[name]) or (plot.from_zero and series[name][0])
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
    rows = result.outcome.by_size
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
    outcome = result.outcome
    parts = []
    sizes = {f"{size} chips": count for size, count in outcome.interruptions.items()}
    for title, unit, counts in (
        ("Interruptions by size of job", "interruptions", sizes),
        ("Faults by cause", "faults", outcome.faults),
        ("Gangs that they stopped", "broke", outcome.broke),
        ("Ends of gangs by cause", "gangs", outcome.stops),
    ):
        if total := sum(counts.values()):
            plot = simulation_charts.bars(counts, unit, f"simulation-{title}")
            parts.append(page.section(f"{title}: {total:,}", page.figure(plot)))
    return Html("").join(parts)


def _services(result: Result) -> Html:
    found = result.outcome.services
    if not found:
        return Html("")
    head = ("service", "requests", "refused", "prompt tokens", "completion tokens", "late")
    rows = [
        (
            escape(name),
            *(f"{count:,}" for count in (one.requests, one.refused, one.tokens_in, one.tokens_out)),
            f"{100 * one.late:.2f} %",
        )
        for name, one in found.items()
    ]
    told = page.note("Late: the first token came later than promised.")
    return page.section("Services", page.table(head, rows, numbers=range(1, len(head))) + told)


def _money(result: Result) -> Html:
    outcome = result.outcome
    rows = []
    if outcome.energy_j:
        rows += [
            ("energy", f"{outcome.energy_j / 3.6e9:,.1f} MWh"),
            ("largest power", f"{outcome.peak_w / 1e6:,.2f} MW"),
            ("mean PUE", f"{outcome.mean_pue:.3f}"),
            ("throttled", units.show_span(round(outcome.throttled_s * units.SECOND))),
        ]
    rows += [(escape(name.replace("_", " ")), f"{amount:,.0f}") for name, amount in outcome.costs.items()]
    if cost := outcome.cost_per_useful_chip_hour:
        rows.append(("cost of a useful chip-hour", f"{cost:,.2f}"))
    if not rows:
        return Html("")
    told = page.note("Estimated: vendors tell no prices, and the power of a chip follows what it does.")
    return page.section("Power and money", page.table(("", ""), rows, numbers=(1,)) + told)
