"""A serving plan as a page: the layouts that keep the promise, and speed against throughput."""

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Final

from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.ticker import ScalarFormatter

from myriad.performance.serving.plan import Point, ServePlan
from myriad.performance.serving.spread import Interval
from myriad.studies import charts, page, plan_page
from myriad.studies.page import Html

_COLOURS: Final = (
    "#1b7f5c", "#2f6fb7", "#8a6fc0", "#c98a1b", "#3a8c99", "#a8527b", "#6b7785", "#c0392b",
)  # fmt: skip


def render(plan: ServePlan, title: str, told: Mapping[str, str]) -> str:
    """A self-contained HTML page; `told` says what was asked, name by name."""
    parts = [_cards(plan)]
    if plan.pareto:
        parts.append(_front(plan.pareto))
    if plan.options:
        parts.append(_options(plan))
    if plan.refused:
        rows = [(escape(str(one.layout)), escape(one.reason)) for one in plan.refused]
        parts.append(page.section("What is left out", page.table(("Layout", "Why"), rows)))
    items = "".join(f"<li>{escape(name)}</li>" for name in plan.estimated)
    parts.append(page.section("What is estimated", f"<ul>{items}</ul>" if items else "Nothing."))
    return page.document(title, " · ".join(f"{name}: {text}" for name, text in told.items()), parts)


def _cards(plan: ServePlan) -> Html:
    best = plan.best
    if best is None:
        return page.cards([("Best layout", "none", "no layout keeps the promise")])
    speed, chips = plan.intervals["tokens_per_s_per_chip"], plan.intervals["chips"]
    cards = [
        ("Best layout", str(best.layout), f"{best.chips_per_replica} chips a replica"),
        ("Chips", f"{best.chips:,}", _within(chips) if chips.low < chips.high else "one replica"),
        ("Tokens/s a chip", f"{best.tokens_per_s_per_chip:,.0f}", _within(speed)),
        ("TTFT", f"{best.ttft_s:.3g} s", "at the promised percentile"),
        ("TPOT", f"{1000 * best.tpot_s:.3g} ms", "at the promised percentile"),
    ]
    if plan.hardware_is_a_range:
        words = page.estimated("the chip is known in ranges")
        cards[2] = ("Tokens/s a chip", f"{speed.low:,.0f} to {speed.high:,.0f}", words)
    return page.cards(cards)


def _within(interval: Interval) -> Html:
    form = "{:,.0f}" if interval.value >= 100 else "{:.3g}"
    high = form.format(interval.high) if math.isfinite(interval.high) else "never"
    return escape(f"80 %: {form.format(interval.low)} to {high}")


def _front(points: Sequence[Point]) -> Html:
    note = page.note("Each dot is a layout at a load that nothing beats in both, whatever the promise.")
    return page.section("Speed against throughput", page.figure(dots(points)) + note)


def dots(points: Sequence[Point]) -> str:
    """The front: tokens/s a chip over TPOT, a colour for each layout."""
    with rc_context(charts.STYLE):
        figure = Figure(figsize=(9.6, 4.6))
        axes = figure.add_subplot()
        axes.plot(
            [1000 * one.tpot_s for one in points], [one.tokens_per_s_per_chip for one in points],
            color=charts.GRID, linewidth=1,
        )  # fmt: skip
        for number, name in enumerate(dict.fromkeys(str(one.layout) for one in points)):
            here = [one for one in points if str(one.layout) == name]
            axes.scatter(
                [1000 * one.tpot_s for one in here], [one.tokens_per_s_per_chip for one in here],
                s=18, color=_COLOURS[number % len(_COLOURS)], linewidth=0, label=name, zorder=3,
            )  # fmt: skip
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(ScalarFormatter())
        axes.xaxis.set_minor_formatter(ScalarFormatter())
        axes.set_xlabel("TPOT, ms")
        axes.set_ylabel("tokens/s a chip")
        axes.legend(frameon=False, fontsize=8.5)
        plan_page.plain(axes)
        return charts.svg(figure, "serving-front")


def _options(plan: ServePlan) -> Html:
    rows = [
        (
            escape(str(one.layout)), f"{one.chips:,}", f"{one.replicas:,}",
            f"{one.capacity_requests_per_s:.2f}",
            f"{one.tokens_per_s_per_chip:,.1f}", f"{one.ttft_s:.3f}", f"{1000 * one.tpot_s:.1f}",
        )
        for one in plan.options
    ]  # fmt: skip
    head = ("Layout", "Chips", "Replicas", "Requests/s each", "Tokens/s a chip", "TTFT, s", "TPOT, ms")
    return page.section("Layouts that keep the promise", page.table(head, rows, numbers=range(1, 7)))
