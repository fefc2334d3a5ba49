"""The queue that every scheduler gets: seeded, mixed in size, Poisson in time, skewed over tenants.

Sizes are powers of two, as in published traces (Lublin and Feitelson, 2003); durations are log-normal and
longer for larger gangs, and most jobs are small while most chip-hours belong to large ones (Hu et al.,
Characterization of Large Language Model Development in the Datacenter, NSDI 2024). The figures themselves are
estimated. All spans are nanoseconds.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple, TypeVar

from myriad.fleet.site import Pod, Site
from myriad.kernel.rng import Stream
from myriad.kernel.units import DAY, HOUR, MINUTE, Instant, Span

T = TypeVar("T")

CHIPS_PER_NODE = 16
#: Longer runs would lie mostly outside a queue of a few hundred hours.
SHORTEST, LONGEST = 2 * MINUTE, DAY
#: Spread of true run times around Myriad's predictions: sigma of the log-normal error.
PREDICTION_ERROR = 0.2
#: Demand of the tenants falls as 1 / rank: the first of eight asks for more than a third.
TENANTS = tuple(f"tenant-{k}" for k in range(1, 9))
#: What users type. Some twenty round values are nine tenths of all estimates (Tsafrir, Etsion and Feitelson,
#: Modeling User Runtime Estimates, 2005).
ROUND = tuple(k * MINUTE for k in (5, 10, 15, 30, 45)) + tuple(
    k * HOUR for k in (1, 2, 3, 4, 6, 8, 10, 12, 24, 48, 72)
)


class Kind(NamedTuple):
    """A size class."""

    name: str
    share: float  # of all jobs
    chips: tuple[int, ...]  # sizes of a gang, all equally likely
    median: Span  # of the predicted run time
    sigma: float  # of its logarithm


class Job(NamedTuple):
    """One gang that somebody wants to run. Who may know what is in the names."""

    number: int  # in order of arrival
    tenant: str
    kind: str
    nodes: int
    chips_per_node: int
    arrives: Instant
    runs: Span  # the truth: only the world knows it
    predicted: Span  # what Myriad's performance model says
    asked: Span  # what the user says: an upper bound, never exceeded

    @property
    def chips(self) -> int:
        """Chips of the whole gang."""
        return self.nodes * self.chips_per_node

    @property
    def work(self) -> int:
        """Chip-nanoseconds."""
        return self.chips * self.runs


def site_of(chips: int) -> Site:
    """A site of pods of 125 nodes: 25 racks of 5 nodes of 16 chips. Whole pods only."""
    pods, rest = divmod(chips, 125 * CHIPS_PER_NODE)
    if rest or not pods:
        raise ValueError(f"{chips} chips are not whole pods: use a multiple of {125 * CHIPS_PER_NODE}")
    return Site(
        name="bench",
        chip="zhenwu-810e",
        pods=tuple(Pod(name=f"p{k}", racks=25, nodes_per_rack=5) for k in range(pods)),
    )


def kinds(nodes: int) -> tuple[Kind, ...]:
    """The size classes of a site: large gangs are the two largest powers of two up to a quarter of it."""
    if nodes < 128:
        raise ValueError(f"{nodes} nodes are too few for four size classes: use 128 or more")
    top = nodes.bit_length() - 3
    medium = tuple(CHIPS_PER_NODE << k for k in range(3, top - 1))
    large = tuple(CHIPS_PER_NODE << k for k in (top - 1, top))
    return (
        Kind("part of a node", 0.45, (1, 2, 4, 8), 20 * MINUTE, 1.2),
        Kind("small", 0.30, (16, 32, 64), HOUR, 1.2),
        Kind("medium", 0.22, medium, 2 * HOUR, 1.0),
        Kind("large", 0.03, large, 4 * HOUR, 0.8),
    )


def queue(site: Site, count: int, load: float, seed: int) -> list[Job]:
    """`count` jobs in order of arrival whose work is `load` x capacity x the time of the last arrival."""
    classes, stream = kinds(site.node_count), Stream(seed, "workload")
    sizes, times, arrivals = stream.split("sizes"), stream.split("times"), stream.split("arrivals")
    at, jobs = 0.0, []
    for number in range(count):
        kind = pick(sizes, classes, [one.share for one in classes])
        chips = sizes.choice(kind.chips)
        predicted = _clip(kind.median * math.exp(kind.sigma * normal(times)))
        runs = _clip(predicted * math.exp(PREDICTION_ERROR * normal(times)))
        at += arrivals.exponential(1.0)
        job = Job(
            number=number,
            tenant=pick(sizes, TENANTS, [1 / rank for rank in range(1, len(TENANTS) + 1)]),
            kind=kind.name,
            nodes=max(1, chips // CHIPS_PER_NODE),
            chips_per_node=min(chips, CHIPS_PER_NODE),
            arrives=0,
            runs=runs,
            predicted=predicted,
            asked=estimate(runs, times),
        )
        jobs.append((at, job))
    # the arrivals are stretched so that the load is exactly what is said, whatever sizes were drawn
    scale = sum(job.work for _, job in jobs) / (load * site.chip_count) / at
    return [job._replace(arrives=round(at * scale)) for at, job in jobs]


def estimate(runs: Span, stream: Stream) -> Span:
    """A user's estimate: a round value, nearly three times the run time in the median.

    How much of their estimate jobs use is close to uniform (Mu'alem and Feitelson, 2001); the value is then
    rounded up to the next one that people use.
    """
    wish = runs / stream.uniform(0.05, 0.8)
    return next((value for value in ROUND if value >= wish), ROUND[-1])


def _clip(span: float) -> Span:
    return round(min(max(span, SHORTEST), LONGEST))


def normal(stream: Stream) -> float:
    """A standard normal draw (Box and Muller, 1958)."""
    return math.sqrt(stream.exponential(2.0)) * math.cos(stream.uniform(0.0, 2 * math.pi))


def pick(stream: Stream, items: Sequence[T], weights: Sequence[float]) -> T:
    """One of the items, with these odds."""
    point = stream.uniform(0.0, sum(weights))
    for item, weight in zip(items, weights, strict=True):
        point -= weight
        if point < 0:
            return item
    return items[-1]
