"""A training plan as a page: where the step time and the memory go, and the front of layouts."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Final

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from myriad.performance.answers import WORDS, Interval, Option, Plan, Point, Refused
from myriad.studies import charts, page
from myriad.studies.page import Html

GIB: Final = 2**30
#: Causes of time and kinds of memory, in the order of the bars: what is useful first.
_CAUSES: Final = {
    "gemm": "#1b7f5c", "attention": "#4fa583", "memory_bound": "#8fc7ae", "recompute": "#b9a55a",
    "host": "#a9b4c0", "tp": "#2f6fb7", "cp": "#5d93cd", "ep": "#8fb6de", "pp": "#8a6fc0",
    "dp": "#b39fd8", "bubble": "#e0823d", "optimizer": "#6b7785", "straggle": "#c0392b",
}  # fmt: skip
_KINDS: Final = {
    "weights": "#2f6fb7", "gradients": "#8a6fc0", "optimizer": "#b39fd8", "activations": "#1b7f5c",
    "logits": "#8fc7ae", "buffers": "#a9b4c0",
}  # fmt: skip
_ENERGY: Final = ((1e6, "GWh"), (1e3, "MWh"), (1.0, "kWh"))
_CHIPS: Final = ("#1b7f5c", "#2f6fb7", "#8a6fc0", "#c98a1b", "#3a8c99", "#a8527b", "#6b7785", "#c0392b")


def render(plan: Plan, currency: str = "") -> str:
    """A self-contained HTML page; `currency` is that of costs."""
    asked = plan.question
    parts = [_cards(plan, currency)]
    if plan.best and not plan.best.fits:
        parts.insert(0, page.note("DOES NOT FIT: the layout fills more memory than a chip has."))
    if plan.options:
        parts += [_time(plan.options), _memory(plan)]
    if plan.front:
        parts.append(_front(plan.front))
    if plan.refused:
        parts.append(_refused(plan))
    parts.append(_inputs(plan))
    title = f"{asked.model} on {asked.chips:,} {asked.chip}"
    batch = f"{asked.global_batch:,} sequences of {asked.sequence:,} tokens a step"
    return page.document(title, f"{batch} · {asked.fabric} · {asked.stack} · {asked.precision}", parts)


def _cards(plan: Plan, currency: str) -> Html:
    best = plan.best
    if best is None:
        return page.cards([("Best layout", "none fits", escape(f"{plan.considered:,} were considered"))])
    fits = "of" if best.fits else "DOES NOT FIT:"
    against = "" if plan.question.precision == "bf16" else "of the bf16 peak; "
    cards = [
        ("Step time", f"{best.step_s.value:.2f} s", _within(best.step_s)),
        ("Tokens/s", f"{best.tokens_per_s.value:,.0f}", _within(best.tokens_per_s)),
        ("MFU", f"{100 * best.mfu.value:.1f} %", against + _within(best.mfu.times(100))),
        (
            "Memory",
            f"{best.peak_bytes / GIB:.0f} GiB",
            f"{fits} {plan.memory_bytes / GIB:.0f} GiB that may be filled",
        ),
        ("Layouts", f"{plan.considered:,}", f"{plan.legal:,} legal, {plan.fitting:,} fit"),
    ]
    if best.run is not None:
        days = best.run.calendar_days or best.run.days
        cards.append(("Days", f"{days.value:,.1f}", _within(days)))
        scale, unit = next(one for one in _ENERGY if best.run.energy_kwh.value >= one[0] or one[0] == 1)
        energy = best.run.energy_kwh.times(1 / scale)
        cards.append(("Energy", f"{energy.value:,.3g} {unit}", "chips alone; " + _within(energy)))
        if best.run.cost is not None:
            name = f"Cost, {currency}" if currency else "Cost"
            cards.append((name, f"{best.run.cost.value:,.0f}", _within(best.run.cost)))
    if plan.uncertain:
        # an answer that rests on guesses about the chip begins with its range
        cards[0] = (
            "Step time",
            f"{best.step_s.low:.2g} to {best.step_s.high:.2g} s",
            page.estimated("the chip is known in ranges"),
        )
    return page.cards(cards)


def _within(interval: Interval) -> Html:
    form = "{:,.0f}" if interval.value >= 1000 else "{:.3g}"
    return escape(f"80 %: {form.format(interval.low)} to {form.format(interval.high)}")


def _time(options: Sequence[Option]) -> Html:
    names = [name for name in _CAUSES if any(one.seconds[name] > 0 for one in options)]
    rows = [
        (
            escape(str(one.layout)),
            f"{one.step_s.value:.3f}",
            f"{100 * one.mfu.value:.1f} %",
            f"{one.peak_bytes / GIB:.1f}",
        )
        for one in options
    ]
    body = page.legend([(WORDS.get(name, name), _CAUSES[name]) for name in names])
    body += page.figure(bars([one.seconds for one in options], _CAUSES, 1.0, "seconds a step", "plan-time"))
    return page.section(
        "Where the step time goes",
        body + page.table(("Layout", "Step, s", "MFU", "GiB"), rows, numbers=(1, 2, 3)),
    )


def _memory(plan: Plan) -> Html:
    body = page.legend(list(_KINDS.items()))
    parts = [one.memory for one in plan.options]
    body += page.figure(
        bars(parts, _KINDS, GIB, "GiB of the fullest chip", "plan-memory", plan.memory_bytes / GIB)
    )
    return page.section("Where the memory goes", body)


def bars(
    parts: Sequence[Mapping[str, float]],
    colours: Mapping[str, str],
    scale: float,
    label: str,
    salt: str,
    limit: float = 0.0,
) -> str:
    """One bar for each layout, stacked by part; a line at `limit` if there is one."""
    with rc_context(charts.STYLE):
        figure = Figure(figsize=(9.6, 0.8 + 0.4 * len(parts)))
        axes = figure.add_subplot()
        left = np.zeros(len(parts))
        for name, colour in colours.items():
            widths = np.array([one.get(name, 0.0) / scale for one in parts])
            axes.barh(range(len(parts)), widths, left=left, color=colour, height=0.62)
            left = left + widths
        if limit:
            axes.axvline(limit, color=charts.INK, linewidth=1, linestyle=":")
            said = f" {limit:.0f} {label.split(maxsplit=1)[0]} may be filled"
            axes.text(limit, -0.5, said, color=charts.MUTED, fontsize=8.5, va="bottom", ha="right")
        axes.set_yticks(range(len(parts)), [f"{number}" for number in range(1, len(parts) + 1)])
        axes.set_ylim(len(parts) - 0.5, -0.5)
        axes.set_xlabel(label)
        plain(axes)
        return charts.svg(figure, salt)


def _front(points: Sequence[Point]) -> Html:
    rows = []
    for chips in sorted({point.chips for point in points}, reverse=True):
        best = next(point for point in points if point.chips == chips)
        cells = (
            f"{chips:,}",
            f"{best.step_s:.3f}",
            f"{100 * best.mfu:.1f} %",
            f"{best.peak_bytes / GIB:.1f}",
        )
        rows.append((*cells, escape(str(best.layout))))
    head = ("Chips", "Step, s", "MFU", "GiB", "Fastest layout")
    note = page.note("Each dot is a layout that nothing beats in time, memory and chips at once.")
    return page.section(
        "Time, memory and chips",
        page.figure(dots(points)) + note + page.table(head, rows, numbers=(0, 1, 2, 3)),
    )


def dots(points: Sequence[Point]) -> str:
    """The front: memory over step time, a colour for each number of chips."""
    with rc_context(charts.STYLE):
        figure = Figure(figsize=(9.6, 4.6))
        axes = figure.add_subplot()
        for number, chips in enumerate(sorted({point.chips for point in points}, reverse=True)):
            here = [point for point in points if point.chips == chips]
            times, sizes = [one.step_s for one in here], [one.peak_bytes / GIB for one in here]
            colour = _CHIPS[number % len(_CHIPS)]
            axes.step(times, sizes, where="post", color=colour, linewidth=0.8, alpha=0.5)
            axes.scatter(times, sizes, s=14, color=colour, linewidth=0, label=f"{chips:,} chips")
        axes.set_xscale("log")
        axes.set_xlabel("seconds a step")
        axes.set_ylabel("GiB of the fullest chip")
        axes.legend(frameon=False, fontsize=8.5)
        plain(axes)
        return charts.svg(figure, "plan-front")


def plain(axes: Axes) -> None:
    """A grid behind what is drawn, and no ticks."""
    axes.grid(color=charts.GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(length=0)


def _refused(plan: Plan) -> Html:
    rows = [
        (
            f"{one.layouts:,}",
            "" if one.best_step_s is None else f"{one.best_step_s:.3f}",
            escape(one.reason),
            escape(one.remedy),
        )
        for one in sorted(plan.refused, key=Refused.order)
    ]
    head = ("Layouts", "Best, s", "Why they are left out", "Remedy")
    return page.section("What is left out", page.table(head, rows, numbers=(0, 1)))


def _inputs(plan: Plan) -> Html:
    items = "".join(f"<li>{escape(text)}</li>" for text in plan.question.assumed)
    rows = [
        (escape(one.name), escape(one.shown), escape(one.status), escape(one.source)) for one in plan.inputs
    ]
    table = page.table(("Input", "Value", "Status", "Source"), rows, numbers=(1,))
    software = ", ".join(
        f"{one.step_s:.3f} s under {one.stack}{' (assumed)' * one.assumed}" for one in plan.stacks
    )
    note = (
        page.note(escape(f"The same layout under software that may be meant: {software}."))
        if software
        else ""
    )
    return page.section("What this rests on", (f"<ul>{items}</ul>" if items else "") + note + table)
