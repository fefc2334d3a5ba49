"""The training plans of `myriad plan`: made from the options as written, and printed."""

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

import click

from myriad.catalog.shelf import Catalog
from myriad.cli import quantities, show
from myriad.performance import goodput
from myriad.performance.answers import Interval, Option, Plan, Point, Run
from myriad.performance.planner import HALVINGS, plan

if TYPE_CHECKING:
    from myriad.cli.plan import Asked

GIB: Final = 2**30
#: Causes and kinds as people read them; others are said as they are.
NAMES: Final = {
    "gemm": "matrix products", "memory_bound": "memory-bound operations", "tp": "TP exchange",
    "cp": "CP exchange", "ep": "EP exchange", "pp": "PP hand-over", "dp": "DP exchange",
    "bubble": "pipeline bubble", "straggle": "stragglers",
}  # fmt: skip
#: Effects and points of the front for each number of chips that are shown.
_EFFECTS, _POINTS = 8, 4
#: Of the front what is at most this much slower than the fastest on as many chips.
_SLOWEST: Final = 3.0


def made(asked: "Asked", chip: str, catalog: Catalog, halvings: int = HALVINGS) -> Plan:
    """The plan for one chip. Raises UserError."""
    sequences, tokens = quantities.batch(asked.global_batch) if asked.global_batch else (None, None)
    return plan(
        asked.model,
        chip,
        quantities.whole(asked.chips, "chips", "16384"),
        tokens=quantities.tokens(asked.tokens, "tokens") if asked.tokens else None,
        fabric=asked.fabric or None,
        stack=asked.stack or None,
        sequence=quantities.whole(asked.sequence, "sequence", "8192") if asked.sequence else None,
        global_batch=sequences,
        global_batch_tokens=tokens,
        precision=asked.precision,
        zero_bubble=asked.zero_bubble,
        layout=asked.layout or None,
        failures_per_chip_day=goodput.rate(asked.reliability) if asked.reliability else None,
        price_per_chip_hour=quantities.price(asked.price).amount if asked.price else None,
        top=asked.top,
        halvings=halvings,
        catalog=catalog,
    )


def tell(found: Plan, asked: "Asked", explain: bool) -> None:
    """Print a plan; exit code 1 when nothing fits."""
    best = found.best
    if best is not None and found.uncertain:
        _range_first(found, best)
    _question(found)
    if best is None:
        why = f"of the {found.legal:,} that are legal fits {found.memory_bytes / GIB:.1f} GiB a chip"
        click.echo(f"\nNo layout {why if found.legal else 'is legal'}.")
        _refused(found)
        click.get_current_context().exit(1)
    _best(found, best, asked)
    _parts("CAUSE", "SECONDS", best.seconds, 1.0)
    _parts("MEMORY OF THE FULLEST CHIP", "GIB", best.memory, GIB)
    if len(found.options) > 1:
        _options(found)
    if found.front:
        _front(found.front, explain)
    if found.refused:
        _refused(found)
    if explain:
        _causes(found.options)
        _effects(found, best)
        _inputs(found)
    elif found.inputs:
        click.echo(
            f"\n{len(found.inputs)} inputs are estimated or ranges; --explain lists them with their sources."
        )


def _question(found: Plan) -> None:
    asked = found.question
    tokens = asked.global_batch * asked.sequence
    batch = f"{asked.global_batch:,} sequences of {asked.sequence:,} tokens ({tokens / 1e6:,.1f}M)"
    rows = [
        ("model", asked.model),
        ("chips", f"{asked.chips:,} x {asked.chip} on {asked.fabric}, {asked.stack}, {asked.precision}"),
        ("global batch", batch),
    ]
    show.pairs([*rows, ("assumed", "; ".join(asked.assumed))])


def _range_first(found: Plan, best: Option) -> None:
    low, high = best.step_s.low, best.step_s.high
    click.echo(
        f"Step time between {low:.3g} and {high:.3g} s (80 %), because the chip is known only in ranges:"
    )
    show.table(("FIGURE", ">VALUE", ">LOW", ">HIGH", "STATUS"), _ranges(found), empty="")
    click.echo()


def _ranges(found: Plan) -> Iterator[tuple[str, ...]]:
    from myriad.catalog import figures, listing

    for one in found.inputs:
        if not one.name.startswith("chip.") or one.low is None or one.high is None:
            continue
        field = one.name.partition(".")[2]
        measures = figures.dimension(field.partition(".")[0], figures.PLAIN)
        low, high = (listing.show(bound, measures) for bound in (one.low, one.high))
        yield field, one.shown, low, high, one.status


def _best(found: Plan, best: Option, asked: "Asked") -> None:
    usable = found.memory_bytes / GIB
    filled = f"{best.peak_bytes / GIB:.1f} of {usable:.1f} GiB a chip, with a reserve kept back"
    rows: list[tuple[str, object]] = [
        ("layout", best.layout),
        ("step time", _span(best.step_s, "s")),
        ("tokens/s", _range(best.tokens_per_s, "{:,.0f}")),
        ("MFU", _range(best.mfu.times(100), "{:.1f}", " %")),
        ("memory", filled if best.fits else f"DOES NOT FIT: {filled}"),
    ]
    click.echo()
    show.pairs([*rows, *_run(found, best.run, asked), *_ranking(found)])


def _run(found: Plan, run: Run | None, asked: "Asked") -> Iterator[tuple[str, object]]:
    if run is None:
        return
    tokens = found.question.tokens or 0.0
    yield (
        f"{tokens / 1e12:g}T tokens",
        _range(run.days, "{:,.1f}", " days") + ("" if run.goodput else ", without a failure (--reliability)"),
    )
    if run.goodput and run.calendar_days:
        kept = run.goodput
        said = (
            f"one every {_time(kept.mean_between_s)}, restart {_time(kept.restart_s)}; checkpoint of "
            f"{kept.checkpoint_bytes / 1e12:.2f} TB in {kept.checkpoint_s:.1f} s "
            f"every {_time(kept.interval_s)}"
        )
        yield "failures", said
        yield "goodput", f"{100 * kept.share:.1f} % of the time"
        yield "calendar time", _range(run.calendar_days, "{:,.1f}", " days")
    yield "chip-hours", _range(run.chip_hours.times(1e-6), "{:,.2f}", " million")
    yield "energy", _range(run.energy_kwh.times(1e-6), "{:,.2f}", " GWh") + ", chips alone at rated power"
    if run.cost and asked.price:
        currency = quantities.price(asked.price).currency
        yield "cost", _range(run.cost.times(1e-6), "{:,.2f}", f" million {currency}")


def _ranking(found: Plan) -> Iterator[tuple[str, object]]:
    stable = found.stability
    if stable is None:
        return
    ends = f"step time with all inputs at one end {stable.fast_s:.3g} to {stable.slow_s:.3g} s"
    if stable.stays:
        yield "ranking", f"the best layout stays the best at both ends of all inputs; {ends}"
    else:
        others = {str(stable.slow): "slow", str(stable.fast): "fast"}
        said = "; ".join(f"all inputs {end}: {layout}" for layout, end in others.items())
        yield "ranking", f"changes ({said}); at worst {100 * stable.regret:.1f} % are lost; {ends}"
    whole = f"{found.considered:,} layouts considered, {found.legal:,} legal, {found.fitting:,} fit"
    yield "searched", whole


def _parts(title: str, unit: str, parts: dict[str, float], scale: float) -> None:
    whole = sum(parts.values())
    rows = [
        (NAMES.get(name, name), f"{part / scale:.3f}", show.percent(part / whole), show.bar(part / whole))
        for name, part in sorted(parts.items(), key=lambda item: -item[1])
        if part >= 5e-4 * whole
    ]
    click.echo()
    show.table((title, f">{unit}", ">SHARE", ""), rows, empty="")


def _options(found: Plan) -> None:
    first = found.options[0].step_s.value
    rows = [
        (
            f"{one.step_s.value:.3f}",
            f"{one.step_s.low:.3g} to {one.step_s.high:.3g}",
            f"+{100 * (one.step_s.value / first - 1):.1f} %",
            show.percent(one.mfu.value),
            f"{one.peak_bytes / GIB:.1f}",
            one.layout,
        )
        for one in found.options
    ]
    click.echo()
    show.table((">STEP, S", ">80 %", ">SLOWER", ">MFU", ">GIB", "LAYOUT"), rows, empty="")


def _front(points: Sequence[Point], explain: bool) -> None:
    """The fastest for each number of chips; with `explain` more of the front."""
    rows = []
    for chips in sorted({point.chips for point in points}, reverse=True):
        here = [point for point in points if point.chips == chips]
        here = [point for point in here if point.step_s <= _SLOWEST * here[0].step_s]
        most = min(_POINTS if explain else 1, len(here))
        for place in range(most):
            one = here[place * (len(here) - 1) // max(most - 1, 1)]
            cells = (
                f"{chips:,}",
                f"{one.step_s:.3f}",
                show.percent(one.mfu),
                f"{one.peak_bytes / GIB:.1f}",
                one.layout,
            )
            rows.append(cells)
    click.echo(f"\nFront of time, memory and chips: {len(points)} layouts that nothing beats in all three")
    show.table((">CHIPS", ">STEP, S", ">MFU", ">GIB", "LAYOUT"), rows, empty="")


def _refused(found: Plan) -> None:
    ranked = sorted(
        found.refused, key=lambda one: (one.best_step_s is None, one.best_step_s or 0.0, -one.layouts)
    )
    rows = [
        (
            f"{one.layouts:,}",
            "-" if one.best_step_s is None else f"{one.best_step_s:.3f}",
            f"{one.reason}. {one.remedy}",
        )
        for one in ranked
    ]
    click.echo("\nLeft out, with the best time each would have had")
    show.table((">LAYOUTS", ">STEP, S", "WHY"), rows, empty="")


def _causes(options: Sequence[Option]) -> None:
    """Where the alternatives lose and win: seconds by cause, a column for each."""
    if len(options) < 2:
        return
    least = 5e-4 * options[0].step_s.value
    rows = [
        (NAMES.get(name, name), *(f"{one.seconds[name]:.3f}" for one in options))
        for name in options[0].seconds
        if any(one.seconds[name] >= least for one in options)
    ]
    click.echo("\nSeconds by cause of each layout above, in its order")
    show.table(("CAUSE", *(f">{number}" for number in range(1, len(options) + 1))), rows, empty="")


def _effects(found: Plan, best: Option) -> None:
    rows = [
        (
            one.name,
            f"{one.faster_s:.3f}",
            f"{one.slower_s:.3f}",
            show.percent((one.slower_s - one.faster_s) / best.step_s.value),
        )
        for one in found.effects[:_EFFECTS]
    ]
    click.echo("\nWhat moves the step time most, each input over its own range")
    show.table(("INPUT", ">FAST, S", ">SLOW, S", ">SPAN"), rows, empty="No input has a range.")


def _inputs(found: Plan) -> None:
    rows = [(one.name, one.shown, one.status, one.source) for one in found.inputs]
    click.echo("\nInputs that are estimated, or derived and known only as a range")
    show.table(("INPUT", ">VALUE", "STATUS", "SOURCE"), rows, empty="None.")


def compare(found: Sequence[Plan], asked: "Asked") -> None:
    """Print plans for several chips side by side, fastest first."""
    first = found[0].question
    tokens = first.global_batch * first.sequence
    batch = f"{first.global_batch:,} sequences of {first.sequence:,} tokens ({tokens / 1e6:,.1f}M) a step"
    click.echo(f"{first.model} on {first.chips:,} chips of each, {batch}\n")
    ranked = sorted(found, key=lambda one: one.best.step_s.value if one.best else math.inf)
    fastest = ranked[0].best
    rows = [_compared(one, fastest.step_s.value if fastest else 1.0, asked) for one in ranked]
    columns = list(dict.fromkeys(name for row in rows for name in row))
    show.table(columns, [[row.get(name, "-") for name in columns] for row in rows], empty="")
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
    click.echo("\nNot published or measured, of the chip itself (energy: chips alone at rated power)")
    show.table(("CHIP", "FIGURES"), [(one.question.chip, _judged(one)) for one in ranked], empty="")


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
        ">MFU": show.percent(best.mfu.value),
        ">TOKENS/S A CHIP": f"{per_chip:,.0f}",
        ">J/TOKEN": f"{one.power_w / per_chip:.2f}",
    }
    if best.run is not None:
        days = best.run.calendar_days or best.run.days
        cells[">DAYS"] = f"{days.value:,.1f}"
        cells[">M CHIP-H"] = f"{best.run.chip_hours.value / 1e6:,.2f}"
        cells[">GWH"] = f"{best.run.energy_kwh.value / 1e6:,.2f}"
        if best.run.cost and asked.price:
            cells[f">M {quantities.price(asked.price).currency}"] = f"{best.run.cost.value / 1e6:,.2f}"
    return cells


def _judged(one: Plan) -> str:
    own = [given for given in one.inputs if given.name.startswith("chip.")]
    words = [f"{given.name.removeprefix('chip.').replace('_', ' ')} ({given.status})" for given in own]
    return ", ".join(words) or "none"


def _span(interval: Interval, unit: str) -> str:
    return f"{interval.value:.3f} {unit} ({interval.low:.3g} to {interval.high:.3g})"


def _range(interval: Interval, form: str, unit: str = "") -> str:
    low, value, high = (form.format(number) for number in (interval.low, interval.value, interval.high))
    return f"{value}{unit} ({low} to {high})"


def _time(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 172_800 else f"{seconds / 86_400:.1f} d"
