"""The search itself: predicts every layout of a space and ranks what fits into memory.

Between `space` and `planner`. Time and memory come from one pass of `training.predict` over chunks that stay in
the processor's cache.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from myriad.performance import legality, space
from myriad.performance.columns import Column, Flags
from myriad.performance.layouts import Layouts, Schedule
from myriad.performance.legality import Setting
from myriad.performance.machine import Machine
from myriad.performance.space import Axes
from myriad.performance.training import predict
from myriad.performance.work import Work

CHUNK: Final = 16_384
#: Share of a chip's memory that is kept back for fragmentation and peaks between what is counted. Estimated.
RESERVE_SHARE: Final = 0.05
#: Times closer than this are the same to us; the simpler layout goes first.
_SAME: Final = 1e-4


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A space with its predictions."""

    setting: Setting
    layouts: Layouts
    step_s: Column  # (n,)
    peak_bytes: Column  # (n,)
    rule: Column  # (n,): the timed rule that is broken, -1 for none
    fits: Flags  # (n,)
    struck: NDArray[np.int64]
    considered: int
    #: Legal layouts that fit, best first.
    order: NDArray[np.intp]

    def best_of(self, chosen: Flags) -> int | None:
        """Position of the fastest of these that fits; None when none does."""
        able = np.flatnonzero(chosen & self.fits)
        return int(able[np.argmin(self.step_s[able])]) if len(able) else None


def run(
    setting: Setting, work: Work, machine: Machine, *, fp8: bool = False, timed: bool = True, along: Axes | None = None
) -> Found:
    """Predict the whole space, and with `timed` also what only timed rules forbid."""
    built = space.build(setting, along or space.axes(setting), fp8=fp8, timed=timed)
    step_s, peak_bytes = evaluate(work, machine, built.layouts)
    fits = peak_bytes <= usable_bytes(machine)
    legal = np.flatnonzero((built.rule < 0) & fits)
    return Found(
        setting=setting,
        layouts=built.layouts,
        step_s=step_s,
        peak_bytes=peak_bytes,
        rule=built.rule,
        fits=fits,
        struck=built.struck,
        considered=built.considered,
        order=legal[_ranked(built.layouts.take(legal), step_s[legal], peak_bytes[legal])],
    )


def usable_bytes(machine: Machine) -> float:
    """Memory of a chip that a layout may fill."""
    return float(machine.memory_bytes) * (1 - RESERVE_SHARE)


def evaluate(work: Work, machine: Machine, layouts: Layouts) -> tuple[Column, Column]:
    """Step time and peak memory of any number of layouts."""
    size = len(layouts)
    step_s, peak_bytes = np.empty(size), np.empty(size)
    for start in range(0, size, CHUNK):
        part = slice(start, start + CHUNK)
        found = predict(work, machine, layouts.take(part))
        step_s[part], peak_bytes[part] = found.step_s, found.peak_bytes
    return step_s, peak_bytes


def _ranked(layouts: Layouts, step_s: Column, peak_bytes: Column) -> NDArray[np.intp]:
    """By time; the simpler of what is as fast (to a ten-thousandth), then the one with more memory left."""
    if not len(layouts):
        return np.empty(0, dtype=np.intp)
    rounded = np.floor(np.log(step_s / step_s.min()) / _SAME)
    simple = layouts.cp * layouts.ep + layouts.vpp + layouts.pp + layouts.tp + 100 * layouts.schedule
    return np.lexsort((step_s, peak_bytes, simple, rounded))


def varied(found: Found, most: int) -> Iterator[int]:
    """Positions of the best layouts that differ in more than details: in TP, PP, EP, schedule, or FSDP."""
    seen: set[tuple[float, ...]] = set()
    columns = found.layouts
    for position in found.order:
        key = (
            columns.tp[position],
            columns.pp[position],
            columns.ep[position],
            float(columns.schedule[position] != Schedule.ONE_F_ONE_B),
            float(columns.zero[position] >= 2),
        )
        if key not in seen:
            seen.add(key)
            yield int(position)
        if len(seen) >= most:
            return


def regions(found: Found) -> Iterator[tuple[int, int, int | None]]:
    """For each rule that left something out: its number, how many layouts, and the best of those that can be timed."""
    for number, struck in enumerate(found.struck):
        timed = found.rule == number
        count = int(struck) + int(timed.sum())
        if count:
            yield number, count, found.best_of(timed) if legality.TIMED[number] else None
