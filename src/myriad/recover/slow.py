"""Fail-slow: which node of a gang takes longer for the same work, and is it worth moving away from it?

Judged on each node's own time for a step, waiting for others left out: in step time all nodes look alike,
since each waits for the slowest. Median and MAD over the gang, as nothing else may be known of what is
normal and the slow ones must not spoil the measure; sustained, as most slowdowns pass (GREYHOUND, ATC 2025).
"""

from collections.abc import Mapping, Sequence
from typing import Final

from myriad.kernel.ids import NodeId
from myriad.kernel.units import Span
from myriad.recover.policy import Policy

#: MAD x this is the standard deviation, were it normal.
_SIGMA: Final = 1.4826
#: Of fewer nodes nobody can say which is the odd one.
_LEAST: Final = 3


def outliers(paces: Mapping[NodeId, Span], policy: Policy) -> dict[NodeId, float]:
    """Nodes that were slow in this report, with their time over the median's."""
    if len(paces) < _LEAST:
        return {}
    middle = _median(list(paces.values()))
    sigma = _SIGMA * _median([abs(pace - middle) for pace in paces.values()])
    limit = max(middle * policy.slow_ratio, middle + policy.slow_deviations * sigma)
    return {node: pace / middle for node, pace in paces.items() if pace > limit and middle > 0}


def worth_moving(ratio: float, left_ns: Span, move_ns: Span) -> bool:
    """Whether the gang loses more by waiting for a node `ratio` times slower than by moving once."""
    return left_ns * (1.0 - 1.0 / ratio) > move_ns


def _median(values: Sequence[float]) -> float:
    ordered = sorted(values)
    half = len(ordered) // 2
    return ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2
