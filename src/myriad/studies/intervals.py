"""Means of repeated simulations with 95 % confidence intervals, by Student's t-distribution.

The quantile is computed, not tabled: for whole degrees of freedom the distribution has a closed form
(Abramowitz and Stegun, Handbook of Mathematical Functions, 26.7.3 and 26.7.4), which is solved by bisection.
"""

import functools
import math
from collections.abc import Sequence
from typing import Final

import msgspec

#: The share of intervals that hold the true mean, for values that are about normally distributed.
LEVEL: Final = 0.95


class Interval(msgspec.Struct, frozen=True, kw_only=True):
    """The mean of some values, and how far the true mean may be from it."""

    mean: float
    #: Half the width of the 95 % confidence interval; None for a single value, which says nothing of spread.
    half: float | None
    #: How many values.
    count: int

    @property
    def low(self) -> float:
        """The lower end; the mean when the spread is unknown."""
        return self.mean - (self.half or 0.0)

    @property
    def high(self) -> float:
        """The upper end."""
        return self.mean + (self.half or 0.0)


def shown(found: Interval | None, sign: str = "") -> str:
    """`0.912 ± 0.013`: two figures of the half width, and the mean to the same place. `sign` may be `+`."""
    if found is None:
        return "-"
    if found.half is None or not found.half:
        return f"{found.mean:{sign},.5g}" + ("" if found.half is None else " ± 0")
    places = 1 - math.floor(math.log10(found.half))
    if places > 0:
        return f"{found.mean:{sign},.{places}f} ± {found.half:,.{places}f}"
    return f"{round(found.mean, places):{sign},.0f} ± {round(found.half, places):,.0f}"


def of(values: Sequence[float]) -> Interval:
    """The mean of one value or more, with its interval. The order of the values does not matter."""
    count = len(values)
    mean = math.fsum(values) / count
    if count < 2:
        return Interval(mean=mean, half=None, count=count)
    variance = math.fsum((value - mean) ** 2 for value in values) / (count - 1)
    half = student_t(count - 1) * math.sqrt(variance / count)
    return Interval(mean=mean, half=half, count=count)


@functools.cache
def student_t(freedom: int, level: float = LEVEL) -> float:
    """How many standard errors the two-sided interval reaches, for `freedom` >= 1 degrees of freedom."""
    low, high = 0.0, 1.0
    while within(high, freedom) < level:
        high *= 2
    for _ in range(200):
        middle = (low + high) / 2
        if not low < middle < high:
            break
        low, high = (middle, high) if within(middle, freedom) < level else (low, middle)
    return high


def within(t: float, freedom: int) -> float:
    """The probability that Student's t is between -t and t."""
    angle = math.atan(t / math.sqrt(freedom))
    cosine = math.cos(angle)
    odd = freedom % 2
    term = cosine if odd else 1.0
    total = 0.0
    for k in range(freedom // 2):
        total += term
        step = (2 * k + 2) / (2 * k + 3) if odd else (2 * k + 1) / (2 * k + 2)
        term *= step * cosine * cosine
    total *= math.sin(angle)
    return 2 / math.pi * (angle + total) if odd else total
