"""A histogram with fixed bounds, for metrics: cheap to feed, and no larger for all that it saw."""

from bisect import bisect_left
from collections.abc import Sequence


class Histogram:
    """Counts by upper bound (inclusive), the sum, and the largest value."""

    __slots__ = ("bounds", "counts", "largest", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = tuple(bounds)
        #: One count for each bound, not cumulative, and one for what is above the last.
        self.counts = [0] * (len(self.bounds) + 1)
        self.total = 0.0
        self.largest = 0.0

    def observe(self, value: float) -> None:
        """One more value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value
        self.largest = max(value, self.largest)

    @property
    def count(self) -> int:
        """How many values there were."""
        return sum(self.counts)
