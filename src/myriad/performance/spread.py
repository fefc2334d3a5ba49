"""How sure a prediction is: every input moved over its own interval, one after the other.

Inputs are taken as independent, so their effects on the logarithm of the step time add as squares; the error
that the formulas themselves have adds the same way. All inputs at one end together are the outermost case.
"""

from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Final, NamedTuple

import numpy as np

from myriad.catalog import figures, listing
from myriad.performance.columns import Column
from myriad.performance.layouts import Layouts
from myriad.performance.machine import Level, Machine
from myriad.performance.training import predict
from myriad.performance.work import Work

#: Half-width of the 80 % interval that the formulas have with all inputs right. Estimated.
MODEL_SPREAD: Final = 0.10
#: Names of inputs as people read them; others are said as they are written.
_NAMES: Final = {
    "flops": "peak FLOP/s",
    "memory_bytes_per_s": "memory bandwidth",
    "gemm_share": "share of peak of matrix products",
    "fp8_share": "share of peak of 8-bit products",
    "gemm_half": "size at which products slow down",
    "attention_share": "share of peak of attention",
    "memory_share": "share of memory bandwidth",
}
_LEVELS: Final = ("scale-up", "first network level", "second network level")


class Ends(NamedTuple):
    """A machine and its two ends."""

    middle: Machine
    slow: Machine
    fast: Machine


class Spread(NamedTuple):
    """Of k layouts."""

    low_s: Column  # (k,)
    high_s: Column  # (k,)
    #: Bounds of the FLOP/s reached over the peak, relative to the middle; where the peak itself is a range it
    #: moves both. (k,)
    least_mfu: Column
    most_mfu: Column
    names: tuple[str, ...]  # of inputs
    ranges: tuple[str, ...]  # of the same, from the slow end to the fast
    #: Step time with one input at its fast or slow end; shape (k, inputs).
    fast_s: Column
    slow_s: Column


def of(work: Work, ends: Ends, layouts: Layouts, middle_s: Column) -> Spread:
    """The 80 % interval of each layout's step time. Costs a prediction for each input and end."""
    moved = list(_moved(ends))
    machines = [machine for _, _, pair in moved for machine in pair]
    count = len(layouts)
    change = np.zeros((count, len(moved), 2))
    if machines:
        table = Machine.stacked(machines * count)
        each = layouts.take(np.repeat(np.arange(count), len(machines)))
        times = predict(work, table, each).step_s.reshape(change.shape)
        change = np.log(times / middle_s[:, None, None])
    peaks = np.array([float(machine.flops / ends.middle.flops) for machine in machines]).reshape(
        1, len(moved), 2
    )
    faster, slower = _added(change)
    more, less = _added(change + np.log(peaks))
    one = middle_s[:, None]
    return Spread(
        low_s=middle_s * np.exp(-faster),
        high_s=middle_s * np.exp(slower),
        least_mfu=np.exp(-less),
        most_mfu=np.exp(more),
        names=tuple(name for name, _, _ in moved),
        ranges=tuple(words for _, words, _ in moved),
        fast_s=one * np.exp(change.min(axis=2)),
        slow_s=one * np.exp(change.max(axis=2)),
    )


def _added(change: Column) -> tuple[Column, Column]:
    """Logarithms by which all inputs together lower and raise a number, the formulas' own error included."""
    model = np.log1p(MODEL_SPREAD) ** 2
    lower = np.sqrt(np.sum(np.minimum(change.min(axis=2, initial=0.0), 0.0) ** 2, axis=1) + model)
    higher = np.sqrt(np.sum(np.maximum(change.max(axis=2, initial=0.0), 0.0) ** 2, axis=1) + model)
    return lower, higher


def _moved(ends: Ends) -> "Sequence[tuple[str, str, tuple[Machine, Machine]]]":
    """For each input that is a range: its name, its range, and the middle machine with it at either end."""
    found: list[tuple[str, str, tuple[Machine, Machine]]] = []
    for field in fields(Machine):
        # both peaks are one figure's doing
        if field.name in ("levels", "fp8_flops"):
            continue
        names = ("flops", "fp8_flops") if field.name == "flops" else (field.name,)
        values = [{name: getattr(end, name) for name in names} for end in (ends.slow, ends.fast)]
        if any(value[field.name] != getattr(ends.middle, field.name) for value in values):
            slow, fast = (replace(ends.middle, **value) for value in values)
            name = _NAMES.get(field.name, field.name.removesuffix("_s").replace("_", " "))
            words = _range(field.name, *(value[field.name] for value in values))
            found.append((name, words, (slow, fast)))
    for number, level in enumerate(ends.middle.levels):
        for part in ("bytes_per_s", "latency_s"):
            pair = [_with_level(ends.middle, number, level, end, part) for end in (ends.slow, ends.fast)]
            if any(getattr(one.levels[number], part) != getattr(level, part) for one in pair):
                what = "bandwidth" if part == "bytes_per_s" else "latency"
                words = _range(part, *(getattr(one.levels[number], part) for one in pair))
                found.append((f"{_LEVELS[number]} {what}", words, (pair[0], pair[1])))
    return found


def _range(name: str, slow: Column, fast: Column) -> str:
    """Both ends in the unit that the name says."""
    measures = figures.dimension(name)
    return " to ".join(listing.show(float(end), measures) for end in (slow, fast))


def _with_level(middle: Machine, number: int, level: Level, end: Machine, part: str) -> Machine:
    changed = level._replace(**{part: getattr(end.levels[number], part)})
    levels = (*middle.levels[:number], changed, *middle.levels[number + 1 :])
    return replace(middle, levels=levels)
