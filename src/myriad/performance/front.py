"""The Pareto front of step time, memory and chips: what nothing else beats in all three."""

import numpy as np
from numpy.typing import NDArray

from myriad.performance.columns import Column

Positions = NDArray[np.intp]


def of_two(first: Column, second: Column) -> Positions:
    """Positions of the entries that no other equals or beats in both numbers; shape (k,), by `first`."""
    order = np.lexsort((second, first))
    best_before = np.minimum.accumulate(np.concatenate([[np.inf], second[order][:-1]]))
    found: Positions = order[second[order] < best_before]
    return found


def of_three(first: Column, second: Column, third: Column) -> Positions:
    """The same in three numbers, each the smaller the better; shape (k,), by `third`, then `first`."""
    kept: list[Positions] = []
    ahead = np.empty((0, 2))
    for level in np.unique(third):
        here = np.flatnonzero(third == level)
        found = here[of_two(first[here], second[here])]
        mine = np.column_stack([first[found], second[found]])
        beaten = np.array([bool(np.any(np.all(ahead <= row, axis=1))) for row in mine], dtype=bool)
        kept.append(found[~beaten])
        ahead = np.concatenate([ahead, mine[~beaten]])
    return np.concatenate(kept) if kept else np.empty(0, dtype=np.intp)
