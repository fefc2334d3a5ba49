"""A scenario many times: over the values of some of its settings, each with the same seeds.

A run depends on scenario, variation and seed only, so it does not matter who does it, where, in what order
or how often. Seeds are the same for every variation: differences between variations are told as means of the
differences of equal seeds, whose spread is less than that of the figures themselves.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from myriad.studies import intervals
from myriad.studies.executors import Executor, Work
from myriad.studies.intervals import Interval
from myriad.studies.settings import Variation


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """One simulation of a sweep."""

    variation: str
    seed: int
    #: Of all facts of the simulation.
    digest: str
    figures: dict[str, float]
    #: Expectations of the scenario that it broke.
    broken: list[str]


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """All simulations of one variation."""

    variation: str
    #: Each path as written, and its value.
    settings: dict[str, Any]
    figures: dict[str, Interval]
    #: The same less those of the first variation, seed by seed.
    against_first: dict[str, Interval]


class Sweep(msgspec.Struct, frozen=True, kw_only=True):
    """What a sweep found. The same however and wherever it ran."""

    name: str
    scenario_hash: str
    days: float
    seeds: list[int]
    rows: list[Row]
    runs: list[Run]


class Ran(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker answers."""

    digest: str
    figures: dict[str, float]
    broken: list[str]


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be swept."""

    name: str
    scenario_hash: str
    days: float
    #: Variation and its case, as `work` reads it, without a seed.
    cases: list[tuple[Variation, Callable[[int], bytes]]]
    seeds: list[int]


def run(
    asked: Asked, work: Work, executor: Executor, on_done: Callable[[int], None] = lambda _: None
) -> Sweep:
    """Do every simulation of a sweep; `on_done` hears after each how many are done."""
    points = [(name(variation), seed) for variation, _ in asked.cases for seed in asked.seeds]
    tasks = (case(seed) for _, case in asked.cases for seed in asked.seeds)
    answers: dict[int, Ran] = {}
    for done in executor.results(work, tasks):
        answers[done.number] = msgspec.json.decode(done.body, type=Ran)
        on_done(len(answers))
    runs = [
        Run(
            variation=point[0],
            seed=point[1],
            digest=answers[k].digest,
            figures=answers[k].figures,
            broken=answers[k].broken,
        )
        for k, point in enumerate(points)
    ]
    return Sweep(
        name=asked.name,
        scenario_hash=asked.scenario_hash,
        days=asked.days,
        seeds=asked.seeds,
        rows=_rows(asked, runs),
        runs=runs,
    )


def name(variation: Variation) -> str:
    """`recover.spares=1%, order.policy=fifo`; `as written` when nothing is varied."""
    return ", ".join(setting.text for setting in variation) or "as written"


def _rows(asked: Asked, runs: Sequence[Run]) -> list[Row]:
    seeds = len(asked.seeds)
    parts = [runs[k : k + seeds] for k in range(0, len(runs), seeds)]
    return [
        Row(
            variation=name(variation),
            settings={
                setting.text.partition("=")[0]: setting.text.partition("=")[2] for setting in variation
            },
            figures=summarised([one.figures for one in part]),
            against_first=summarised(
                [_less(one.figures, first.figures) for one, first in zip(part, parts[0], strict=True)]
            ),
        )
        for (variation, _), part in zip(asked.cases, parts, strict=True)
    ]


def _less(some: Mapping[str, float], others: Mapping[str, float]) -> dict[str, float]:
    return {name: value - others[name] for name, value in some.items() if name in others}


def summarised(found: Sequence[Mapping[str, float]]) -> dict[str, Interval]:
    """The interval of each figure; of one that not every run has, over those that have it."""
    names = dict.fromkeys(name for figures in found for name in figures)
    return {name: intervals.of([figures[name] for figures in found if name in figures]) for name in names}
