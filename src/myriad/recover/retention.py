"""Which checkpoints to remember: the newest, and of the older ones fewer the older they are.

A fault that is found late (silent corruption) has spoiled all that was saved since: the way back must reach
behind it, in few jumps.
"""

from collections.abc import Sequence
from typing import Final

#: The newest, all of them; and how many in all. Estimated: gaps then grow by about half from one to the next.
NEWEST: Final = 4
MOST: Final = 12


def superfluous(steps: Sequence[int]) -> int | None:
    """Index of the one to give up, of steps in rising order; None: they are few enough.

    It is the one whose absence leaves the smallest gap for its age; the first and the newest stay.
    """
    if len(steps) <= MOST:
        return None
    last = steps[-1]
    inner = range(1, len(steps) - NEWEST)
    return min(inner, key=lambda k: (steps[k + 1] - steps[k - 1]) / (last - steps[k] + 1))
