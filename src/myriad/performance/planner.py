"""The planner: which layouts train a model fastest on given chips, how sure that is, and why others do not.

`plan(model="llama3-405b", chip="h100-sxm", chips=16384, tokens=15.6e12)` is the whole use of it. Top of the
package: `defaults` fills the question, `search` predicts every layout, `fitting` says what would suit,
`spread` how sure all this is, `goodput` what failures cost; `answers` holds what comes back.
"""

from collections.abc import Iterator
from typing import Final, NamedTuple, TypeVar

import numpy as np

from myriad.catalog.chips import Chip
from myriad.catalog.fabrics import Fabric
from myriad.catalog.models import Model
from myriad.catalog.shelf import Catalog
from myriad.catalog.stacks import Stack
from myriad.kernel.errors import UserError
from myriad.performance import defaults, fitting, front, goodput, inputs, legality, search, spread
from myriad.performance.answers import (
    Effect,
    Input,
    Interval,
    Layout,
    Option,
    Plan,
    Point,
    Question,
    Refused,
    Run,
    Software,
    Stability,
)
from myriad.performance.layouts import Layouts
from myriad.performance.legality import RULES, Setting
from myriad.performance.machine import Machine
from myriad.performance.search import Found
from myriad.performance.spread import Ends
from myriad.performance.training import predict
from myriad.performance.work import Work

T = TypeVar("T", int, float)

#: Halvings of the chips on the front.
HALVINGS: Final = 6
_PRECISIONS: Final = ("bf16", "fp8", "fp4")


class _Asked(NamedTuple):
    """A question with everything that answers it."""

    named: defaults.Named
    setting: Setting
    work: Work
    ends: Ends
    low: bool  # products in 8 or 4 bits
    question: Question
    price: float | None  # of a chip-hour
    failures: float | None  # of a chip-day
    #: Software that may be meant, by name and the assumed first; none where somebody named it.
    stacks: tuple[tuple[str, Stack], ...]

    @property
    def inputs(self) -> tuple[Input, ...]:
        """What is estimated or a range."""
        of = self.named
        return tuple(inputs.judged(of.chip, of.fabric, of.stack, self.question.precision))


def plan(
    model: Model | str,
    chip: Chip | str,
    chips: int,
    *,
    tokens: float | None = None,
    fabric: Fabric | str | None = None,
    stack: Stack | str | None = None,
    sequence: int | None = None,
    global_batch: int | None = None,
    global_batch_tokens: float | None = None,
    precision: str = "bf16",
    zero_bubble: bool = False,
    layout: Layout | str | None = None,
    failures_per_chip_day: float | None = None,
    price_per_chip_hour: float | None = None,
    top: int = 5,
    halvings: int = HALVINGS,
    catalog: Catalog | None = None,
) -> Plan:
    """Plan a training run: every legal layout is predicted, the best that fit come back.

    `global_batch` is in sequences; `tokens` are those of the whole run; `layout` asks about that one instead
    of searching. Raises UserError naming field, value and remedy.
    """
    if isinstance(layout, str):
        layout = Layout.parse(layout, chips)
    zero_bubble = zero_bubble or (layout is not None and layout.schedule != "1f1b")
    asked = _asked(
        catalog or Catalog.shipped(), model, chip, chips, tokens, fabric, stack, sequence, global_batch,
        global_batch_tokens, precision, zero_bubble, failures_per_chip_day, price_per_chip_hour,
    )  # fmt: skip
    if layout is not None:
        return _one(asked, layout)
    judged = asked.inputs
    found = search.run(asked.setting, asked.work, asked.ends.middle, fp8=asked.low)
    chosen = search.varied(found, max(top, 1))
    options, effects = _options(asked, found.layouts.take(np.array(chosen, dtype=np.intp)))
    points = list(_front(asked, found, halvings))
    return Plan(
        question=asked.question,
        options=options,
        considered=found.considered,
        legal=int((found.rule < 0).sum()),
        fitting=int(((found.rule < 0) & found.fits).sum()),
        memory_bytes=search.usable_bytes(asked.ends.middle),
        power_w=asked.named.chip.power_w.value,
        refused=tuple(_refused(asked, found)),
        front=tuple(points),
        effects=effects,
        inputs=judged,
        uncertain=inputs.decisive(judged),
        stability=_stability(asked, found),
        stacks=_stacks(asked, options),
    )


def _asked(
    catalog: Catalog,
    model: Model | str,
    chip: Chip | str,
    chips: int,
    tokens: float | None,
    fabric: Fabric | str | None,
    stack: Stack | str | None,
    sequence: int | None,
    global_batch: int | None,
    global_batch_tokens: float | None,
    precision: str,
    zero_bubble: bool,
    failures: float | None,
    price: float | None,
) -> _Asked:
    assumed: list[str] = []
    named = defaults.entries(catalog, model, chip, fabric, stack, assumed)
    per_node = int(named.chip.chips_per_node.value)
    legality.check_chips(chips, per_node)
    _check_precision(named.chip, precision)
    sequence = (
        defaults.sequence(named.model, assumed)
        if sequence is None
        else _positive(sequence, "sequence", "4096")
    )
    low = "fp8" if precision == "bf16" else precision
    middle, slow, fast = (
        Machine.of(named.chip, named.fabric, named.stack, low_precision=low, end=end)
        for end in ("middle", "slow", "fast")
    )
    if global_batch is not None:
        _positive(global_batch, "global-batch", "2048-sequences")
    domain = int((named.fabric.scale_up_domain or named.chip.scale_up_domain).value)
    setting = Setting(
        model=named.model, sequence=sequence, global_batch=global_batch or 1, chips=chips,
        chips_per_node=per_node, domain=domain, zero_bubble=zero_bubble, flash=named.stack.flash,
    )  # fmt: skip
    if global_batch is None:
        global_batch = _batch(setting, middle, global_batch_tokens, assumed, fp8=precision != "bf16")
        setting = fitting.resized(setting, global_batch=global_batch)
    _check_run(tokens, global_batch * sequence, failures, price)
    reach = int(named.fabric.levels[-1].chips.value)
    if chips > reach:
        assumed.append(f"beyond the {reach:,} chips that the fabric joins, links as fast as its outermost")
    question = Question(
        **named.names, chips=chips, sequence=sequence, global_batch=global_batch, precision=precision,
        tokens=tokens,
        assumed=tuple(assumed),
    )  # fmt: skip
    work = Work.of(named.model, sequence=sequence, global_batch=global_batch)
    others = defaults.stacks(named.chip, named.model) if stack is None else ()
    return _Asked(
        named, setting, work, Ends(middle, slow, fast), precision != "bf16", question, price, failures,
        tuple((name, catalog.stack(name)) for name in others),
    )  # fmt: skip


def _batch(of: Setting, machine: Machine, tokens: float | None, assumed: list[str], *, fp8: bool) -> int:
    """Sequences of a step, from tokens or as is usual; tells `assumed` how they were found."""
    if tokens is None:
        wished = defaults.usual_batch(of.model, of.sequence, of.chips)
        chosen, among = fitting.batch(of, machine, wished, fp8=fp8)
        how = f"; of {among} near the usual {wished:,.0f} the one that suits these chips best" * (among > 1)
    else:
        wished = _positive(tokens, "global-batch", "16M-tokens") / of.sequence
        if wished < 1:
            remedy = f"Write {of.sequence}-tokens or more, or a shorter --sequence"
            problem = f"is less than one sequence of {of.sequence:,} tokens"
            raise UserError(problem, field="global-batch", value=f"{tokens:g} tokens", remedy=remedy)
        chosen = defaults.sequences_of(wished, of.chips)
        if chosen == wished:
            return chosen
        how = f", rounded from {tokens:,.0f}"
    total = f"{chosen * of.sequence / 1e6:,.2f}M tokens"
    assumed.append(f"a global batch of {chosen:,} sequences, {total}{how} (--global-batch)")
    return chosen


def _check_run(tokens: float | None, step_tokens: int, failures: float | None, price: float | None) -> None:
    if tokens is not None and tokens < step_tokens:
        raise UserError(
            f"is less than one step of {step_tokens:,} tokens",
            field="tokens", value=tokens, remedy="Write for example 15.6T",
        )  # fmt: skip
    if failures is not None and not failures > 0:
        raise UserError("must be more than zero", field="reliability", value=failures, remedy="Write 0.5")
    if price is not None and not price >= 0:
        raise UserError("must not be negative", field="price", value=price, remedy="Write 2.50")


def _positive(number: T, field: str, example: str) -> T:
    if not number > 0:
        raise UserError(
            "must be more than zero", field=field, value=number, remedy=f"Write for example {example}"
        )
    return number


def _check_precision(chip: Chip, precision: str) -> None:
    has = [name for name in _PRECISIONS if name == "bf16" or name in chip.flops]
    if precision not in _PRECISIONS:
        raise UserError(
            "is not known", field="precision", value=precision, remedy=f"Choose one of {', '.join(has)}"
        )
    if precision not in has:
        raise UserError(
            f"is not a precision of {chip.title}",
            field="precision",
            value=precision,
            remedy=f"It has {', '.join(has)}",
        )


def _one(asked: _Asked, layout: Layout) -> Plan:
    """A plan whose only option is what somebody wrote."""
    legality.refuse(asked.setting, layout.columns)
    judged = asked.inputs
    options, effects = _options(asked, _layouts(asked, layout, asked.named.stack))
    usable = search.usable_bytes(asked.ends.middle)
    fits = options[0].fits
    refused = (
        () if fits else (_too_large(asked, [options[0].peak_bytes], options[0].step_s.value, layout, fits),)
    )
    return Plan(
        question=asked.question, options=options, considered=1, legal=1, fitting=int(fits),
        memory_bytes=usable, power_w=asked.named.chip.power_w.value,
        refused=refused, front=(), effects=effects, inputs=judged,
        uncertain=inputs.decisive(judged), stability=None, stacks=_stacks(asked, options),
    )  # fmt: skip


def _stacks(asked: _Asked, options: tuple[Option, ...]) -> tuple[Software, ...]:
    """The best layout's step time under each software that may be meant."""
    if not options or len(asked.stacks) < 2:
        return ()
    low = asked.question.precision if asked.low else "fp8"
    found = []
    for name, stack in asked.stacks:
        machine = Machine.of(asked.named.chip, asked.named.fabric, stack, low_precision=low)
        one = predict(asked.work, machine, _layouts(asked, options[0].layout, stack))
        fits = bool(one.peak_bytes[0] <= search.usable_bytes(machine))
        found.append(Software(name, float(one.step_s[0]), fits, name == asked.question.stack))
    return tuple(found)


def _layouts(asked: _Asked, layout: Layout, stack: Stack) -> Layouts:
    """One layout as software would run it."""
    return Layouts.of({**layout.columns, "flash": stack.flash, "fp8": asked.low})


def _options(asked: _Asked, layouts: Layouts) -> tuple[tuple[Option, ...], tuple[Effect, ...]]:
    """Layouts with their intervals, and what each input does to the first."""
    if not len(layouts):
        return (), ()
    found = predict(asked.work, asked.ends.middle, layouts)
    sure = spread.of(asked.work, asked.ends, layouts, found.step_s)
    flops = float(found.model_flops[0]) / float(asked.ends.middle.flops)
    options = []
    for n in range(len(layouts)):
        step = Interval(float(sure.low_s[n]), float(found.step_s[n]), float(sure.high_s[n]))
        chips = int(layouts.chips[n])
        mfu = flops / (step.value * chips)
        options.append(
            Option(
                layout=Layout.at(layouts, n),
                chips=chips,
                step_s=step,
                tokens_per_s=step.over(float(asked.work.tokens)),
                mfu=Interval(mfu * float(sure.least_mfu[n]), mfu, mfu * float(sure.most_mfu[n])),
                seconds={cause: float(part[n]) for cause, part in found.seconds.items()},
                memory={kind: float(part[n]) for kind, part in found.memory.items()},
                peak_bytes=float(found.peak_bytes[n]),
                fits=bool(found.peak_bytes[n] <= search.usable_bytes(asked.ends.middle)),
                run=_run(asked, chips, step),
            )
        )
    moved = [
        Effect(*row)
        for row in zip(sure.names, sure.fast_s[0].tolist(), sure.slow_s[0].tolist(), sure.ranges, strict=True)
    ]
    # inputs that only say how much memory is filled move no time
    moved = [one for one in moved if one.slower_s > one.faster_s]
    return tuple(options), tuple(sorted(moved, key=lambda one: one.faster_s - one.slower_s))


def _run(asked: _Asked, chips: int, step_s: Interval) -> Run | None:
    if asked.question.tokens is None:
        return None
    steps = asked.question.tokens / float(asked.work.tokens)
    days = step_s.times(steps / goodput.DAY_S)
    hours = days.times(24 * chips)
    kept = None
    if asked.failures is not None:
        kept = goodput.expected(
            parameters=float(asked.named.model.parameters), chips=chips,
            chips_per_node=asked.setting.chips_per_node, failures_per_chip_day=asked.failures,
        )  # fmt: skip
    # who never gets done pays without end
    slower = 1.0 if kept is None else 1 / kept.share if kept.share > 0 else np.inf
    return Run(
        days=days,
        chip_hours=hours.times(slower),
        energy_kwh=hours.times(slower * asked.named.chip.power_w.value / 1000),
        cost=None if asked.price is None else hours.times(slower * asked.price),
        goodput=kept,
        calendar_days=None if kept is None else days.times(slower),
    )


def _refused(asked: _Asked, found: Found) -> Iterator[Refused]:
    """Why what is not among the fitting layouts is not: rules in their order, then memory."""
    words = legality.facts(asked.setting)
    for number, count, best in search.regions(found):
        rule = RULES[number]
        named = words | dict.fromkeys(rule.reads, "")
        if best is not None:
            named |= {name: f"{getattr(found.layouts, name)[best]:,.0f}" for name in rule.reads}
        remedy = _said(rule.remedy, named)
        if rule.name == "batch" and not (found.rule < 0).any():
            near = fitting.nearest_batches(asked.setting, asked.ends.middle, fp8=asked.low)
            if near:
                counts = " or ".join(f"{one:,}" for one in near)
                remedy = f"The nearest global batches that work here are {counts} sequences"
        yield Refused(
            rule=rule.name,
            reason=_said(rule.text, named),
            remedy=remedy,
            layouts=count,
            best_step_s=None if best is None else float(found.step_s[best]),
            best=None if best is None else Layout.at(found.layouts, best),
        )
    large = np.flatnonzero((found.rule < 0) & ~found.fits)
    if len(large):
        best = int(large[np.argmin(found.step_s[large])])
        peaks = [float(found.peak_bytes[best]), float(found.peak_bytes[large].min())]
        layout = Layout.at(found.layouts, best)
        fits = bool(len(found.near))
        yield _too_large(asked, peaks, float(found.step_s[best]), layout, fits, len(large))


def _too_large(
    asked: _Asked, peaks: list[float], step_s: float, layout: Layout, fits: bool, layouts: int = 1
) -> Refused:
    """What fills too much memory: peak bytes of the fastest, and of the smallest; `fits`: others do not."""
    usable = search.usable_bytes(asked.ends.middle) / 2**30
    said = " (from {1:.1f}; the fastest {0:.0f})" if layouts > 1 else " ({0:.1f})"
    more = ""
    if not fits and (fewest := fitting.fewest_chips(asked.setting, asked.ends.middle)):
        more = f", or more chips: the model needs at least {fewest:,}"
        if fewest <= asked.setting.chips:
            more = f"; other layouts fit from {fewest:,} chips on"
    return Refused(
        rule="memory",
        reason=f"needs more than {usable:.1f} GiB a chip" + said.format(*(peak / 2**30 for peak in peaks)),
        remedy=f"Choose more recompute, TP, PP or ZeRO, or a smaller micro-batch{more}",
        layouts=layouts,
        best_step_s=step_s,
        best=layout,
    )


def _said(text: str, words: dict[str, str]) -> str:
    """A rule's text; where no layout is an example, without its numbers."""
    return " ".join(text.format(**words).split()).replace(" )", ")")


def _front(asked: _Asked, found: Found, halvings: int) -> Iterator[Point]:
    """The front of time, memory and chips, over the chips and their halves."""
    parts = [found]
    chips = asked.setting.chips
    for _ in range(halvings):
        if chips % (2 * asked.setting.chips_per_node) or not len(parts[-1].near):
            break
        chips //= 2
        smaller = fitting.resized(asked.setting, chips=chips)
        parts.append(search.run(smaller, asked.work, asked.ends.middle, fp8=asked.low, timed=False))
    rows = [(part, int(position)) for part in parts for position in part.front]
    step = np.array([part.step_s[n] for part, n in rows])
    peak = np.array([part.peak_bytes[n] for part, n in rows])
    many = np.array([float(part.setting.chips) for part, _ in rows])
    for n in front.of_three(step, peak, many):
        part, position = rows[n]
        yield Point(
            chips=part.setting.chips,
            step_s=float(step[n]),
            peak_bytes=float(peak[n]),
            mfu=float(asked.work.model_flops / (step[n] * many[n] * asked.ends.middle.flops)),
            layout=Layout.at(part.layouts, position),
        )


def _stability(asked: _Asked, found: Found) -> Stability | None:
    """Who of those near the best is best when all figures are slow, and when all are fast."""
    if not len(found.near):
        return None
    layouts = found.layouts.take(found.near)
    winners, times, regrets = [], [], []
    for machine in (asked.ends.slow, asked.ends.fast):
        step_s = search.evaluate(asked.work, machine, layouts)
        winner = int(np.argmin(step_s))
        # as fast as the best to a thousandth is the best
        if step_s[0] <= 1.001 * step_s[winner]:
            winner = 0
        winners.append(winner)
        times.append(float(step_s[0]))
        regrets.append(float(step_s[0] / step_s[winner] - 1))
    slow, fast = (Layout.at(layouts, winner) for winner in winners)
    return Stability(
        stays=winners == [0, 0], slow=slow, fast=fast, slow_s=times[0], fast_s=times[1], regret=max(regrets)
    )
