"""The training plans of `myriad plan`: made from the options as written, and printed."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

import click

from myriad.catalog.shelf import Catalog
from myriad.cli import quantities, show
from myriad.performance import goodput
from myriad.performance.answers import WORDS, Interval, Option, Plan, Point, Refused, Run
from myriad.performance.planner import HALVINGS, plan

if TYPE_CHECKING:
    from myriad.cli.plan import Asked

GIB: Final = 2**30
#: Scales of an amount, largest first.
Scales = tuple[tuple[float, str], ...]
MILLIONS: Final[Scales] = ((1e6, " million"), (1.0, ""))
ENERGY: Final[Scales] = ((1e6, " GWh"), (1e3, " MWh"), (1.0, " kWh"))
#: Effects and points of the front for each number of chips that are shown.
_EFFECTS, _POINTS = 8, 4
#: Of the front what is at most this much slower than the fastest on as many chips.
_SLOWEST: Final = 3.0


def made(
    asked: "Asked",
    chip: str,
    catalog: Catalog,
    halvings: int = HALVINGS,
    stack: str | None = None,
    sequences: int | None = None,
) -> Plan:
    """The plan for one chip, under another software or with another batch where given. Raises UserError."""
    tokens = None
    if sequences is None and asked.global_batch:
        sequences, tokens = quantities.batch(asked.global_batch)
    return plan(
        asked.model,
        chip,
        quantities.count(asked.chips, "chips", "16384"),
        tokens=quantities.tokens(asked.tokens, "tokens") if asked.tokens else None,
        fabric=asked.fabric or None,
        stack=stack or asked.stack or None,
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
    """Print a plan."""
    best = found.best
    if best is not None and found.uncertain:
        _range_first(found, best)
    _question(found)
    if best is None:
        why = f"of the {found.legal:,} that are legal fits {found.memory_bytes / GIB:.1f} GiB a chip"
        click.echo(f"\nNo layout {why if found.legal else 'is legal'}.")
        _refused(found)
        return
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
        count = len(found.inputs)
        said = f"{count} inputs are" if count > 1 else "1 input is"
        click.echo(f"\n{said} estimated or known as a range; --explain tells the sources.")


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
        (mfu(found), _range(best.mfu.times(100), "{:.1f}", " %")),
        ("memory", filled if best.fits else f"DOES NOT FIT: {filled}"),
    ]
    click.echo()
    show.pairs([*rows, *_run(best.run, asked), *_stacks(found), *_ranking(found)])


def mfu(found: Plan) -> str:
    """MFU, with what it is measured against where products are in fewer bits."""
    return "MFU" if found.question.precision == "bf16" else "MFU (of the bf16 peak)"


def _stacks(found: Plan) -> Iterator[tuple[str, object]]:
    words = [
        f"{one.step_s:.3f} s {one.stack}" + " (assumed)" * one.assumed + " (does not fit)" * (not one.fits)
        for one in found.stacks
    ]
    if words:
        yield "by software", ", ".join(words) + "; the range above is of the assumed alone"


def _run(run: Run | None, asked: "Asked") -> Iterator[tuple[str, object]]:
    if run is None:
        return
    yield (
        f"{asked.tokens} tokens",
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
    yield "chip-hours", scaled(run.chip_hours, MILLIONS)
    yield "energy", scaled(run.energy_kwh, ENERGY) + ", chips alone at rated power"
    if run.cost and asked.price:
        yield "cost", scaled(run.cost, MILLIONS, quantities.price(asked.price).currency)


def _ranking(found: Plan) -> Iterator[tuple[str, object]]:
    stable = found.stability
    if stable is None:
        return
    if stable.stays:
        yield "other layouts", "none is better if all inputs turn out slow together, or all fast"
    else:
        best = found.best and found.best.layout
        turned = ((stable.slow, "slow"), (stable.fast, "fast"))
        said = [f"{layout} if all inputs turn out {end} together" for layout, end in turned if layout != best]
        lost = f"what this one then takes longer is {100 * stable.regret:.1f} % at most"
        yield "other layouts", f"better may be {', '.join(said)}; {lost}"
    ends = f"{stable.fast_s:.3g} to {stable.slow_s:.3g} s, with all inputs fast or slow together"
    yield "outer bounds", f"of the step time: {ends}"
    whole = f"{found.considered:,} layouts considered, {found.legal:,} legal, {found.fitting:,} fit"
    yield "searched", whole


def _parts(title: str, unit: str, parts: dict[str, float], scale: float) -> None:
    whole = sum(parts.values())
    rows = [
        (WORDS.get(name, name), f"{part / scale:.3f}", show.percent(part / whole), show.bar(part / whole))
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
    many = f"{len(points)} layouts" if len(points) > 1 else "1 layout"
    click.echo(f"\nFront of time, memory and chips: {many} that nothing beats in all three")
    show.table((">CHIPS", ">STEP, S", ">MFU", ">GIB", "LAYOUT"), rows, empty="")


def _refused(found: Plan) -> None:
    rows = [
        (
            f"{one.layouts:,}",
            "-" if one.best_step_s is None else f"{one.best_step_s:.3f}",
            f"{one.reason}. {one.remedy}",
        )
        for one in sorted(found.refused, key=Refused.order)
    ]
    click.echo("\nLeft out, with the best time each would have had")
    show.table((">LAYOUTS", ">STEP, S", "WHY"), rows, empty="")


def _causes(options: Sequence[Option]) -> None:
    """Where the alternatives lose and win: seconds by cause, a column for each."""
    if len(options) < 2:
        return
    least = 5e-4 * options[0].step_s.value
    rows = [
        (WORDS.get(name, name), *(f"{one.seconds[name]:.3f}" for one in options))
        for name in options[0].seconds
        if any(one.seconds[name] >= least for one in options)
    ]
    click.echo("\nSeconds by cause of each layout above, in its order")
    show.table(("CAUSE", *(f">{number}" for number in range(1, len(options) + 1))), rows, empty="")


def _effects(found: Plan, best: Option) -> None:
    rows = [
        (
            one.name,
            one.span,
            f"{one.faster_s:.3f}",
            f"{one.slower_s:.3f}",
            show.percent((one.slower_s - one.faster_s) / best.step_s.value),
        )
        for one in found.effects[:_EFFECTS]
    ]
    click.echo("\nWhat moves the step time most, each input over its own range")
    show.table(("INPUT", "FROM TO", ">FAST, S", ">SLOW, S", ">SPAN"), rows, empty="No input has a range.")


def _inputs(found: Plan) -> None:
    rows = [(one.name, one.shown, one.status, one.source) for one in found.inputs]
    click.echo("\nInputs that are estimated, or derived and known only as a range")
    show.table(("INPUT", ">VALUE", "STATUS", "SOURCE"), rows, empty="None.")


def scaled(interval: Interval, scales: Scales, unit: str = "") -> str:
    """An amount and its range in the scale that suits it."""
    scale, word = next(one for one in scales if interval.value >= one[0] or one[0] == 1.0)
    form = "{:,.0f}" if scale == 1.0 and interval.value >= 100 else "{:,.2f}"
    return _range(interval.times(1 / scale), form, word + f" {unit}" * bool(unit))


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
