"""The queue as the scheduler sees it: one ask for each waiting job and each missing replica."""

from collections.abc import Iterator
from typing import Literal

from myriad.catalog import chips
from myriad.control.moment import Moment
from myriad.control.state import Gang, GangPhase, Job, Service, State, median_gemm, signature
from myriad.fleet.columns import NodeState
from myriad.kernel.ids import NodeId
from myriad.performance import estimate
from myriad.schedule.asks import Ask


def of_site(m: Moment) -> Iterator[Ask]:
    """Everything that may be placed now."""
    for name in m.state.waiting:
        job = m.state.jobs[name]
        if job.held_until <= m.now:
            yield of_job(m.state, job)
    for service in m.state.services.values():
        if service.held_until <= m.now:
            yield from _of_service(m.state, service)


def of_job(state: State, job: Job) -> Ask:
    """The ask of a job that waits."""
    spec = job.spec
    resumes = bool(job.history)
    avoid: tuple[NodeId, ...] = ()
    if job.faults and spec.nodes == 1 and _others_ready(state, job.roots[-1:]):
        # a gang of one cannot tell its own fault from its node's: try elsewhere
        avoid = job.roots[-1:]
    return Ask(
        owner=job.job,
        job=job.job,
        service=None,
        tenant=spec.tenant,
        rank=spec.rank,
        queued_at=job.submitted_at if resumes else job.queued_at,
        nodes=spec.nodes,
        chips_per_node=spec.chips_per_node,
        run_ns=run_estimate(state, job).run_ns,
        resumes=resumes,
        spares=_spares(job),
        keep=() if avoid else job.keep,
        avoid=avoid,
    )


def _spares(job: Job) -> Literal["first", "last", "never"]:
    if not job.history:
        return "never"
    return "first" if job.history[-1].cause == "node" else "last"


def run_estimate(state: State, job: Job) -> estimate.Estimate:
    """Predicted run time of what is left of the job."""
    assert state.site is not None
    chip = chips.named(state.site.chip)
    return estimate.training_run(
        steps=max(0, job.profile.steps - job.kept_step),
        flops_per_step=job.profile.flops_per_step,
        chips=job.spec.chips,
        flops=median_gemm(state.nodes) or chip.training_flops.value,
        efficiency=job.profile.peak_share or chip.training_share.value,
        observed_step_ns=job.step_ns or state.observed_ns.get(signature(job.spec, job.profile), 0),
        expected_ns=job.profile.expected_ns,
    )


def staying(state: State, service: Service) -> list[Gang]:
    """Replicas that count: not stopping and not about to leave."""
    gangs = [state.gangs[attempt] for attempt in service.gangs]
    return [gang for gang in gangs if gang.phase is not GangPhase.STOPPING and not gang.leave_request]


def _of_service(state: State, service: Service) -> Iterator[Ask]:
    spec = service.spec
    for number in range(service.wanted - len(staying(state, service))):
        yield Ask(
            owner=f"{service.service}#{number}",
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
        )


def _others_ready(state: State, roots: tuple[NodeId, ...]) -> bool:
    ready = state.columns.state == NodeState.READY
    return int(ready.sum()) > sum(1 for node in roots if ready[state.columns.index[node]])
