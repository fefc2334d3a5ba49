"""What the planner answers: plain values for people and programs, in SI units.

Beside `planner`, which fills them; the command line and the pages print them.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Final, Self

from myriad.catalog.figures import Status
from myriad.kernel.errors import UserError, near
from myriad.performance.goodput import Goodput
from myriad.performance.layouts import Layouts, Recompute, Schedule

#: Causes of time as people read them, exchanges as far as no computing hides them; others are said as they
#: are.
WORDS: Final = {
    "gemm": "matrix products", "memory_bound": "memory-bound operations", "tp": "TP exchange, exposed",
    "cp": "CP exchange, exposed", "ep": "EP exchange, exposed", "pp": "PP hand-over, exposed",
    "dp": "DP exchange, exposed", "bubble": "pipeline bubble", "straggle": "stragglers",
}  # fmt: skip
_RECOMPUTE: Final = {kind: kind.name.lower() for kind in Recompute}
_SCHEDULE: Final = {
    Schedule.ONE_F_ONE_B: "1f1b",
    Schedule.ZERO_BUBBLE: "zb-h1",
    Schedule.ZERO_BUBBLE_2: "zb-h2",
}
_NUMBERS: Final = ("tp", "cp", "pp", "vpp", "dp", "ep", "micro_batch", "zero")
_SHORT: Final = {"mb": "micro_batch", "micro-batch": "micro_batch", "sp": "sequence_parallel"}
#: A layout as it is printed, part by part, and the parts it stands for.
_PRINTED: Final = (
    (re.compile(r"\b(tp|cp|pp|vpp|ep|dp|micro-batch|recompute)\s+(\w+)"), r"\1=\2"),
    (re.compile(r"\bno\s+zero\b"), "zero=0"),
    (re.compile(r"\bzero-(\d)"), r"zero=\1"),
    (re.compile(r"(?<![=\w-])(zb-h[12]|1f1b)\b"), r"schedule=\1"),
    (re.compile(r"\bsp\b(?!\s*=)"), "sp=on"),
    (re.compile(r"\s*=\s*"), "="),
)
_YES: Final = {
    "yes": True,
    "true": True,
    "on": True,
    "1": True,
    "no": False,
    "false": False,
    "off": False,
    "0": False,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """One layout, in the words that people use for it."""

    tp: int
    cp: int = 1
    pp: int = 1
    vpp: int = 1
    dp: int
    ep: int = 1
    micro_batch: int = 1
    zero: int = 1
    recompute: str = "none"  # none, selective, full
    schedule: str = "1f1b"  # 1f1b, zb-h1, zb-h2
    sequence_parallel: bool = False

    @classmethod
    def at(cls, layouts: Layouts, position: int) -> Self:
        """One of many."""
        numbers: dict[str, Any] = {name: int(getattr(layouts, name)[position]) for name in _NUMBERS}
        return cls(
            **numbers,
            recompute=_RECOMPUTE[Recompute(int(layouts.recompute[position]))],
            schedule=_SCHEDULE[Schedule(int(layouts.schedule[position]))],
            sequence_parallel=bool(layouts.sequence_parallel[position]),
        )

    @classmethod
    def parse(cls, text: str, chips: int) -> Self:
        """`tp=8,pp=16,mb=1,recompute=selective,sp=on`, or as layouts are printed.

        DP is what is left of the chips. A printed layout without SP has none; where parts are written with
        `=`, SP goes with TP. Raises UserError naming the part that is not understood.
        """
        said: dict[str, str] = {}
        for part in _parts(text):
            name, equals, value = (piece.strip() for piece in part.partition("="))
            name = _SHORT.get(name, name).replace("-", "_")
            if name not in cls.__slots__ or not equals:
                remedy = (
                    near(name, [*cls.__slots__, *_SHORT]) if equals else "Write for example tp=8,pp=16,mb=1"
                )
                raise UserError(
                    "is not a part of a layout", field="layout", value=part.strip(), remedy=remedy
                )
            if name in said:
                raise UserError("is said twice", field=f"layout: {name}", value=value, remedy="Leave one out")
            said[name] = value
        words: dict[str, Any] = {
            name: _word(name, said.pop(name)) for name in ("recompute", "schedule") if name in said
        }
        flag = said.pop("sequence_parallel", None)
        numbers: dict[str, Any] = {name: _number(name, value) for name, value in said.items()}
        tp = numbers.setdefault("tp", 1)
        if "dp" not in numbers:
            numbers["dp"] = _left(chips, [(name, numbers.get(name, 1)) for name in ("tp", "cp", "pp")])
        parallel = tp > 1 if flag is None else _word("sequence_parallel", flag) == "on"
        return cls(**numbers, **words, sequence_parallel=parallel)

    @property
    def columns(self) -> dict[str, float]:
        """The values of the columns of `Layouts`."""
        numbers: dict[str, float] = {name: float(getattr(self, name)) for name in _NUMBERS}
        recompute = next(kind for kind, word in _RECOMPUTE.items() if word == self.recompute)
        schedule = next(kind for kind, word in _SCHEDULE.items() if word == self.schedule)
        own = {"recompute": float(recompute), "schedule": float(schedule)}
        return numbers | own | {"sequence_parallel": float(self.sequence_parallel)}

    def __str__(self) -> str:
        cuts = [("TP", self.tp), ("CP", self.cp), ("PP", self.pp), ("VPP", self.vpp), ("EP", self.ep)]
        parts = [f"{name} {size}" for name, size in cuts if size > 1]
        parts += [
            f"DP {self.dp}",
            f"micro-batch {self.micro_batch}",
            f"ZeRO-{self.zero}" if self.zero else "no ZeRO",
        ]
        parts += [f"recompute {self.recompute}"] * (self.recompute != "none")
        parts += [self.schedule] * (self.schedule != "1f1b")
        return " ".join(parts + ["SP"] * self.sequence_parallel)


def _parts(text: str) -> list[str]:
    """The parts of a layout as `name=value`, whichever way it is written."""
    low = text.strip().lower()
    if not low:
        raise UserError("is empty", field="layout", value=text, remedy="Write for example tp=8,pp=16,mb=1")
    if "=" in low:
        return list(low.split(","))
    for form, part in _PRINTED:
        low = form.sub(part, low)
    found = low.replace(",", " ").split()
    return found if any(part.startswith("sp=") for part in found) else [*found, "sp=off"]


def _left(chips: int, cuts: list[tuple[str, int]]) -> int:
    """Ranks that the cuts leave for DP. Raises UserError naming the first that leaves no whole number."""
    left = chips
    for name, size in cuts:
        if left % size:
            above = f" / {chips // left:,}" * (left != chips)
            remedy = f"Choose a {name.upper()} that divides {left:,}"
            problem = f"{name.upper()} {size} does not divide {chips:,}{above} chips"
            raise UserError(problem, field=f"layout: {name}", value=size, remedy=remedy)
        left //= size
    return left


def _word(name: str, value: str) -> str:
    kinds: dict[str, Collection[str]] = {
        "recompute": _RECOMPUTE.values(), "schedule": _SCHEDULE.values(), "sequence_parallel": _YES,
    }  # fmt: skip
    known = kinds[name]
    if value not in known:
        remedy = f"Known: {', '.join(known)}"
        raise UserError("is not known", field=f"layout: {name}", value=value, remedy=remedy)
    return value if name != "sequence_parallel" else ("on" if _YES[value] else "off")


def _number(name: str, value: str) -> int:
    if not value.isdigit() or (int(value) < 1 and name != "zero") or (name == "zero" and int(value) > 3):
        remedy = "Write 0, 1, 2 or 3" if name == "zero" else "Write a whole number, 1 or more"
        raise UserError("is not understood", field=f"layout: {name}", value=value, remedy=remedy)
    return int(value)


@dataclass(frozen=True, slots=True)
class Interval:
    """A number and the bounds within which it lies with 80 % probability."""

    low: float
    value: float
    high: float

    def over(self, whole: float) -> "Interval":
        """`whole` divided by it: a rate from a time."""
        return Interval(whole / self.high, whole / self.value, whole / self.low)

    def times(self, factor: float) -> "Interval":
        """All three by a factor."""
        return Interval(self.low * factor, self.value * factor, self.high * factor)


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What was asked, defaults filled in."""

    model: str
    chip: str
    fabric: str
    stack: str
    chips: int
    sequence: int
    global_batch: int  # sequences
    precision: str
    tokens: float | None
    #: What nobody said and was assumed, in words.
    assumed: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A whole training run; nothing fails in it unless a goodput is given."""

    days: Interval
    chip_hours: Interval
    energy_kwh: Interval  # chips at their rated power; hosts, network and cooling are left out
    cost: Interval | None
    goodput: Goodput | None
    #: With failures.
    calendar_days: Interval | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """One layout and what it gives."""

    layout: Layout
    chips: int
    step_s: Interval
    tokens_per_s: Interval
    mfu: Interval
    #: Seconds of a step by cause, and bytes of the fullest chip by kind; they sum to step_s.value and
    #: peak_bytes.
    seconds: dict[str, float]
    memory: dict[str, float]
    peak_bytes: float
    fits: bool
    run: Run | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """A region of the space that was left out."""

    rule: str
    reason: str
    remedy: str
    layouts: int
    #: What the best of them would have had, where that can be computed and would fit into memory.
    best_step_s: float | None
    best: Layout | None

    def order(self) -> tuple[bool, float, int]:
        """Sorts regions by what they would have gained, those without a time last."""
        return self.best_step_s is None, self.best_step_s or 0.0, -self.layouts


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """On the front of step time, memory and chips: nothing is better in one and no worse in the others."""

    chips: int
    step_s: float
    peak_bytes: float
    mfu: float
    layout: Layout


@dataclass(frozen=True, slots=True)
class Effect:
    """What one input does to the best layout's step time over its own interval."""

    name: str
    faster_s: float
    slower_s: float
    #: The interval in people's units, its slow end first.
    span: str


@dataclass(frozen=True, slots=True)
class Input:
    """A figure of the catalogue that is no published or measured number."""

    name: str
    value: float
    low: float | None
    high: float | None
    shown: str
    status: Status
    source: str


@dataclass(frozen=True, slots=True)
class Software:
    """What another choice of software would make of the best layout."""

    stack: str
    step_s: float
    fits: bool
    #: It is the one that the plan took.
    assumed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Stability:
    """Whether the best layout stays the best when all figures lie at their slow or fast ends together."""

    stays: bool
    slow: Layout
    fast: Layout
    #: Step times of the best layout with all figures at one end: wider than the 80 % interval.
    slow_s: float
    fast_s: float
    #: What choosing today's best costs at the worse of the two ends, as a share of the best there.
    regret: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The planner's answer."""

    question: Question
    #: Best first, each of its own TP, CP, PP and EP.
    options: tuple[Option, ...]
    #: Layouts of the whole space, those that break no rule, and those that fit into memory too.
    considered: int
    legal: int
    fitting: int
    memory_bytes: float  # of a chip, what is kept back left out
    power_w: float  # of a chip, as rated
    refused: tuple[Refused, ...]
    front: tuple[Point, ...]
    effects: tuple[Effect, ...]
    inputs: tuple[Input, ...]
    #: The chip's decisive figures are themselves ranges.
    uncertain: bool
    stability: Stability | None
    #: Where nobody named the software: what may be meant, the assumed first.
    stacks: tuple[Software, ...] = ()

    @property
    def best(self) -> Option | None:
        """The first option, if there is one."""
        return self.options[0] if self.options else None
