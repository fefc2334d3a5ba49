"""The search itself: finds the best of all layouts of a space, and their front, predicting as few as it must.

Between `bounds` and `planner`. Exhaustive: what is not predicted has a bound that is already worse than what
was found. Predictions run over chunks that stay in the processor's cache.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from myriad.performance import bounds, front, legality, space
from myriad.performance.bounds import Bounds
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
#: Layouts up to this much slower than the best are near it, and all of them are predicted.
NEAR: Final = 1.5
#: Layouts that are looked at to begin with.
_SAMPLE: Final = 256
#: Times closer than this are the same to us; the simpler layout goes first.
_SAME: Final = 1e-4

Positions = NDArray[np.intp]


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A space, with what was predicted of it."""

    setting: Setting
    layouts: Layouts
    #: Step time, and infinity where the bound said enough; shape (n,).
    step_s: Column
    peak_bytes: Column  # (n,)
    rule: Column  # (n,): the timed rule that is broken, -1 for none
    fits: Flags  # (n,)
    struck: NDArray[np.int64]
    considered: int
    #: Legal layouts that fit and are near the best, best first; all of them are in `near`.
    near: Positions
    #: Those of all legal layouts that fit which nothing beats in time and memory both.
    front: Positions


def run(
    setting: Setting,
    work: Work,
    machine: Machine,
    *,
    fp8: bool = False,
    timed: bool = True,
    along: Axes | None = None,
    pruned: bool = True,
) -> Found:
    """Search the whole space, and with `timed` also what only timed rules forbid.

    Without `pruned` everything is predicted, for those who want to see it or doubt the bounds.
    """
    built = space.build(setting, along or space.axes(setting), fp8=fp8, timed=timed)
    known = bounds.of(work, machine, built.layouts)
    fits = known.peak_bytes <= usable_bytes(machine)
    seen = _Seen(work, machine, built.layouts, known)
    if not pruned:
        seen.look(np.arange(len(built.layouts)))
    legal = np.flatnonzero((built.rule < 0) & fits)
    best = seen.best(legal, NEAR)
    near = legal[seen.step_s[legal] <= NEAR * best]
    found = seen.front(legal)
    if timed:
        for number in np.unique(built.rule[built.rule >= 0]):
            seen.best(np.flatnonzero((built.rule == number) & fits), 1.0)
        seen.best(np.flatnonzero((built.rule < 0) & ~fits), 1.0)
    return Found(
        setting=setting,
        layouts=built.layouts,
        step_s=seen.step_s,
        peak_bytes=known.peak_bytes,
        rule=built.rule,
        fits=fits,
        struck=built.struck,
        considered=built.considered,
        near=near[_ranked(built.layouts.take(near), seen.step_s[near], known.peak_bytes[near])],
        front=found,
    )


def usable_bytes(machine: Machine) -> float:
    """Memory of a chip that a layout may fill."""
    return float(machine.memory_bytes) * (1 - RESERVE_SHARE)


def evaluate(work: Work, machine: Machine, layouts: Layouts) -> Column:
    """Step time of any number of layouts."""
    step_s = np.empty(len(layouts))
    for start in range(0, len(layouts), CHUNK):
        part = slice(start, start + CHUNK)
        step_s[part] = predict(work, machine, layouts.take(part)).step_s
    return step_s


class _Seen:
    """Which layouts were predicted, and what for; the only thing here that changes."""

    def __init__(self, work: Work, machine: Machine, layouts: Layouts, known: Bounds) -> None:
        self._work, self._machine, self._layouts, self._known = work, machine, layouts, known
        self.step_s: Column = np.full(len(layouts), np.inf)

    def look(self, at: Positions) -> None:
        """Predict these, in their order in the space, which keeps like with like."""
        new = np.sort(at[np.isinf(self.step_s[at])])
        self.step_s[new] = evaluate(self._work, self._machine, self._layouts.take(new))

    def best(self, among: Positions, factor: float) -> float:
        """The shortest time of some; everything up to `factor` times as long has then been predicted."""
        if not len(among):
            return np.inf
        # a sample first: the best of it bounds what has to be looked at
        self.look(self._first(among, _SAMPLE))
        limit, todo = float(self.step_s[among].min()), among
        while True:
            todo = todo[(self._known.least_s[todo] <= factor * limit) & np.isinf(self.step_s[todo])]
            if not len(todo):
                return limit
            chosen = self._first(todo)
            self.look(chosen)
            limit = min(limit, float(self.step_s[chosen].min()))

    def _first(self, todo: Positions, count: int = CHUNK) -> Positions:
        """Those with the lowest bounds."""
        if len(todo) <= count:
            return todo
        return todo[np.argpartition(self._known.least_s[todo], count)[:count]]

    def front(self, among: Positions) -> Positions:
        """Positions of what nothing beats in time and memory."""
        if not len(among):
            return among
        small = np.argpartition(self._known.peak_bytes[among], min(_SAMPLE, len(among)) - 1)[:_SAMPLE]
        self.look(among[small])
        todo = among
        while True:
            known = among[np.isfinite(self.step_s[among])]
            found = known[front.of_two(self.step_s[known], self._known.peak_bytes[known])]
            todo = todo[np.isinf(self.step_s[todo])]
            # the least memory of anything as fast as a layout could at best be
            place = np.searchsorted(self.step_s[found], self._known.least_s[todo], side="right") - 1
            beaten = (place >= 0) & (self._known.peak_bytes[found][place] <= self._known.peak_bytes[todo])
            todo = todo[~beaten]
            if not len(todo):
                return found
            self.look(self._first(todo))


def _ranked(layouts: Layouts, step_s: Column, peak_bytes: Column) -> Positions:
    """By time; the simpler of what is as fast (to a ten-thousandth), then the one with more memory left."""
    if not len(layouts):
        return np.empty(0, dtype=np.intp)
    rounded = np.floor(np.log(step_s / step_s.min()) / _SAME)
    simple = layouts.cp * layouts.ep + layouts.vpp + layouts.pp + layouts.tp + 100 * layouts.schedule
    return np.lexsort((step_s, peak_bytes, simple, rounded))


def varied(found: Found, most: int) -> list[int]:
    """Positions of the best layouts that differ in more than details: in TP, PP, EP, schedule, or FSDP.

    The best without a zero-bubble schedule is always among them, since much software has none.
    """
    seen: dict[tuple[float, ...], int] = {}
    columns = found.layouts
    plain = None
    for position in found.near:
        bubbles = bool(columns.schedule[position] == Schedule.ONE_F_ONE_B)
        sharded = bool(columns.zero[position] >= 2)
        key = (columns.tp[position], columns.pp[position], columns.ep[position], bubbles, sharded)
        if plain is None and bubbles:
            plain = int(position)
        if len(seen) < most:
            seen.setdefault(key, int(position))
        if len(seen) >= most and plain is not None:
            break
    kept = list(seen.values())
    return kept if plain is None or plain in kept or most < 2 else [*kept[: most - 1], plain]


def regions(found: Found) -> Iterator[tuple[int, int, int | None]]:
    """For each rule that left something out: its number, how many layouts, and the best that was timed."""
    for number, struck in enumerate(found.struck):
        timed = found.rule == number
        count = int(struck) + int(timed.sum())
        if count:
            able = (
                np.flatnonzero(timed & found.fits) if legality.TIMED[number] else np.empty(0, dtype=np.intp)
            )
            yield number, count, int(able[np.argmin(found.step_s[able])]) if len(able) else None
