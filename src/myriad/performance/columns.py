"""Numbers that stand for one layout or for a whole array of them.

Every formula of this package is elementwise over `Column`s of shape () or (n,), so one call answers for one
layout, for a million layouts of one job, or for a table of published runs that differ in everything.
"""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

#: Shape () or (n,).
Column = NDArray[np.float64]
Flags = NDArray[np.bool_]


def column(value: float | Iterable[float]) -> Column:
    """A number, or a sequence of them, as a column."""
    return np.asarray(value, dtype=np.float64)


def total(parts: Iterable[Column]) -> Column:
    """The sum of columns, entry by entry."""
    first, *rest = parts
    whole = first
    for part in rest:
        whole = whole + part
    return whole
