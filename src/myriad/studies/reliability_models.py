"""How each kind of published figure is computed: by a closed form, and by playing one gang many times.

Called by `reliability.judge`; the draws are those of `twin.faults`, the formulas those of
`performance.goodput`.
"""

import itertools
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

import numpy as np

from myriad.kernel.rng import Stream
from myriad.performance import goodput
from myriad.performance.goodput import DAY_S
from myriad.studies.reliability import Figure, Model, Ours, Parts
from myriad.twin.faults import Fault, Faults, Hazards, Terrain, gang, software
from myriad.twin.faults.causes import mix_of
from myriad.twin.faults.times import restart

#: Chips of a node in every published figure here.
_EIGHT: Final = 8
_SPAN_S: Final = 90 * DAY_S
#: Fewest expected events of a class in a chi-square (Cochran, 1954).
_LEAST: Final = 5.0


def mttf(figure: Figure, parts: Parts, stream: Stream, quick: bool) -> Ours:
    """Mean hours between interruptions of a gang by both hazards."""
    faults, terrain = parts.faults(figure.part), _terrain(figure.chips)
    count = 2500 if quick else 10_000
    seen = itertools.islice(gang.interruptions(faults, terrain, stream), count)
    hours = [at / 3600 for at, _ in seen]
    mean, half = hours[-1] / count, 1.96 / math.sqrt(count)
    closed = 24 / per_day(faults, figure.chips)
    return Ours(closed, monte_carlo=mean, low=mean * (1 - half), high=mean * (1 + half))


def count(figure: Figure, parts: Parts, stream: Stream, quick: bool) -> Ours:
    """Interruptions in so many days, means of several runs."""
    faults, terrain = parts.faults(figure.part), _terrain(figure.chips)
    closed = figure.days * per_day(faults, figure.chips)
    runs = math.ceil((2000 if quick else 20_000) / closed)
    found = [
        len(_within(faults, terrain, figure.days, stream.split(str(run)))) for run in range(max(runs, 5))
    ]
    half = 1.96 * float(np.std(found, ddof=1)) / math.sqrt(len(found))
    mean = float(np.mean(found))
    return Ours(closed, monte_carlo=mean, low=mean - half, high=mean + half)


def causes(figure: Figure, parts: Parts, stream: Stream, quick: bool) -> Ours:  # noqa: ARG001
    """Probability of a mix as far from the published counts as that of one run, or farther."""
    faults = parts.faults(figure.part)
    seen = Counter(fault.cause for _, fault in _within(faults, _terrain(figure.chips), figure.days, stream))
    return Ours(monte_carlo=chi_square_p(seen, mix_of(faults.mix)))


def ettr(figure: Figure, parts: Parts, stream: Stream, quick: bool) -> Ours:
    """Share of useful time of a job that is restarted alike each time.

    Where hazards are named it is a production run under both.
    """
    if figure.part:
        mean_s = DAY_S / per_day(parts.faults(figure.part), figure.chips, 0.0)
    else:
        mean_s = figure.seconds("mean_between")
    return _shares(figure, mean_s, [figure.seconds("restart")], stream, quick)


def incidents(figure: Figure, parts: Parts, stream: Stream, quick: bool) -> Ours:
    """The same with each fault's own times of detection, diagnosis and restart."""
    faults, terrain = parts.faults(figure.part), _terrain(figure.chips)
    played = gang.interruptions(faults, terrain, stream.split("faults"))
    some = itertools.islice(played, 500 if quick else 3000)
    times = stream.split("times")
    down = [gang.down_s(fault, figure.chips, figure.way, times) for _, fault in some]
    return _shares(figure, DAY_S / per_day(faults, figure.chips), down, stream, quick)


def restarts(figure: Figure, parts: Parts, stream: Stream, quick: bool) -> Ours:  # noqa: ARG001
    """Mean seconds of a restart."""
    law = restart(figure.way, figure.chips)
    return _mean(law.mean_s, [law.draw(stream) for _ in range(500 if quick else 4000)])


def lemons(figure: Figure, parts: Parts, stream: Stream, quick: bool) -> Ours:
    """Share of jobs that hardware stops within `days`, placed anywhere on a site with lemons, or without."""
    faults, nodes = parts.faults(figure.part), figure.chips // _EIGHT
    hazards = Hazards(faults, _terrain(figure.site), stream)
    sites = len(hazards.terrain.chips)
    total = hazards.per_day(0)
    if figure.cured:
        for row in hazards.lemons:
            hazards.set_factor(row, 1.0)
    rates = np.array([hazards.factor(row) for row in range(sites)])
    # the rate of the site as it was is divided among its nodes by their factors as they were
    before = sites + len(hazards.lemons) * (faults.lemons.factor - 1)
    rates = rates * total / before * figure.days
    draws = np.random.default_rng(stream.integer(0, 2**53 - 1))
    jobs = 2000 if quick else 20_000
    hazard = np.array([rates[draws.choice(sites, nodes, replace=False)].sum() for _ in range(jobs)])
    failed = draws.random(jobs) < -np.expm1(-hazard)
    # lemons of a job are nearly Poisson: E e^(-L h) = e^(-mean (1 - e^-h))
    well, bad = float(rates.min()), float(rates.max())
    mean_lemons = nodes * len(hazards.lemons) / sites
    survives = -nodes * well + mean_lemons * math.expm1(-(bad - well))
    return _mean(-math.expm1(survives), [float(one) for one in failed])


MODELS: Final[Mapping[str, Model]] = {
    "mttf": mttf,
    "count": count,
    "causes": causes,
    "ettr": ettr,
    "incidents": incidents,
    "restart": restarts,
    "lemons": lemons,
}


class Agreement(NamedTuple):
    """Closed forms and Monte Carlo of one job, and whether the first order holds."""

    chips: int
    interval_s: float
    restart_s: float
    losses: float
    first_order: float
    error: float  # the first order may be too low by this
    exact: float
    monte_carlo: float


def agreement(stream: Stream, *, rate: float = 6.5, quick: bool = False) -> list[Agreement]:
    """Hourly checkpoints with restarts of 10 min, and each 5 min with 5 min, by size, at RSC-1's rate."""
    rows = []
    for interval_s, restart_s in ((3600.0, 600.0), (300.0, 300.0)):
        for chips in (1024, 4096, 16_384, 65_536, 100_000):
            mean_s = goodput.mean_between_s(chips, rate / 1000 / _EIGHT)
            found = gang.ettr(
                mean_s=mean_s,
                interval_s=interval_s,
                cost_s=0.0,
                down=[restart_s],
                span_s=_SPAN_S,
                runs=10 if quick else 60,
                stream=stream,
            )
            forms = (interval_s, 0.0, restart_s, mean_s)
            rows.append(
                Agreement(
                    chips,
                    interval_s,
                    restart_s,
                    goodput.losses(interval_s, restart_s, mean_s),
                    goodput.first_order(*forms),
                    goodput.first_order_error(*forms),
                    goodput.share(*forms),
                    found.mean,
                )
            )
    return rows


def chi_square_p(seen: Mapping[str, int], counts: Mapping[str, float]) -> float:
    """Probability of a chi-square as large or larger; rare causes are one class.

    Wilson and Hilferty (1931): the cube root of chi-square over its freedom is nearly normal.
    """
    total, expected_total = sum(seen.values()), sum(counts.values())
    classes: dict[str, list[float]] = {}
    for cause, weight in counts.items():
        expected = weight / expected_total * total
        one = classes.setdefault(cause if expected >= _LEAST else "rare", [0.0, 0.0])
        one[0] += seen.get(cause, 0)
        one[1] += expected
    value = sum((observed - expected) ** 2 / expected for observed, expected in classes.values())
    freedom = len(classes) - 1
    part = 2.0 / (9.0 * freedom)
    z = ((value / freedom) ** (1 / 3) - (1.0 - part)) / math.sqrt(part)
    return 0.5 * math.erfc(z / math.sqrt(2.0))


def _shares(figure: Figure, mean_s: float, down: Sequence[float], stream: Stream, quick: bool) -> Ours:
    interval_s, cost_s = figure.interval_s(mean_s), figure.seconds("write")
    restart_s = float(np.mean(down))
    forms = (interval_s, cost_s, restart_s, mean_s)
    found = gang.ettr(
        mean_s=mean_s,
        interval_s=interval_s,
        cost_s=cost_s,
        down=down,
        span_s=_SPAN_S,
        runs=20 if quick else 200,
        stream=stream,
    )
    first, error = goodput.first_order(*forms), goodput.first_order_error(*forms)
    return Ours(goodput.share(*forms), first, error, *found)


def _mean(closed: float, values: Sequence[float]) -> Ours:
    mean = float(np.mean(values))
    half = 1.96 * float(np.std(values, ddof=1)) / math.sqrt(len(values))
    return Ours(closed, monte_carlo=mean, low=mean - half, high=mean + half)


def _terrain(chips: int) -> Terrain:
    return Terrain.plain(max(chips // _EIGHT, 1), _EIGHT)


def per_day(faults: Faults, chips: int, trial: float | None = None) -> float:
    """Interruptions a day of a gang, by formula: published parts have no fault that only slows."""
    hardware = Hazards(faults, _terrain(chips), Stream(0)).per_day(0)
    return hardware + software.per_day(faults.software, chips, trial)


def _within(faults: Faults, terrain: Terrain, days: float, stream: Stream) -> list[tuple[float, Fault]]:
    played = gang.interruptions(faults, terrain, stream)
    return list(itertools.takewhile(lambda one: one[0] < days * DAY_S, played))
