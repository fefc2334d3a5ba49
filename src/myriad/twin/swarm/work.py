"""Jobs and services of a swarm: gangs of all sizes, elastic ones, with deadlines, budgets and wishes."""

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final

from myriad.fleet.site import Site
from myriad.kernel.ids import JobId
from myriad.kernel.rng import Stream
from myriad.kernel.units import SECOND, Span
from myriad.protocol.values import Outcome, Profile
from myriad.twin.physics import Physics
from myriad.twin.workload.work import Truth, Work
from myriad.workload.jobs import NodeRange, Priority, TrainingJob, Within
from myriad.workload.services import InferenceService, ModelSource, Replicas
from myriad.workload.tenants import Tenant
from myriad.workload.windows import Window

#: Median run time, its spread, and its limits.
_MEDIAN_S, _SIGMA, _LEAST_S, _MOST_S = 600.0, 1.3, 20.0, 3 * 3600.0
#: A body that tells of every step has jobs of so few.
_STEPS: Final = 60
_PRIORITIES: Final[tuple[Priority, ...]] = ("low", "normal", "normal", "high")
_WITHIN: Final[tuple[Within, ...]] = ("rack", "pod", "core")
_STRETCHES: Final = ((1.0, 1.0, 1.0), (1.0, 1.0, 1.0), (1.05, 1.2, 1.5), (1.5, 3.0, 6.0))


def works(
    chance: Stream,
    site: Site,
    tenants: Sequence[Tenant],
    windows: Sequence[Window],
    physics: Physics,
    span_ns: Span,
) -> Iterator[Work]:
    """What arrives, in the order of time: a crowd at once, or spread over the span."""
    count = chance.integer(15, 90)
    spread = chance.choice((0.1, 0.7, 0.9))
    busy = chance.choice((0.5, 1.0, 2.0))
    at = sorted(int(chance.uniform(1.0, span_ns * spread / SECOND) * SECOND) for _ in range(count))
    for number, instant in enumerate(at):
        spec = _spec(chance, site, tenants, windows)
        yield _work(chance, JobId(f"job-{number}"), spec, instant, physics, busy)


def _spec(chance: Stream, site: Site, tenants: Sequence[Tenant], windows: Sequence[Window]) -> TrainingJob:
    tenant = chance.choice(tenants)
    kinds = site.kinds()
    chip = chance.choice(list(kinds))
    per_node = kinds[chip][1]
    limit = min(
        tenant.quota.limit, *(one.quota.limit for one in tenants if one.name == tenant.parent), 1 << 30
    )
    chips = per_node if chance.happens(0.6) else chance.integer(1, per_node)
    nodes = sum(place.chip == chip and place.chips >= chips for place in site.places())
    most = max(1, min(nodes, limit // chips))
    size = most if chance.happens(0.05) else min(most, math.ceil(chance.exponential(nodes / 6) + 0.01))
    if chips < per_node and chance.happens(0.7):
        size = 1
    wanted: int | NodeRange = size
    if size > 1 and chance.happens(0.35):
        wanted = NodeRange(min=chance.integer(1, size), max=size)
    own = [one for one in windows if one.tenant in (tenant.name, tenant.parent) and one.tenant]
    reserved = bool(own) and chance.happens(0.3)
    command = chance.happens(0.3)
    return TrainingJob(
        name="work",
        tenant=tenant.name,
        nodes=wanted,
        chips_per_node=chips,
        chip="" if chip == site.chip else chip,
        priority=chance.choice(_PRIORITIES),
        within=_within(chance, site, chip, chips, size) if chance.happens(0.1) else "",
        deadline=f"{chance.integer(10, 300)}m" if chance.happens(0.15) else "",
        budget=f"{chance.uniform(0.1, 20):.2f}" if chance.happens(0.1) else "",
        reservation=own[0].name if reserved else "",
        command=("train",) if command else (),
        recipe="" if command else "pretrain",
        retries=chance.integer(0, 5),
    )


def _within(chance: Stream, site: Site, chip: str, chips: int, size: int) -> Within:
    """A domain that has twice the nodes, so that spares and broken nodes are no hindrance."""
    within = chance.choice(_WITHIN)
    held = Counter(
        getattr(place, within) for place in site.places() if place.chip == chip and place.chips >= chips
    )
    return within if 2 * size <= max(held.values()) else ""


def _work(chance: Stream, job: JobId, spec: TrainingJob, at: int, physics: Physics, busy: float) -> Work:
    work_s = min(_MOST_S, max(_LEAST_S, _MEDIAN_S * busy * math.exp(_SIGMA * _normal(chance))))
    steps = chance.integer(1, _STEPS) if not physics.report_s else max(1, int(work_s / chance.uniform(1, 30)))
    step_ns = max(SECOND // 10, int(work_s / steps * SECOND))
    error = math.exp(0.7 * _normal(chance))
    outcome: Outcome = chance.choice(("succeeded",) * 17 + ("failed", "failed", "cancelled"))
    saves = bool(spec.recipe) and chance.happens(0.85)
    stretch = chance.choice(_STRETCHES)
    truth = Truth(
        work_ns=steps * step_ns,
        step_ns=step_ns,
        outcome=outcome,
        checkpoint_bytes=10 ** chance.uniform(8, 12) if saves else 0.0,
        stretch=stretch,
        exposed=chance.uniform(0, 0.3),
        tokens=1000.0,
        flops=1e15,
    )
    told_ns = int(steps * step_ns * error)
    profile = Profile(
        steps=max(1, int(steps * error)) if spec.recipe else 0,
        tokens_per_step=1000,
        expected_ns=told_ns if chance.happens(0.7) else 0,
        memory_copies=saves and chance.happens(0.6),
        stretch=stretch,
    )
    return Work(at, job, spec, profile, truth)


def services(chance: Stream, site: Site, tenants: Sequence[Tenant]) -> Iterator[InferenceService]:
    """None, or a few, small ones."""
    for number in range(chance.choice((0, 1, 1, 2))):
        least = chance.choice((0, 1, 1, 2))
        tenant = chance.choice(tenants)
        yield InferenceService(
            name=f"service-{number}",
            tenant=tenant.name,
            model=ModelSource(path="/models/x"),
            replicas=Replicas(min=least, max=max(1, least + chance.integer(0, 4))),
            chips_per_replica=chance.integer(1, max(1, site.chips_per_node // 2)),
            priority=chance.choice(_PRIORITIES),
            concurrency=chance.choice((1, 8)),
        )


def _normal(chance: Stream) -> float:
    """A draw of the standard normal (Box and Muller, 1958)."""
    return math.sqrt(-2.0 * math.log(1.0 - chance.uniform())) * math.cos(2 * math.pi * chance.uniform())
