"""Blocks of chips inside a node: which sub-node allocations are possible, and which to take.

A share of a node is a power of two of its chips, aligned to its own size, so that it never straddles two
halves of the scale-up topology (the buddy system: Knowlton, CACM 8(10), 1965). Three chips are taken from a
block of four. A mask has bit k set where chip k is free.
"""

from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

#: For blocks of 1, 2, 4 … 32 chips: the bits at which an aligned block may begin.
_STARTS: Final = (
    0xFFFFFFFFFFFFFFFF,
    0x5555555555555555,
    0x1111111111111111,
    0x0101010101010101,
    0x0001000100010001,
    0x0000000100000001,
)
SIZES: Final = (1, 2, 4, 8, 16, 32)
#: Answers that are kept: the same few hundred masks come again and again.
_KNOWN: Final = 4096


@lru_cache(_KNOWN)
def room(free: int, chips: int) -> int:
    """Chips of the largest block that is free: all of an empty node, else a power of two; 0 if none."""
    if free == (1 << chips) - 1:
        return chips
    found, starts = 0, free
    for size, aligned in zip(SIZES, _STARTS, strict=True):
        starts = _blocks(starts, size, aligned)
        if not starts:
            break
        found = size
    return found


def rooms(free: NDArray[np.uint64], chips: NDArray[np.int16]) -> NDArray[np.int16]:
    """`room` of many nodes, shape (n,)."""
    found = np.zeros(len(free), np.int16)
    starts = free
    for size, aligned in zip(SIZES, _STARTS, strict=True):
        if size > 1:
            starts = starts & (starts >> np.uint64(size // 2)) & np.uint64(aligned)
        here = starts != 0
        if not here.any():
            break
        found[here] = size
    empty = np.bitwise_count(free) == chips
    found[empty] = chips[empty]
    return found


@lru_cache(_KNOWN)
def pick(free: int, chips: int, count: int) -> int:
    """A mask of `count` free chips from the tightest block that has them, lowest first.

    The node must have room for them: `count <= room(free, chips)`.
    """
    if free == (1 << chips) - 1 and count == chips:
        return free
    size = 1 << (count - 1).bit_length()
    level = size.bit_length() - 1
    starts = free
    for step in range(level + 1):
        starts = _blocks(starts, SIZES[step], _STARTS[step]) if step < len(SIZES) else 0
    if not starts:
        # no block that large: an empty node whose chips are not a power of two
        assert free == (1 << chips) - 1 and count <= chips, f"no room for {count} of {chips} in {free:b}"
        return (1 << count) - 1
    # the tightest block: one that is no half of a free block of twice, four times … the size
    while level + 1 < len(SIZES):
        larger = _blocks(starts, SIZES[level + 1], _STARTS[level + 1])
        spread = larger | larger << SIZES[level]
        if starts & ~spread:
            starts &= ~spread
            break
        starts, level = larger, level + 1
    return ((1 << count) - 1) << ((starts & -starts).bit_length() - 1)


def _blocks(starts: int, size: int, aligned: int) -> int:
    """Where blocks of `size` begin, given where those of half the size do."""
    return starts & starts >> (size // 2) & aligned if size > 1 else starts
