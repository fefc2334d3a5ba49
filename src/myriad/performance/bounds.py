"""What can be said of a layout without predicting it: its memory, exactly, and a time it cannot beat.

Between `space` and `search`. A step takes at least what its fullest stage computes for all micro-batches and,
in a plain pipeline, waits for at its ends; all other causes only add. So the search leaves out, and still
misses nothing, what this bound already shows to be worse.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from myriad.performance import layer, memory, stages
from myriad.performance.columns import Column, total
from myriad.performance.layer import Layer
from myriad.performance.layouts import Layouts, Schedule
from myriad.performance.machine import Machine
from myriad.performance.work import Work

#: Columns that decide what a layer costs, with room for their values; the rest is the same in a search.
_CUT = (
    ("tp", 128),
    ("cp", 128),
    ("ep", 1024),
    ("micro_batch", 32),
    ("recompute", 4),
    ("sequence_parallel", 2),
)

_CHUNK = 16_384

Positions = NDArray[np.intp]


class Bounds(NamedTuple):
    """Of n layouts; shape (n,)."""

    least_s: Column
    peak_bytes: Column


def of(work: Work, machine: Machine, layouts: Layouts) -> Bounds:
    """The bound of each layout's step time, and its peak memory as `predict` gives it."""
    size = len(layouts)
    found = Bounds(np.empty(size), np.empty(size))
    if not size:
        return found
    first, inverse = _cuts(layouts)
    one = layer.cost(work, machine, layouts.take(first))
    for start in range(0, size, _CHUNK):
        part = slice(start, start + _CHUNK)
        found.least_s[part], found.peak_bytes[part] = _part(
            work, machine, layouts.take(part), one, inverse[part]
        )
    return found


def _part(work: Work, machine: Machine, layouts: Layouts, one: Layer, cut: Positions) -> Bounds:
    """A part of them that stays in the processor's cache; `one` is a layer of each cut."""
    parts = stages.split(work, layouts)
    nothing = np.zeros(())
    weights = Layer(
        forward={}, backward={}, recompute=nothing, weight_gradient=nothing,
        dense_weights=one.dense_weights[cut], expert_weights=one.expert_weights[cut],
    )  # fmt: skip
    kinds = memory.peak_bytes(work, machine, layouts, weights, parts)
    plain = layouts.schedule == Schedule.ONE_F_ONE_B
    waits = np.where(plain, (layouts.pp - 1) / layouts.vpp, 0.0)
    least = parts.layers * (parts.micro_batches + waits) * (one.forward_s + one.backward_s)[cut]
    return Bounds(least, total(kinds.values()))


def _cuts(layouts: Layouts) -> tuple[Positions, Positions]:
    """Positions of one layout of each distinct cut, and which cut each layout has."""
    code = np.zeros(len(layouts), dtype=np.int64)
    for name, room in _CUT:
        code = code * room + getattr(layouts, name).astype(np.int64)
    # neighbours mostly share a cut, so runs are found first and few codes sorted
    starts = np.flatnonzero(np.concatenate([[True], code[1:] != code[:-1]]))
    _, first, place = np.unique(code[starts], return_index=True, return_inverse=True)
    lengths = np.diff(np.concatenate([starts, [len(code)]]))
    return starts[first], np.repeat(place, lengths)
