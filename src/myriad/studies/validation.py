"""The performance model against published runs: predictions for rows, and errors by what people ask.

Reads runs from `published`, predicts them all in one call, and tells the errors by source, chip, kind of
model and scale, and how well layouts are ranked. Never fits anything: that is done once, by
`tools/calibrate_training.py`.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from myriad.catalog.shelf import Catalog
from myriad.performance.layouts import Layouts
from myriad.performance.machine import Machine
from myriad.performance.training import predict
from myriad.performance.work import Work
from myriad.studies import published
from myriad.studies.published import Run, Unmodelled

#: Sources that published sweeps over layouts of one model on one machine.
SWEEPS: Final = ("Hagemann", "vTrain", "llm-foundry")
#: Fewest layouts that make a sweep worth ranking.
_LEAST: Final = 4


class Judged(NamedTuple):
    """One run and what the model says of it."""

    run: Run
    predicted_s: float
    peak_bytes: float
    assumed: tuple[str, ...]  # what the row did not say, and how it was filled

    @property
    def error(self) -> float:
        """Relative error of the step time; 0 for a run that was not timed."""
        return self.predicted_s / self.run.measured_s - 1 if self.run.measured_s else 0.0


class Errors(NamedTuple):
    """Errors of step time of a group of runs, as shares."""

    group: str
    runs: int
    mean_absolute: float
    bias: float
    within_tenth: float  # share of runs within 10 %


class Ranking(NamedTuple):
    """One sweep: layouts of one model on one machine."""

    group: str
    runs: int
    tau: float  # Kendall's, between predicted and measured order
    loss: float  # of the layout predicted to be best, over the best measured one


def judge(runs: Sequence[Run], catalog: Catalog) -> list[Judged]:
    """Predictions for runs, in their order."""
    if not runs:
        return []
    found = predict(*columns(runs, catalog))
    return [
        Judged(run, float(found.step_s[n]), float(found.peak_bytes[n]), run.assumed)
        for n, run in enumerate(runs)
    ]


def columns(runs: Sequence[Run], catalog: Catalog) -> tuple[Work, Machine, Layouts]:
    """All runs as one table for `performance.training.predict`."""
    works = [Work.of(run.model, sequence=run.sequence, global_batch=run.global_batch) for run in runs]
    machines = [
        Machine.of(
            catalog.chip(run.chip),
            run.fabric,
            catalog.stack(run.stack),
            low_precision="fp4" if "fp4" in run.precision else "fp8",
        )
        for run in runs
    ]
    layouts = published.layouts_of(runs)
    flash = np.array([kernel(run, catalog) != "plain" for run in runs])
    return Work.stacked(works), Machine.stacked(machines), replace(layouts, flash=flash)


# ---- groups ------------------------------------------------------------------------------------------

Key = Callable[[Run], str]


def _kind(run: Run) -> str:
    return "experts" if run.model.moe else "dense"


_SCALES: Final = {8: "1 to 8 chips", 64: "9 to 64", 256: "65 to 256", 999: "257 to 999"}
_LARGEST: Final = "1,000 and more"


def _scale(run: Run) -> str:
    return next((name for limit, name in _SCALES.items() if run.chips <= limit), _LARGEST)


def _sharding(run: Run) -> str:
    if run.layout["cp"] > 1:
        return "context parallel"
    return "FSDP" if run.layout["zero"] >= 2 else "TP, PP and data parallel"


def publisher(run: Run) -> str:
    """Who published a run, whatever the document."""
    words = run.source.split()
    return " ".join(words[: 2 if words[0] in ("NVIDIA", "Google", "MLPerf") else 1])


#: What errors are told by.
GROUPS: Final[Mapping[str, Key]] = {
    "source": lambda run: run.source,
    "publisher": publisher,
    "chip": lambda run: run.chip,
    "model": _kind,
    "parallelism": _sharding,
    "scale": _scale,
    "stack": lambda run: run.stack,
}


def errors(judged: Iterable[Judged], key: Key) -> list[Errors]:
    """Errors by group, scales by size and others as they appear; runs that were not timed are left out."""
    groups: dict[str, list[float]] = {}
    for one in judged:
        if one.run.measured_s:
            groups.setdefault(key(one.run), []).append(one.error)
    scales = [*_SCALES.values(), _LARGEST]
    ordered = sorted(groups, key=lambda group: scales.index(group) if group in scales else 0)
    return [summary(group, groups[group]) for group in ordered]


def summary(group: str, found: Sequence[float]) -> Errors:
    """Errors of one group."""
    values = np.array(found)
    size = np.abs(values)
    return Errors(group, len(values), float(size.mean()), float(values.mean()), float((size <= 0.1).mean()))


def mean_of_sources(judged: Iterable[Judged]) -> float:
    """Mean over sources of the mean absolute error of each."""
    return mean_of("source", judged)


def mean_of(group: str, judged: Iterable[Judged]) -> float:
    """Mean over the groups of a kind (`GROUPS`) of the mean absolute error of each."""
    return float(np.mean([one.mean_absolute for one in errors(judged, GROUPS[group])]))


# ---- ranking -----------------------------------------------------------------------------------------


def rankings(judged: Iterable[Judged], *, by_stack: bool = False) -> list[Ranking]:
    """How well each sweep is ordered. Times are compared for a token, since batches differ a little.

    The attention kernel counts as part of a layout, unless sweeps are told apart `by_stack`. What llm-foundry
    sweeps is micro-batch, recomputation and length of a sequence together.
    """
    groups: dict[str, list[Judged]] = {}
    for one in judged:
        if one.run.measured_s and any(name in one.run.source for name in SWEEPS):
            groups.setdefault(_sweep(one.run, by_stack), []).append(one)
    return [_ranking(group, found) for group, found in groups.items() if len(found) >= _LEAST]


def _sweep(run: Run, by_stack: bool) -> str:
    """Name of the sweep that a run belongs to."""
    length = "" if "llm-foundry" in run.source else f", {run.sequence:,} tokens"
    where = f"{run.source.split()[0]} {run.model_name}{length}, {run.chips} x {run.chip}"
    return f"{where}, {run.stack}" if by_stack else where


def _ranking(group: str, found: Sequence[Judged]) -> Ranking:
    tokens = np.array([one.run.global_batch * one.run.sequence for one in found])
    measured = np.array([one.run.measured_s or 0.0 for one in found]) / tokens
    predicted = np.array([one.predicted_s for one in found]) / tokens
    chosen = measured[int(np.argmin(predicted))]
    return Ranking(group, len(found), kendall_tau(predicted, measured), float(chosen / measured.min() - 1))


def kendall_tau(left: NDArray[np.float64], right: NDArray[np.float64]) -> float:
    """Kendall's tau-b of two columns of shape (n,): agreeing pairs less disagreeing ones (Kendall, 1945)."""
    upper = np.triu_indices(len(left), 1)
    a = np.sign(left[:, None] - left[None, :])[upper]
    b = np.sign(right[:, None] - right[None, :])[upper]
    norm = np.sqrt(np.abs(a).sum() * np.abs(b).sum())
    return float((a * b).sum() / norm) if norm else 1.0


# ---- as data -----------------------------------------------------------------------------------------


def rows(judged: Iterable[Judged], failed: Iterable[Unmodelled]) -> list[dict[str, object]]:
    """One object for each row, those that cannot be modelled with a reason. Seconds; GB are 2**30 bytes."""
    found: list[dict[str, object]] = [
        {
            "id": one.run.id,
            "measured_s": one.run.measured_s,
            "predicted_s": one.predicted_s,
            "predicted_peak_mem_gb": one.peak_bytes / 2**30,
            "stack": one.run.stack,
            "assumed": list(one.assumed),
        }
        for one in judged
    ]
    found += [
        {
            "id": one.id,
            "measured_s": one.measured_s,
            "predicted_s": None,
            "predicted_peak_mem_gb": None,
            "reason": one.reason,
        }
        for one in failed
    ]
    return found


# ---- names of what a run used ------------------------------------------------------------------------


def ancestry(stack: str, catalog: Catalog) -> list[str]:
    """A stack and those it extends, nearest first."""
    found = [stack]
    while extended := catalog.stack(found[-1]).extends:
        found.append(extended)
    return found


def kernel(run: Run, catalog: Catalog) -> str:
    """Attention kernel of a run's stack."""
    return catalog.stack(run.stack).attention


def fabric_name(run: Run, catalog: Catalog) -> str:
    """Catalogue name of a run's fabric; empty when the row only gave a rate."""
    names = (name for name in catalog.names("fabric") if catalog.fabric(name).title == run.fabric.title)
    return next(names, "")
