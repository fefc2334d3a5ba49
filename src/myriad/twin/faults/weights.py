"""One of many by weight, in log time, while the weights change: a binary indexed tree (Fenwick, 1994)."""

from collections.abc import Sequence


class Weights:
    """Weights of rows 0 to n - 1. Choosing and changing cost log2(n) additions."""

    def __init__(self, weights: Sequence[float]) -> None:
        if not weights:
            raise ValueError("weights must be one or more")
        self._weights = list(weights)
        size = len(self._weights)
        self._tree = [0.0, *self._weights]
        for row in range(1, size + 1):
            above = row + (row & -row)
            if above <= size:
                self._tree[above] += self._tree[row]
        self._top = 1 << (size.bit_length() - 1)
        self.total = sum(self._weights)

    def __getitem__(self, row: int) -> float:
        return self._weights[row]

    def set(self, row: int, weight: float) -> None:
        """Give a row another weight, 0 or more."""
        change = weight - self._weights[row]
        self._weights[row] = weight
        self.total += change
        place, size = row + 1, len(self._weights)
        while place <= size:
            self._tree[place] += change
            place += place & -place

    def choose(self, share: float) -> int:
        """The row at a share in [0, 1) of the total; a row of weight 0 is never chosen but by rounding."""
        left, place, step = share * self.total, 0, self._top
        size = len(self._weights)
        while step:
            following = place + step
            if following <= size and self._tree[following] <= left:
                place, left = following, left - self._tree[following]
            step >>= 1
        row = min(place, size - 1)
        while row and not self._weights[row]:
            row -= 1
        return row
