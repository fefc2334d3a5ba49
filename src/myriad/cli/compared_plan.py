"""`myriad plan --compare`: the same training run on several chips, side by side."""

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import click
import msgspec

from myriad.catalog.shelf import Catalog
from myriad.cli import quantities, show, training_plan
from myriad.performance.answers import Plan

if TYPE_CHECKING:
    from myriad.cli.plan import Asked

#: The software that chips are compared under where each would bring its own.
COMMON: Final = "reference"


class Compared(NamedTuple):
    """Plans of several chips, and those of the same chips under one software where it differs."""

    plans: list[Plan]
    common: list[Plan]


def made(asked: "Asked", chips: Sequence[str], catalog: Catalog) -> Compared:
    """One plan for each chip, all of the batch of the first. Raises UserError."""
    first = training_plan.made(asked, chips[0], catalog, halvings=0)
    batch = first.question.global_batch
    rest = [training_plan.made(asked, name, catalog, halvings=0, sequences=batch) for name in chips[1:]]
    plans = [first, *rest]
    common: list[Plan] = []
    if not asked.stack and len({one.question.stack for one in plans}) > 1:
        common = [
            training_plan.made(asked, name, catalog, halvings=0, stack=COMMON, sequences=batch)
            for name in chips
        ]
    return Compared(plans, common)


def tree(found: Compared) -> list[dict[str, Any]]:
    """The plans for programs, each with what it is under the common software."""
    trees = [msgspec.to_builtins(one) for one in found.plans]
    for one, other in zip(trees, found.common, strict=False):
        one["common_stack"] = {
            "stack": COMMON,
            "step_s": msgspec.to_builtins(other.best.step_s) if other.best else None,
            "layout": msgspec.to_builtins(other.best.layout) if other.best else None,
        }
    return trees


def tell(found: Compared, asked: "Asked") -> None:
    """Print the plans side by side, fastest first."""
    plans = found.plans
    first = plans[0].question
    tokens = first.global_batch * first.sequence
    batch = f"{first.global_batch:,} sequences of {first.sequence:,} tokens ({tokens / 1e6:,.1f}M) a step"
    click.echo(f"{first.model} on {first.chips:,} chips of each, {batch}\n")
    order = sorted(range(len(plans)), key=lambda n: _step_s(plans[n]))
    ranked = [plans[n] for n in order]
    fastest = _step_s(ranked[0])
    rows = [_compared(one, fastest, asked) for one in ranked]
    for row, n in zip(rows, order, strict=True):
        if found.common and (best := found.common[n].best):
            row[f">WITH {COMMON}, S".upper()] = f"{best.step_s.value:.3f}"
    columns = list(dict.fromkeys(name for row in rows for name in row))
    show.table(columns, [[row.get(name, "-") for name in columns] for row in rows], empty="")
    if found.common:
        click.echo()
        show.pairs([("software", _software(found, order))])
    if unfit := [(one.question.chip, why) for one in plans if not one.best for why in _why(one)]:
        click.echo("\nNothing fits or is legal")
        show.table(("CHIP", "WHY"), unfit, empty="")
    click.echo()
    details = [
        (
            one.question.chip,
            one.question.fabric,
            one.question.stack,
            one.best.layout if one.best else "none fits",
        )
        for one in ranked
    ]
    show.table(("CHIP", "FABRIC", "STACK", "BEST LAYOUT"), details, empty="")
    if assumed := _assumed(first.assumed):
        click.echo()
        show.pairs([("assumed for all", assumed)])
    click.echo("\nNot published or measured, of the chip itself (energy: chips alone at rated power)")
    show.table(("CHIP", "FIGURES"), [(one.question.chip, _judged(one)) for one in ranked], empty="")


def _step_s(one: Plan) -> float:
    return one.best.step_s.value if one.best else math.inf


def _software(found: Compared, order: list[int]) -> str:
    """That the chips were not compared under one software, and whether that decides who is first."""
    again = sorted(order, key=lambda n: _step_s(found.common[n]))
    said = f"each chip has its usual one, and these differ; under {COMMON} "
    if again == order:
        return said + "on all of them the order is the same (--stack takes one for all)"
    names = ", ".join(found.plans[n].question.chip for n in again)
    return said + f"on all of them the order is {names} (--stack takes one for all)"


def _why(one: Plan) -> Iterator[str]:
    """What to do where nothing fits, or no layout is legal."""
    rule = "memory" if one.legal else "batch"
    for refused in one.refused:
        if refused.rule == rule:
            yield f"{refused.reason}. {refused.remedy}"


def _assumed(words: Sequence[str]) -> str:
    return "; ".join(one for one in words if "--fabric" not in one and "--stack" not in one)


def _compared(one: Plan, fastest_s: float, asked: "Asked") -> dict[str, object]:
    """One chip's cells by column."""
    cells: dict[str, object] = {"CHIP": one.question.chip}
    best = one.best
    if best is None:
        return cells
    per_chip = best.tokens_per_s.value / best.chips
    cells |= {
        ">STEP, S": f"{best.step_s.value:.3f}",
        ">80 %": f"{best.step_s.low:.3g} to {best.step_s.high:.3g}",
        ">SLOWER": f"{best.step_s.value / fastest_s:.2f}x",
        f">{training_plan.mfu(one).upper()}": show.percent(best.mfu.value),
        ">TOKENS/S A CHIP": f"{per_chip:,.0f}",
        ">J/TOKEN": f"{one.power_w / per_chip:.2f}",
    }
    if best.run is not None:
        days = best.run.calendar_days or best.run.days
        cells[">DAYS"] = f"{days.value:,.1f}"
        cells[">M CHIP-H"] = _digits(best.run.chip_hours.value / 1e6)
        cells[">GWH"] = _digits(best.run.energy_kwh.value / 1e6)
        if best.run.cost and asked.price:
            cells[f">M {quantities.price(asked.price).currency}"] = _digits(best.run.cost.value / 1e6)
    return cells


def _digits(number: float) -> str:
    return f"{number:,.2f}" if number >= 1 else f"{number:.3g}"


def _judged(one: Plan) -> str:
    own = [given for given in one.inputs if given.name.startswith("chip.")]
    words = [f"{given.name.removeprefix('chip.').replace('_', ' ')} ({given.status})" for given in own]
    return ", ".join(words) or "none"
