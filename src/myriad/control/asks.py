"""The queue as the scheduler sees it: one ask for each waiting job and each missing replica."""

from collections.abc import Iterator
from functools import cache
from typing import Literal

from myriad.catalog import chips
from myriad.control.records import Gang, GangPhase, Job, Service
from myriad.control.state import State, signature
from myriad.fleet.columns import NodeState
from myriad.kernel import units
from myriad.kernel.ids import NodeId
from myriad.kernel.units import Instant, Span
from myriad.performance import estimate
from myriad.schedule.asks import Ask


def of_owner(state: State, owner: str, now: Instant) -> Iterator[Ask]:
    """The asks of a job that waits, or of a service that lacks replicas; none if it is held."""
    if owner in state.waiting:
        job = state.jobs[owner]  # type: ignore[index]
        if job.held_until <= now:
            yield of_job(state, job)
    elif owner in state.services:
        service = state.services[owner]  # type: ignore[index]
        if service.held_until <= now:
            yield from _of_service(state, service)


def of_job(state: State, job: Job) -> Ask:
    """The ask of a job that waits."""
    spec = job.spec
    interrupted = bool(job.history) and job.history[-1].cause not in ("preempted", "resized")
    avoid: tuple[NodeId, ...] = ()
    if job.faults and job.sizes == (1,) and _others_ready(state, job.roots[-1:]):
        # a gang of one cannot tell its own fault from its node's: try elsewhere
        avoid = job.roots[-1:]
    nodes = job.sizes[0]
    run = run_estimate(state, job, nodes)
    return Ask(
        owner=job.job,
        job=job.job,
        service=None,
        tenant=spec.tenant,
        rank=spec.rank,
        queued_at=job.submitted_at if job.history else job.queued_at,
        nodes=nodes,
        chips_per_node=spec.chips_per_node,
        run_ns=run.run_ns,
        run_high_ns=run.run_high_ns,
        resumes=interrupted,
        spares=_spares(state, job),
        keep=() if avoid else job.keep,
        avoid=avoid,
        sizes=job.sizes if len(job.sizes) > 1 else (),
        chip=spec.chip,
        within=spec.within,
        reservation=spec.reservation,
        latest_at=_latest(job, run.run_high_ns),
        stretch=job.profile.stretch,
        claims=job.job in state.claims,
    )


def _latest(job: Job, run_ns: int) -> Instant:
    """By when it must have started to keep its deadline; 0: it has none."""
    if not job.spec.deadline:
        return 0
    return max(1, job.submitted_at + units.span_ns(job.spec.deadline) - run_ns)


def _spares(state: State, job: Job) -> Literal["first", "last", "never"]:
    fresh = not job.history or job.history[-1].cause in ("preempted", "resized")
    if fresh and _needs_nearly_all(state, job):
        return "last"
    if not job.history or job.history[-1].cause in ("preempted", "resized"):
        return "never"
    return "first" if job.history[-1].cause == "node" else "last"


def _needs_nearly_all(state: State, job: Job) -> bool:
    """Whether it might never start beside spares whose number the site works out itself."""
    site = state.site
    if site is None or site.spares != "auto":
        return False
    nodes = state.sizes.get(job.spec.chip or site.chip, {})
    return job.sizes[-1] * 4 > sum(nodes.values()) * 3


def run_estimate(state: State, job: Job, nodes: int) -> estimate.Estimate:
    """Predicted run time of what is left of the job on so many nodes."""
    assert state.site is not None
    profile = job.profile
    expected_ns = profile.expected_ns * job.sizes[0] // nodes
    if not profile.steps:
        return estimate.as_told(expected_ns)
    flops, share = _speed(job.spec.chip or state.site.chip)
    return estimate.training_run(
        steps=max(0, profile.steps - job.kept_step),
        flops_per_step=profile.flops_per_step,
        chips=nodes * job.spec.chips_per_node,
        flops=state.columns.typical_gemm() or flops,
        efficiency=profile.peak_share or share,
        observed_step_ns=_observed_ns(state, job, nodes),
        expected_ns=expected_ns,
    )


@cache
def _speed(chip: str) -> tuple[float, float]:
    """FLOP/s of a chip of the catalogue in training, and the share of them that a step reaches."""
    found = chips.named(chip)
    return found.training_flops.value, found.training_share.value


def _observed_ns(state: State, job: Job, nodes: int) -> Span:
    """Step time on so many nodes by what was seen of this job, or else of the same work; 0: nothing was."""
    if job.step_ns:
        return job.step_ns * len(job.keep) // nodes if job.keep else job.step_ns
    return state.observed_ns.get(signature(job.spec, job.profile, nodes), 0) if state.observed_ns else 0


def staying(state: State, service: Service) -> list[Gang]:
    """Replicas that count: not stopping and not about to leave."""
    gangs = [state.gangs[attempt] for attempt in service.gangs]
    return [gang for gang in gangs if gang.phase is not GangPhase.STOPPING and not gang.leave_request]


def _of_service(state: State, service: Service) -> Iterator[Ask]:
    spec = service.spec
    for number in range(service.wanted - len(staying(state, service))):
        owner = f"{service.service}#{number}"
        yield Ask(
            owner=owner,
            job=None,
            service=service.service,
            tenant=spec.tenant,
            rank=spec.rank,
            queued_at=service.applied_at,
            nodes=1,
            chips_per_node=spec.chips_per_replica,
            run_ns=0,
            resumes=service.attempts > 0,
            spares="last" if service.attempts > 0 else "never",
            claims=owner in state.claims,
            patience_ns=units.span_ns(spec.slo.scale_up),
        )


def _others_ready(state: State, roots: tuple[NodeId, ...]) -> bool:
    ready = state.columns.state == NodeState.READY
    return int(ready.sum()) > sum(1 for node in roots if ready[state.columns.index[node]])
