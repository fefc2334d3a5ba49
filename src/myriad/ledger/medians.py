"""Medians of long streams in bounded memory, the same for the same stream."""

from bisect import bisect_left, insort
from collections import deque


class Recent:
    """Median of the last `size` values."""

    __slots__ = ("_order", "_size", "_sorted")

    def __init__(self, size: int) -> None:
        self._size = size
        self._order: deque[int] = deque()
        self._sorted: list[int] = []

    def __len__(self) -> int:
        return len(self._sorted)

    def add(self, value: int) -> None:
        """One more value; the oldest leaves."""
        self._order.append(value)
        insort(self._sorted, value)
        if len(self._order) > self._size:
            del self._sorted[bisect_left(self._sorted, self._order.popleft())]

    def median(self) -> int:
        """The lower median; 0 of nothing."""
        return self._sorted[(len(self._sorted) - 1) // 2] if self._sorted else 0


class Sample:
    """Every value while they are few; then every second, every fourth … of them: an even sample."""

    __slots__ = ("_every", "_seen", "_values")
    _MOST = 2048

    def __init__(self) -> None:
        self._values: list[int] = []
        self._every = 1
        self._seen = 0

    def add(self, value: int) -> None:
        """One more value of the stream."""
        if self._seen % self._every == 0:
            self._values.append(value)
        self._seen += 1
        if len(self._values) >= self._MOST:
            self._values = self._values[::2]
            self._every *= 2

    def median(self) -> int:
        """The lower median of the sample; 0 of nothing."""
        ordered = sorted(self._values)
        return ordered[(len(ordered) - 1) // 2] if ordered else 0
