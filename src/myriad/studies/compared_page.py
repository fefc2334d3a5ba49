"""Chips compared, as a page: step time and energy of the same training run, with their intervals."""

import math
from collections.abc import Sequence
from html import escape

from matplotlib import rc_context
from matplotlib.figure import Figure

from myriad.performance.answers import Interval, Plan
from myriad.studies import charts, page, plan_page
from myriad.studies.page import Html

_COLOUR, _OTHER = "#2f6fb7", "#b9c9dc"


def render(plans: Sequence[Plan], common: Sequence[Plan] = (), currency: str = "") -> str:
    """A self-contained HTML page; `common` are the same chips under one software, in the same order."""
    asked = plans[0].question
    order = sorted(range(len(plans)), key=lambda n: _step_s(plans[n]))
    ranked = [plans[n] for n in order]
    others = [common[n] for n in order] if common else []
    parts = [_cards(ranked)]
    if any(one.best for one in ranked):
        parts += [_times(ranked, others), _energy(ranked)]
    parts += [_table(ranked, others, currency), _inputs(plans)]
    title = f"{asked.model} on {asked.chips:,} chips, compared"
    batch = f"{asked.global_batch:,} sequences of {asked.sequence:,} tokens a step"
    return page.document(title, f"{batch} · {asked.precision}", parts)


def _step_s(plan: Plan) -> float:
    return plan.best.step_s.value if plan.best else math.inf


def _cards(ranked: Sequence[Plan]) -> Html:
    cards = []
    for one in ranked:
        name, best = one.question.chip, one.best
        if best is None:
            cards.append((name, "none fits", escape(one.question.stack)))
        else:
            low, high = best.step_s.low, best.step_s.high
            cards.append((name, f"{best.step_s.value:.3g} s", f"80 %: {low:.3g} to {high:.3g}"))
    return page.cards(cards)


def _times(ranked: Sequence[Plan], others: Sequence[Plan]) -> Html:
    rows = [(one.question.chip, one.best.step_s) for one in ranked if one.best]
    second = [one.best.step_s.value if one.best else None for one in others if one.best] if others else []
    body = ""
    if second and len(second) == len(rows):
        stack = others[0].question.stack
        body = page.legend([("each under its usual software", _COLOUR), (f"all under {stack}", _OTHER)])
    else:
        second = []
    body += page.figure(bars(rows, "seconds a step", "compared-time", second))
    return page.section("Step time", body + page.note("Lines: 80 % intervals."))


def _energy(ranked: Sequence[Plan]) -> Html:
    rows = [(one.question.chip, joules(one)) for one in ranked if one.best]
    body = page.figure(bars(rows, "J a token", "compared-energy"))
    return page.section("Energy", body + page.note("Chips alone, at their rated power."))


def joules(plan: Plan) -> Interval:
    """Energy of a token in J, chips at rated power. The plan must have a best layout."""
    assert plan.best
    return plan.best.tokens_per_s.over(plan.power_w * plan.best.chips)


def bars(
    rows: Sequence[tuple[str, Interval]], label: str, salt: str, second: Sequence[float | None] = ()
) -> str:
    """A bar for each name with its interval, and thin ones of other values below where there are any."""
    with rc_context(charts.STYLE):
        figure = Figure(figsize=(9.6, 0.9 + 0.45 * len(rows)))
        axes = figure.add_subplot()
        for place, (_, span) in enumerate(rows):
            axes.barh(place, span.value, height=0.42, color=_COLOUR)
            reach = [[span.value - span.low], [span.high - span.value]]
            axes.errorbar(span.value, place, xerr=reach, color=charts.INK, linewidth=1.1, capsize=3)
            axes.annotate(
                f"{span.value:.3g}", (span.high, place), (6, 0), textcoords="offset points",
                va="center", fontsize=8.5, color=charts.MUTED,
            )  # fmt: skip
        for place, value in enumerate(second):
            if value is not None:
                axes.barh(place + 0.33, value, height=0.2, color=_OTHER)
        axes.set_yticks(range(len(rows)), [name for name, _ in rows])
        axes.set_ylim(len(rows) - 0.4, -0.5)
        axes.set_xlabel(label)
        plan_page.plain(axes)
        return charts.svg(figure, salt)


def _table(ranked: Sequence[Plan], others: Sequence[Plan], currency: str) -> Html:
    head = ["Chip", "Step, s", "MFU", "J/token"]
    head += [f"Under {others[0].question.stack}, s"] if others else []
    runs = [one.best.run for one in ranked if one.best and one.best.run]
    head += ["Days"] if runs else []
    costs = any(run.cost for run in runs)
    head += [f"Cost, million {currency}"] if costs else []
    rows = []
    for place, one in enumerate(ranked):
        row = _row(one)
        if others:
            best = others[place].best
            row.append(f"{best.step_s.value:.3f}" if best else "-")
        run = one.best.run if one.best else None
        if runs:
            row.append(f"{(run.calendar_days or run.days).value:,.1f}" if run else "-")
        if costs:
            row.append(f"{run.cost.value / 1e6:,.3g}" if run and run.cost else "-")
        row += [escape(one.question.stack), escape(str(one.best.layout) if one.best else "none fits")]
        rows.append(row)
    numbers = range(1, len(head))
    return page.section("In numbers", page.table([*head, "Software", "Best layout"], rows, numbers=numbers))


def _row(one: Plan) -> list[str]:
    name = escape(one.question.chip)
    if one.best is None:
        return [name, "-", "-", "-"]
    share = f"{100 * one.best.mfu.value:.1f} %"
    return [name, f"{one.best.step_s.value:.3f}", share, f"{joules(one).value:.2f}"]


def _inputs(plans: Sequence[Plan]) -> Html:
    # fabric and software differ from chip to chip; the rest was chosen for the first and holds for all
    shared = [text for text in plans[0].question.assumed if "--fabric" not in text and "--stack" not in text]
    items = "".join(f"<li>{escape(text)}</li>" for text in shared)
    rows = [
        (escape(one.question.chip), escape(given.name), escape(given.shown), escape(given.status))
        for one in plans
        for given in one.inputs
        if given.name.startswith("chip.")
    ]
    table = page.table(("Chip", "Not published or measured", "Value", "Status"), rows, numbers=(2,))
    return page.section("What this rests on", (f"<ul>{items}</ul>" if items else "") + table)
