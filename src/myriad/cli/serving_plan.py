"""The serving plans of `myriad plan --serve`: made from the options as written, and printed."""

import math
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import click

from myriad.catalog.shelf import Catalog
from myriad.cli import quantities, show
from myriad.kernel.errors import UserError
from myriad.performance import defaults
from myriad.performance.serving import ServePlan, Slo, serve_plan
from myriad.performance.serving.plan import Disaggregated, Option
from myriad.performance.serving.spread import Interval

if TYPE_CHECKING:
    from myriad.cli.plan import Asked

#: The software that serves, where nobody says otherwise.
STACK: Final = "vllm-2025"
#: Shares of chips this close to 1 are no difference.
_ALIKE: Final = 0.03
#: Unfit layouts and points of the front that are shown without --explain.
_MOST, _POINTS = 4, 8


class Served(NamedTuple):
    """A plan and the names of what it is of."""

    model: str
    chip: str
    fabric: str
    stack: str
    input: int
    output: int
    requests_per_s: float | None
    slo: Slo
    plan: ServePlan
    #: What was assumed, in words.
    assumed: tuple[str, ...] = ()


def made(asked: "Asked", catalog: Catalog) -> Served:
    """The plan. Raises UserError."""
    chip = catalog.chip(asked.chip)
    fabric = asked.fabric or chip.fabric
    stack = catalog.stack(asked.stack or STACK)
    if "outer_passes" in stack.parameters:
        raise UserError(
            "does not serve", field="stack", value=asked.stack, remedy=f"Leave it out, or write {STACK}"
        )
    slo = Slo(
        **{
            f"{name}_s" if name != "percentile" else name: value
            for name, value in quantities.promise(asked.slo).items()
        }
    )
    lengths = quantities.whole(asked.input, "input", "2000"), quantities.whole(asked.output, "output", "500")
    load = quantities.rate(asked.load, "load") if asked.load else None
    found = serve_plan(
        catalog.model(asked.model), chip, catalog.fabric(fabric) if fabric else None, stack, slo, *lengths,
        load, weights=asked.precision,
    )  # fmt: skip
    return Served(
        catalog.name_of("model", asked.model), catalog.name_of("chip", asked.chip), fabric or "no network",
        asked.stack or STACK, *lengths, load, slo, found, tuple(_assumed(asked, catalog, fabric)),
    )  # fmt: skip


def _assumed(asked: "Asked", catalog: Catalog, fabric: str) -> Iterator[str]:
    if not asked.fabric and fabric:
        yield f"fabric {fabric}, which the chip usually hangs on (--fabric)"
    if not asked.stack:
        yield f"software stack {STACK} (--stack)"
    for kind, name in (("chip", asked.chip), ("model", asked.model), ("fabric", fabric)):
        if name and catalog.shadows(kind, name):
            yield defaults.shadow(kind, name)


def tell(found: Served, asked: "Asked", *, explain: bool, as_json: bool) -> None:
    """Print a plan, or dump it."""
    if as_json:
        show.dump(_tree(found))
        return
    plan = found.plan
    if plan.hardware_is_a_range and plan.best:
        _range_first(found)
    show.pairs(question(found, asked))
    best = plan.best
    if best is None:
        click.echo("\nNo layout keeps the promise.\n")
        _refused(plan, most=1000)
        return
    click.echo()
    show.pairs(_best(found, best))
    _options(plan.options[: asked.top])
    _refused(plan, most=1000 if explain else _MOST)
    _front(plan, len(plan.pareto) if explain else _POINTS)
    if explain:
        _outer(found)
        click.echo("\nEstimated: " + (", ".join(plan.estimated) or "nothing"))
    elif plan.estimated:
        count = len(plan.estimated)
        said = f"{count} inputs are" if count > 1 else "1 input is"
        click.echo(f"\n{said} estimated; --explain names all.")


def question(found: Served, asked: "Asked") -> list[tuple[str, str]]:
    """What was asked, defaults filled in, name by name."""
    load = "what one replica can take (--load)"
    if found.requests_per_s:
        load = f"{found.requests_per_s:g} requests/s"
    return [
        ("model", f"{found.model}, weights in {asked.precision}"),
        ("chip", f"{found.chip} on {found.fabric}, {found.stack}"),
        ("requests", f"{found.input:,} tokens in, {found.output:,} out"),
        ("promise", _promise(found.slo)),
        ("load", load),
        ("assumed", "; ".join(found.assumed)),
    ]


def _outer(found: Served) -> None:
    """What all figures at one end together would make of it."""
    ranges = found.plan.bounds
    speed = _bounds(ranges["tokens_per_s_per_chip"], "{:,.0f}")
    chips = f", chips{_bounds(ranges['chips'], '{:,.0f}')}" if found.requests_per_s else ""
    click.echo(f"\nWith all inputs slow or fast together: tokens/s a chip{speed}{chips}")


def _range_first(found: Served) -> None:
    ranges = found.plan.intervals
    speed = ranges["tokens_per_s_per_chip"]
    said = f"Between {speed.low:,.0f} and {speed.high:,.0f} tokens/s a chip"
    if found.requests_per_s:
        chips = ranges["chips"]
        most = f"{chips.high:,.0f} chips" if math.isfinite(chips.high) else "no number of chips"
        said = f"Between {chips.low:,.0f} and {most}; " + said[0].lower() + said[1:]
    click.echo(f"{said} (80 %): the chip itself is known only in ranges (--explain)\n")


def _promise(slo: Slo) -> str:
    share = f"{100 * slo.percentile:g} % of the requests"
    return f"TTFT {slo.ttft_s:g} s and TPOT {1000 * slo.tpot_s:g} ms for {share}"


def _best(found: Served, best: Option) -> Iterator[tuple[str, object]]:
    ranges = found.plan.intervals
    yield "layout", f"{best.layout}: {_many(best.chips_per_replica, 'chip')} a replica"
    if found.requests_per_s:
        many = f"{best.chips:,} in {_many(best.replicas, 'replica')}"
        yield "chips", many + _bounds(ranges["chips"], "{:,.0f}")
    yield (
        "a replica takes",
        f"{best.capacity_requests_per_s:.2f} requests/s, {best.batch:.0f} at once (at most {best.slots})",
    )
    yield (
        "throughput",
        f"{best.tokens_per_s_per_chip:,.1f} tokens/s a chip"
        + _bounds(ranges["tokens_per_s_per_chip"], "{:,.1f}"),
    )
    yield (
        "TTFT, TPOT",
        f"{best.ttft_s:.3f} s, {1000 * best.tpot_s:.1f} ms; {show.percent(best.reading_share)} reads prompts",
    )
    apart = found.plan.disaggregated
    if apart is not None:
        yield "two pools", _two_pools(found, apart)


def _many(count: int, word: str) -> str:
    return f"{count:,} {word}" + "s" * (count != 1)


def _two_pools(found: Served, apart: Disaggregated) -> str:
    """Prefill and decode apart: in what ratio, and whether that takes fewer chips."""
    said = f"{apart.prefill.layout} prefill, {apart.decode.layout} decode, "
    if found.requests_per_s:
        said += (
            f"{_many(apart.prefill.replicas, 'replica')} and {apart.decode.replicas:,}, {apart.chips:,} chips"
        )
        return said + (": fewer" if apart.pays else ": no fewer")
    said += f"{apart.ratio:.2g} replicas to 1 under a large load: "
    if abs(apart.chips_share - 1) < _ALIKE:
        return said + "about as many chips"
    if not apart.pays:
        return said + f"does not pay, {100 * (apart.chips_share - 1):.0f} % more chips"
    return said + f"pays, {100 * (1 - apart.chips_share):.0f} % fewer chips"


def _bounds(interval: Interval, form: str) -> str:
    high = form.format(interval.high) if math.isfinite(interval.high) else "never"
    return f" ({form.format(interval.low)} to {high})"


def _options(options: tuple[Option, ...]) -> None:
    rows = [
        (
            one.layout,
            f"{one.chips:,}",
            f"{one.replicas:,}",
            f"{one.capacity_requests_per_s:.2f}",
            f"{one.tokens_per_s_per_chip:,.1f}",
            f"{one.ttft_s:.3f}",
            f"{1000 * one.tpot_s:.1f}",
            f"{one.batch:.0f}",
        )
        for one in options
    ]
    click.echo()
    columns = (
        "LAYOUT",
        ">CHIPS",
        ">REPLICAS",
        ">REQUESTS/S EACH",
        ">TOKENS/S A CHIP",
        ">TTFT, S",
        ">TPOT, MS",
        ">AT ONCE",
    )
    show.table(columns, rows, empty="")


def _refused(plan: ServePlan, most: int) -> None:
    if not plan.refused:
        return
    click.echo("\nLeft out")
    shown = plan.refused[:most]
    show.table(("LAYOUT", "WHY"), [(one.layout, one.reason) for one in shown], empty="")
    if len(plan.refused) > most:
        click.echo(f"and {len(plan.refused) - most} more (--explain)")


def _front(plan: ServePlan, most: int) -> None:
    if not plan.pareto:
        return
    count = min(most, len(plan.pareto))
    chosen = [plan.pareto[n * (len(plan.pareto) - 1) // max(count - 1, 1)] for n in range(count)]
    rows = [
        (f"{1000 * one.tpot_s:.1f}", f"{one.tokens_per_s_per_chip:,.1f}", f"{one.batch:,.1f}", one.layout)
        for one in chosen
    ]
    click.echo(f"\nFront of speed against throughput ({len(plan.pareto)} points), whatever the promise")
    show.table((">TPOT, MS", ">TOKENS/S A CHIP", ">AT ONCE", "LAYOUT"), rows, empty="")


def _tree(value: Any) -> Any:
    """Plain values for JSON, tuples with names as mappings."""
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: _tree(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return {name: _tree(part) for name, part in value._asdict().items()}
    if isinstance(value, tuple | list):
        return [_tree(part) for part in value]
    if isinstance(value, dict):
        return {name: _tree(part) for name, part in value.items()}
    return value
