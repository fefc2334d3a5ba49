"""Draws in blocks: chance of one `Stream`, made into columns.

A block's uniform numbers come from PCG64, whose bits NumPy keeps the same in all versions and whose seed
comes from the Stream; everything else is worked out from them here, by inversion and Box-Muller. Times are
rounded to a second, far above the last bit in which mathematical libraries differ.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from myriad.kernel.rng import Stream

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

#: Submissions of a block: draws cost little more than a block of one, and little memory.
BLOCK = 4096


class Chance:
    """Columns of uniform numbers in [0, 1), reproducible from a stream."""

    def __init__(self, stream: Stream) -> None:
        seed = stream.integer(0, 2**53 - 1)
        self._generator = np.random.Generator(np.random.PCG64(seed))

    def uniform(self, count: int) -> Floats:
        """One column."""
        return self._generator.random(count)

    def normals(self, count: int) -> tuple[Floats, Floats]:
        """Two independent columns of the standard normal distribution."""
        radius = np.sqrt(-2.0 * np.log1p(-self.uniform(count)))
        angle = 2.0 * np.pi * self.uniform(count)
        return radius * np.cos(angle), radius * np.sin(angle)

    def geometric(self, means: Floats) -> Ints:
        """Counts of 1 and more, each with its mean; at most 1,000."""
        stay = 1.0 - 1.0 / means
        drawn = np.log1p(-self.uniform(len(means))) / np.log(np.where(stay > 0, stay, 0.5))
        return np.where(stay > 0, np.minimum(1.0 + np.floor(drawn), 1000.0), 1.0).astype(np.int64)


class Choices:
    """Weighted choices, a list of weights for each row: one search answers for a whole column."""

    def __init__(self, weights: Sequence[Sequence[float]]) -> None:
        width = max(len(row) for row in weights)
        table = np.zeros((len(weights), width))
        for at, row in enumerate(weights):
            table[at, : len(row)] = row
        assert (table.sum(axis=1) > 0).all(), "a row without weights"
        ends = np.cumsum(table, axis=1)
        ends /= ends[:, -1:]
        # what has no weight at the end of a row is never reached
        ends[ends >= 1.0 - 1e-12] = 1.0
        self._width = width
        self._ends: Floats = (ends + np.arange(len(weights))[:, None]).ravel()

    def pick(self, rows: Any, uniform: Floats) -> Ints:
        """For each row number a column number."""
        # the largest number below 1, added to a row number, would be the next row
        below = np.minimum(uniform, 1.0 - 1e-12)
        found = np.searchsorted(self._ends, rows + below, side="right") - rows * self._width
        picked: Ints = np.clip(found, 0, self._width - 1)
        return picked


class Clock:
    """A Poisson process with a weekly rhythm, by inversion of its summed rate: nothing is thrown away."""

    def __init__(self, per_day: float, hours: Sequence[float], days: Sequence[float], start_s: float) -> None:
        rate = np.outer(days, hours).ravel()
        rate = rate / rate.mean() * per_day / 24.0
        self._summed: Floats = np.concatenate([[0.0], np.cumsum(rate)])
        self._hours: Floats = np.arange(len(rate) + 1, dtype=float)
        # the epoch began on a Thursday
        into_week = (start_s / 3600.0 + 3 * 24.0) % 168.0
        self._start_h = into_week
        self._passed = float(np.interp(into_week, self._hours, self._summed))

    def next(self, chance: Chance, count: int) -> Floats:
        """The next arrivals, in seconds since the start."""
        waits = -np.log1p(-chance.uniform(count))
        passed = self._passed + np.cumsum(waits)
        self._passed = float(passed[-1])
        week = self._summed[-1]
        weeks = np.floor(passed / week)
        within = np.interp(passed - weeks * week, self._summed, self._hours)
        hours: Floats = weeks * 168.0 + within - self._start_h
        return hours * 3600.0
