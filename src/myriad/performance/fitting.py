"""What would suit: global batches that layouts divide, and the fewest chips that hold a model.

Between `search` and `planner`, for defaults and for remedies.
"""

import math
from collections.abc import Iterator
from typing import Final

import numpy as np

from myriad.performance import bounds, defaults, legality, search, space
from myriad.performance.layouts import Recompute, Schedule
from myriad.performance.legality import Setting
from myriad.performance.machine import Machine
from myriad.performance.memory import OPTIMIZER_BYTES
from myriad.performance.work import Work

#: How far a batch that nobody chose may lie from the usual one, below and above.
_LEAST, _MOST = 0.85, 1.6
#: What a batch as far from the usual one as that one is large must gain in speed.
_FAR: Final = 0.1
#: Batches that are looked at: by default, and to name the nearest that work.
_CANDIDATES, _NEAREST = 8, 40
#: The chips that are tried reach this many times what gradients and optimizer fill.
_FEWEST_REACH: Final = 64


def resized(of: Setting, **changed: int) -> Setting:
    """A setting with other chips or another global batch."""
    return Setting(**{name: getattr(of, name) for name in Setting.__slots__} | changed)


def batch(of: Setting, machine: Machine, wished: float, *, fp8: bool) -> tuple[int, int]:
    """The global batch near `wished` that the chips get through fastest, and how many were looked at.

    The nearest that many numbers of DP ranks divide, unless one that shares more factors with the chips gains
    more tokens/s than it lies far off; where none of these works, the nearest that does.
    """
    near = defaults.sequences_of(wished, of.chips)
    rivals = [near, *_rivals(near, wished, of.chips)]

    def worth(sequences: int) -> float:
        return _tokens_per_s(of, machine, sequences, fp8) * (1 - _FAR * abs(sequences / wished - 1))

    best = max(rivals, key=worth)
    if worth(best) == 0 and (far := nearest_batches(resized(of, global_batch=near), machine, fp8=fp8)):
        # no layout divides what is usual, or none that fits
        return min(far, key=lambda one: abs(one / wished - 1)), 1 + len(far)
    return best, len(rivals)


def _rivals(near: int, wished: float, chips: int) -> list[int]:
    """For each larger common divisor with the chips the nearest batch that has it, largest divisor first."""
    found: dict[int, None] = {}
    for divisor in reversed(space.divisors(chips)):
        if divisor <= math.gcd(near, chips):
            break
        multiple = max(round(wished / divisor), 1) * divisor
        if _LEAST * wished <= multiple <= _MOST * wished:
            found[multiple] = None
    return list(found)[:_CANDIDATES]


def _tokens_per_s(of: Setting, machine: Machine, sequences: int, fp8: bool) -> float:
    """The most that a layout which fits gets through; 0 where none does."""
    work = Work.of(of.model, sequence=of.sequence, global_batch=sequences)
    found = search.run(resized(of, global_batch=sequences), work, machine, fp8=fp8, timed=False)
    return float(work.tokens) / float(found.step_s[found.near[0]]) if len(found.near) else 0.0


def nearest_batches(of: Setting, machine: Machine, *, fp8: bool) -> list[int]:
    """The nearest global batches below and above that some layout divides and that fit, where there are."""
    along = space.axes(of)
    grid = np.meshgrid(along["tp"], along["cp"], along["pp"], indexing="ij")
    at = dict(zip(("tp", "cp", "pp"), (axis.ravel() for axis in grid), strict=True))
    at["dp"] = of.chips / (at["tp"] * at["cp"] * at["pp"])
    broken, _ = legality.broken(of, at)
    ranks = np.unique(at["dp"][broken < 0])
    below = np.floor(of.global_batch / ranks) * ranks
    above = np.ceil(of.global_batch / ranks) * ranks
    found = []
    for many in (np.unique(below[below > 0])[::-1], np.unique(above)):
        works = (int(n) for n in many[:_NEAREST] if _tokens_per_s(of, machine, int(n), fp8) > 0)
        found += [n for n in [next(works, 0)] if n]
    return sorted(set(found))


def fewest_chips(of: Setting, machine: Machine) -> int | None:
    """The fewest whole nodes on which a layout of this batch fits into memory; None: not within reach."""
    held = (float(machine.reduce_bytes) + OPTIMIZER_BYTES) * of.model.parameters
    nodes = math.ceil(held / search.usable_bytes(machine) / of.chips_per_node)
    work = Work.of(of.model, sequence=of.sequence, global_batch=of.global_batch)
    for count in _growing(nodes):
        small = resized(of, chips=count * of.chips_per_node)
        if small.chips > legality.MOST_CHIPS:
            return None
        if _least_bytes(small, work, machine) <= search.usable_bytes(machine):
            return small.chips
    return None


def _growing(nodes: int) -> Iterator[int]:
    """One by one, then by ever larger steps."""
    count = nodes
    while count <= _FEWEST_REACH * nodes:
        yield count
        count += max(1, count // 64)


def _least_bytes(of: Setting, work: Work, machine: Machine) -> float:
    """Memory of the layout that needs least: everything recomputed, single sequences, no interleaving."""
    one = np.ones(1)
    along = space.axes(of) | {
        "vpp": one, "micro_batch": one, "zero": np.array([1.0, 3.0]),
        "recompute": np.array([float(Recompute.FULL)]), "schedule": np.array([float(Schedule.ONE_F_ONE_B)]),
    }  # fmt: skip
    layouts = space.build(of, along, timed=False).layouts
    return float(bounds.of(work, machine, layouts).peak_bytes.min()) if len(layouts) else math.inf
