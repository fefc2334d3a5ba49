"""Gangs that can change their size: when growing pays.

Growing is a checkpoint, a restart and fewer hours after it. It pays when the time saved is a multiple of the
restart, since predictions err and each restart may fail.
"""

from collections.abc import Sequence

from myriad.kernel.units import Span


def larger(sizes: Sequence[int], nodes: int, free: int) -> int:
    """The largest allowed size (sizes: largest first) that `free` more nodes make possible; 0: none."""
    return next((size for size in sizes if nodes < size <= nodes + free), 0)


def pays(left_ns: Span, nodes: int, size: int, restart_ns: Span, gain: float) -> bool:
    """Whether going on with `size` nodes saves more than `gain` restarts of the `left_ns` ahead."""
    return left_ns - left_ns * nodes // size > gain * restart_ns
