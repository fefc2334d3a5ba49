"""Means and shares of a workload in closed form: what the generator gives in the long run."""

import math
from collections.abc import Callable, Iterable

from myriad.kernel import units
from myriad.twin.workload.shapes import Ending, JobClass, Lasts


def _phi(z: float) -> float:
    """Cumulative standard normal distribution."""
    return 0.5 * math.erfc(-z / math.sqrt(2.0))


def mean_s(part: Lasts) -> float:
    """Mean of a lognormal run time cut off at both ends, in seconds."""
    low, high = units.seconds(units.span_ns(part.least)), units.seconds(units.span_ns(part.most))
    median, sigma = units.seconds(units.span_ns(part.median)), part.sigma
    return clipped_mean(median, sigma, low, high)


def clipped_mean(median: float, sigma: float, low: float, high: float) -> float:
    """Mean of min(max(X, low), high) for lognormal X."""
    if sigma == 0:
        return min(max(median, low), high)
    a = (math.log(low) - math.log(median)) / sigma
    b = (math.log(high) - math.log(median)) / sigma
    inside = median * math.exp(sigma * sigma / 2) * (_phi(b - sigma) - _phi(a - sigma))
    return inside + low * _phi(a) + high * (1 - _phi(b))


def below(part: Lasts, seconds: float) -> float:
    """Share of run times of at most so many seconds."""
    if seconds >= units.seconds(units.span_ns(part.most)):
        return 1.0
    if seconds < units.seconds(units.span_ns(part.least)):
        return 0.0
    median = units.seconds(units.span_ns(part.median))
    if part.sigma == 0:
        return float(seconds >= median)
    return _phi(math.log(seconds / median) / part.sigma)


def over(ending: Ending, of: Callable[[Lasts], float]) -> float:
    """Mean of a figure over the parts of a mixture."""
    return sum(part.weight * of(part) for part in ending.lasts) / sum(part.weight for part in ending.lasts)


def run_s(kind: JobClass) -> float:
    """Mean run time of a class, in seconds."""
    total = sum(ending.share for ending in kind.endings)
    return sum(ending.share * over(ending, mean_s) for ending in kind.endings) / total


def mean_size(kind: JobClass, chips: Callable[[float], float] = float) -> float:
    """Mean gang size of a class, each size as `chips` counts it."""
    return sum(weight * chips(size) for size, weight in kind.sizes.items()) / sum(kind.sizes.values())


def chip_s(classes: Iterable[JobClass], chips: Callable[[JobClass, float], float]) -> float:
    """Mean chip-seconds of a job, each size as `chips` counts it. Run times do not depend on the size."""
    kinds = tuple(classes)
    total = sum(kind.share for kind in kinds)
    sums = (
        kind.share * mean_size(kind, lambda size, kind=kind: chips(kind, size)) * run_s(kind)  # type: ignore[misc]
        for kind in kinds
    )
    return sum(sums) / total
