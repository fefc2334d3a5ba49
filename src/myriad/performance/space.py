"""Every layout that the planner considers, built up axis by axis.

After each step the rules that can be judged strike layouts out, with all that would have followed from them,
so few are left long before all axes are there; how many each rule struck is counted exactly.
"""

from dataclasses import dataclass
from math import prod
from typing import Final

import numpy as np
from numpy.typing import NDArray

from myriad.performance import legality
from myriad.performance.columns import Column
from myriad.performance.layouts import Layouts, Recompute, Schedule
from myriad.performance.legality import RULES, TIMED, Setting

#: Axes in the order they are added; DP follows from the first three and the chips.
STEPS: Final = (
    ("tp", "cp", "pp"), ("vpp", "ep", "schedule"), ("micro_batch", "sequence_parallel", "zero"),
    ("recompute",),
)  # fmt: skip
#: Largest TP, CP and micro-batch that are tried, and the fewest tokens of a rank of CP.
_MOST_TP: Final = 64
_MOST_CP: Final = 64
_LEAST_TOKENS: Final = 256
_MOST_MICRO_BATCH: Final = 16

Axes = dict[str, Column]


@dataclass(frozen=True, slots=True, kw_only=True)
class Space:
    """What is left of the product of all axes."""

    #: Layouts that break no rule, or only timed ones.
    layouts: Layouts
    #: Number of the timed rule that each breaks, -1 for none; shape (n,).
    rule: Column
    #: Layouts that each rule of `legality.RULES` struck out, those still in `layouts` left out.
    struck: NDArray[np.int64]
    #: Size of the product of all axes.
    considered: int


def axes(of: Setting) -> Axes:
    """The values that each axis takes: powers of two, divisors of chips for PP, of layers for VPP."""
    layers = of.model.layers
    experts = of.model.moe.experts if of.model.moe else 1
    values = {
        "tp": _powers(min(_MOST_TP, 2 * of.domain)),
        "cp": _powers(min(_MOST_CP, max(of.sequence // _LEAST_TOKENS, 1))),
        "pp": [n for n in divisors(of.chips) if n <= layers + 2],
        "vpp": [n for n in sorted({*divisors(layers), *divisors(layers + 2)}) if n <= max(layers // 2, 1)],
        "ep": divisors(experts),
        "micro_batch": _powers(min(_MOST_MICRO_BATCH, of.global_batch)),
        "recompute": [float(kind) for kind in Recompute],
        "zero": [0, 1, 2, 3],
        "sequence_parallel": [0, 1],
        "schedule": [float(kind) for kind in Schedule],
    }
    return {name: np.array(numbers, dtype=np.float64) for name, numbers in values.items()}


def build(of: Setting, along: Axes, *, fp8: bool = False, timed: bool = True) -> Space:
    """All legal layouts of the product of `along`, and with `timed` those that only a timed rule forbids."""
    at: Axes = {}
    rule = np.full(1, -1.0)
    struck = np.zeros(len(RULES), dtype=np.int64)
    left = prod(len(values) for values in along.values())
    considered = left
    for step in STEPS:
        at, rule = _product(at, rule, {name: along[name] for name in step})
        fresh: tuple[str, ...] = step
        if "dp" not in at:
            at["dp"] = of.chips / (at["tp"] * at["cp"] * at["pp"])
            fresh = (*step, "dp")
        left //= prod(len(along[name]) for name in step)
        found, hard = legality.broken(of, at, fresh)
        rule = np.where(rule < 0, found, rule)
        hard = hard if timed else rule >= 0
        struck += np.bincount(rule[hard].astype(np.int64), minlength=len(RULES)) * left
        at, rule = {name: values[~hard] for name, values in at.items()}, rule[~hard]
    assert TIMED[rule[rule >= 0].astype(np.int64)].all()
    return Space(
        layouts=Layouts.of({**at, "flash": of.flash, "fp8": fp8}),
        rule=rule,
        struck=struck,
        considered=considered,
    )


def _product(at: Axes, rule: Column, more: Axes) -> tuple[Axes, Column]:
    """Every row with every combination of further values; the new values vary fastest."""
    grid = np.meshgrid(*more.values(), indexing="ij")
    size = grid[0].size
    grown = {name: np.repeat(values, size) for name, values in at.items()}
    grown |= {name: np.tile(part.ravel(), len(rule)) for name, part in zip(more, grid, strict=True)}
    return grown, np.repeat(rule, size)


def _powers(most: int) -> list[int]:
    return [2**n for n in range(max(most, 1).bit_length())]


def divisors(number: int) -> list[int]:
    """All divisors, ascending."""
    small = [n for n in range(1, int(number**0.5) + 1) if number % n == 0]
    return sorted({*small, *(number // n for n in small)})
