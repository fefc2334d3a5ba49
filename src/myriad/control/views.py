"""What others may read of the state: plain structs for the API, the console and the command line."""

from collections.abc import Iterator
from typing import Final

import msgspec
import numpy as np

from myriad.control import asks, forecast
from myriad.control.moment import Moment
from myriad.control.records import Ended, Gang, GangPhase, Job, Service
from myriad.control.state import State
from myriad.fleet.columns import NodeState
from myriad.kernel.errors import UserError, near
from myriad.kernel.ids import AttemptId, IncidentId, JobId, NodeId, ServiceId, TenantId
from myriad.kernel.units import Instant, Span
from myriad.protocol.values import Forecast, Reason
from myriad.schedule import explain as sentences
from myriad.schedule import foresee, plan
from myriad.schedule.asks import Placed

#: Asks ahead in the queue that an explanation lays out in time, and that the answer to a submission does:
#: of many that are submitted at once, each answer costs as much as there are ahead.
AHEAD: Final = 500
AHEAD_AT_ONCE: Final = 32


class View(msgspec.Struct, frozen=True, kw_only=True):
    """Base of the read views. Instants are ns since the epoch, 0: not yet."""


class NodeView(View, frozen=True, kw_only=True):
    """One node."""

    node: NodeId
    pod: str
    rack: str
    #: Life of a node; `allocated` when ready and holding work; `spare` is a ready hot spare; `occupied` is
    #: used by others.
    state: str
    chips: int
    chips_free: int
    spare: bool
    cordoned: bool
    attempts: tuple[AttemptId, ...]
    why: str
    losses: int
    gemm_flops: float
    #: Time for a step over that of its peers, for a node that is slow; 0: it is not.
    slow: float = 0.0
    #: Who else uses it through the cluster's own scheduler, and when they must have ended (0: unknown).
    occupied_by: str = ""
    occupied_until: Instant = 0


class IncidentView(View, frozen=True, kw_only=True):
    """One event that took many nodes."""

    incident: IncidentId
    #: rack, power, pod or site, and its name.
    kind: str
    domain: str
    nodes: tuple[NodeId, ...]
    #: Those that are not back.
    out: tuple[NodeId, ...]
    since: Instant
    closed_at: Instant
    why: str
    #: The incident that turned out to explain this one.
    into: IncidentId


class JobView(View, frozen=True, kw_only=True):
    """One training job."""

    job: JobId
    name: str
    tenant: TenantId
    #: admitted, placed, starting, running, checkpointing, interrupted, succeeded, failed, cancelled
    state: str
    priority: str
    nodes: int
    chips: int
    submitted_at: Instant
    first_placed_at: Instant
    ended_at: Instant
    attempt: AttemptId | None
    placed_on: tuple[NodeId, ...]
    attempts: int
    step: int
    steps: int
    kept_step: int
    loss: float
    tokens: int
    step_ns: Span
    #: Predicted end from observed progress; 0: unknown.
    ends_at: Instant
    forecast: Forecast | None
    history: tuple[Ended, ...]
    text: str


class ReplicaView(View, frozen=True, kw_only=True):
    """One live replica."""

    attempt: AttemptId
    node: NodeId
    state: str  # starting, ready, stalled, leaving, stopping
    url: str


class ServiceView(View, frozen=True, kw_only=True):
    """One inference service."""

    service: ServiceId
    name: str
    tenant: TenantId
    engine: str
    model_path: str
    shared: bool
    concurrency: int
    wanted: int
    ready: int
    min: int
    max: int
    replicas: tuple[ReplicaView, ...]
    why: str


class SiteView(View, frozen=True, kw_only=True):
    """The site in one look."""

    name: str
    chip: str
    open: bool
    nodes: int
    chips: int
    nodes_by_state: dict[str, int]
    chips_free: int
    jobs_waiting: int
    jobs_running: int
    idle_reason: str
    gangs_live: int


class Explanation(View, frozen=True, kw_only=True):
    """Why a job is where it is, what would change that, and when it should start or end."""

    job: JobId
    state: str
    text: str
    reasons: tuple[Reason, ...]
    queue_position: int  # 1 is next; 0: not waiting
    queue_length: int
    #: Predicted start (0: unknown) and its 10-90 % interval; that of the finish.
    starts_at: Instant
    starts_early_at: Instant
    starts_late_at: Instant
    finish_early_at: Instant
    finish_late_at: Instant


# ---- nodes -------------------------------------------------------------------------------------


def nodes(state: State) -> list[NodeView]:
    """Every node of the site, in site order."""
    return [_node(state, node) for node in state.nodes if state.node_state(node) is not NodeState.RETIRED]


def _node(state: State, node: NodeId) -> NodeView:
    columns, record = state.columns, state.nodes[node]
    row = columns.index[node]
    spare = bool(columns.spare[row])
    kind = columns.state_of(node).name.lower()
    if kind == "ready":
        kind = "spare" if spare else "allocated" if record.gangs else "ready"
    return NodeView(
        node=node,
        pod=columns.pods.all[columns.pod[row]],
        rack=columns.racks.all[columns.rack[row]],
        state=kind,
        chips=int(columns.chips[row]),
        chips_free=int(columns.free_count[row]),
        spare=spare,
        cordoned=record.cordoned,
        attempts=tuple(record.gangs),
        why=record.why,
        losses=len(record.losses),
        gemm_flops=float(columns.gemm_flops[row]),
        slow=record.slow,
        occupied_by=record.taken_by,
        occupied_until=record.taken_until,
    )


def incidents(state: State) -> list[IncidentView]:
    """Incidents that are open, newest first, then the last that are over."""
    every = (*state.past_incidents.values(), *state.incidents.values())
    return [
        IncidentView(
            incident=one.incident,
            kind=one.kind,
            domain=one.domain,
            nodes=tuple(one.nodes),
            out=tuple(one.out),
            since=one.since,
            closed_at=one.closed_at,
            why=one.why,
            into=one.into,
        )
        for one in reversed(every)
    ]


def nodes_by_state(state: State) -> dict[str, int]:
    """How many nodes are in which state. Reads three columns and no node: cheap for any site."""
    columns = state.columns
    counts = np.bincount(columns.state, minlength=len(NodeState))
    found = {kind.name.lower(): int(counts[kind]) for kind in NodeState if kind is not NodeState.RETIRED}
    ready = columns.state == NodeState.READY
    found["spare"] = int((ready & columns.spare).sum())
    found["allocated"] = int((ready & ~columns.spare & (columns.free_count < columns.chips)).sum())
    found["ready"] -= found["spare"] + found["allocated"]
    return {word: count for word, count in found.items() if count}


# ---- jobs --------------------------------------------------------------------------------------


def find_job(state: State, name: str, tenant: TenantId | None = None) -> Job:
    """A job by id, or the newest of that name. Raises UserError (404) with near misses."""
    mine = [job for job in state.jobs.values() if tenant in (None, job.spec.tenant)]
    for job in reversed(mine):
        if name in (job.job, job.spec.name):
            return job
    raise UserError(
        "there is no such job", field="job", value=name, remedy=near(name, [j.job for j in mine]), status=404
    )


def jobs(state: State, tenant: TenantId | None = None) -> list[JobView]:
    """Jobs in the order they were submitted; only a tenant's own if one is given."""
    return [job_view(state, job) for job in state.jobs.values() if tenant in (None, job.spec.tenant)]


def job_view(state: State, job: Job) -> JobView:
    """The view of one job."""
    gang = state.gangs[job.attempt] if job.attempt else None
    return JobView(
        job=job.job,
        name=job.spec.name,
        tenant=job.spec.tenant,
        state=job_state(job, gang),
        priority=job.spec.priority,
        nodes=len(gang.nodes) if gang else job.sizes[0],
        chips=gang.chips if gang else job.spec.chips,
        submitted_at=job.submitted_at,
        first_placed_at=job.first_placed_at,
        ended_at=job.ended_at,
        attempt=job.attempt,
        placed_on=gang.nodes if gang else (),
        attempts=job.attempts,
        step=job.step,
        steps=job.profile.steps,
        kept_step=job.kept_step,
        loss=job.loss,
        tokens=job.tokens,
        step_ns=job.step_ns,
        ends_at=state.ends_at(gang) if gang else 0,
        forecast=job.forecast,
        history=job.history,
        text=job.text,
    )


def job_state(job: Job, gang: Gang | None) -> str:
    """The word for where a job is in its life."""
    if job.outcome:
        return job.outcome
    if gang is None:
        return "interrupted" if job.history else "admitted"
    if gang.phase is GangPhase.RUNNING:
        return "checkpointing" if gang.leave_request else "running"
    return {GangPhase.PLACED: "placed", GangPhase.STARTED: "starting"}.get(gang.phase, "interrupted")


def explain(m: Moment, job: Job, ahead: int = AHEAD) -> Explanation:
    """Why the job waits (or what it is doing), asked of the scheduler itself on the present state."""
    view = job_view(m.state, job)
    reasons, start = _waiting(m, job, ahead)
    position = m.board.queue.position(job.job)
    gang = m.state.gangs[job.attempt] if job.attempt else None
    if job.attempt:
        start = foresee.Start(view.first_placed_at, view.first_placed_at, view.first_placed_at)
    nodes = len(gang.nodes) if gang else job.sizes[0]
    run = asks.run_estimate(m.state, job, nodes) if m.state.site and job.outcome is None else None
    early = late = 0
    if run and run.run_ns and start.at:
        early = max(start.early_at, m.now) + run.run_low_ns
        late = max(start.late_at, m.now) + run.run_high_ns
    said = gang.first_words if gang and gang.phase is GangPhase.PLACED else ""
    return Explanation(
        job=job.job,
        state=view.state,
        text=words(view, reasons) + (f": {said}" if said else ""),
        reasons=reasons,
        queue_position=position,
        queue_length=len(m.board.queue) if position else 0,
        starts_at=start.at,
        starts_early_at=start.early_at,
        starts_late_at=start.late_at,
        finish_early_at=early,
        finish_late_at=late,
    )


def _waiting(m: Moment, job: Job, ahead: int) -> tuple[tuple[Reason, ...], foresee.Start]:
    """Reasons, and the predicted start. The rules are those of the next cycle."""
    unknown = foresee.Start(0, 0, 0)
    if job.job not in m.state.waiting:
        return (), unknown
    if not m.state.open:
        return (
            Reason(code="site_closed", text="the site is closed", remedy="starts after myriad up"),
        ), unknown
    ask = m.board.queue.get(job.job)
    if ask is None or job.held_until > m.now:
        # out of the queue until its timer has rung, even if that is late
        if job.history and job.history[-1].cause == "node":
            text = f"pauses: its attempts end before they begin, by no fault of its own: {_last_why(job)}"
            remedy = "starts again after the pause; an operator finds what keeps it from beginning"
        else:
            text = f"pauses after a fault of its own ({job.faults} in a row): {_last_why(job)}"
            remedy = "starts again after the pause; or cancel and mend it"
        held = foresee.Start(job.held_until, job.held_until, job.held_until)
        return (Reason(code="backoff", text=text, remedy=remedy),), held
    waits = plan.decide(m.state, m.board, m.rules, m.now, ask)
    if isinstance(waits, Placed):
        return (), foresee.Start(m.now, m.now, m.now)
    reasons = sentences.reasons(m.state, m.board, m.rules, m.now, waits)
    if reasons[0].code in forecast.HELD:
        return reasons, forecast.allowed(m, ask, reasons[0].code)
    return reasons, foresee.start(m.state, m.board, ask, m.now, ahead=ahead)


def _last_why(job: Job) -> str:
    return job.history[-1].why if job.history else ""


def words(view: JobView, reasons: tuple[Reason, ...]) -> str:
    """Where the job is, or why it waits, in a sentence."""
    if view.state in ("succeeded", "failed", "cancelled"):
        return f"{view.state}" + (f": {view.text}" if view.text else "")
    if reasons:
        return "; ".join(reason.text for reason in reasons)
    if view.placed_on:
        where = ", ".join(view.placed_on[:8]) + ("…" if len(view.placed_on) > 8 else "")
        return f"{view.state} on {where}"
    return "starts in the next cycle"


# ---- services, the site -----------------------------------------------------------------


def services(state: State, tenant: TenantId | None = None) -> list[ServiceView]:
    """Services by name; a tenant sees its own and the shared ones."""
    return [
        service_view(state, service)
        for service in state.services.values()
        if tenant is None or service.spec.tenant == tenant or service.spec.shared
    ]


def service_view(state: State, service: Service) -> ServiceView:
    """The view of one service."""
    replicas = tuple(_replicas(state, service))
    return ServiceView(
        service=service.service,
        name=service.spec.name,
        tenant=service.spec.tenant,
        engine=service.spec.engine,
        model_path=service.model_path,
        shared=service.spec.shared,
        concurrency=service.spec.concurrency,
        wanted=service.wanted,
        ready=sum(replica.state in ("ready", "leaving") for replica in replicas),
        min=service.spec.replicas.min,
        max=service.spec.replicas.max,
        replicas=replicas,
        why=service.why,
    )


def _replicas(state: State, service: Service) -> Iterator[ReplicaView]:
    words = {GangPhase.RUNNING: "ready", GangPhase.STALLED: "stalled", GangPhase.STOPPING: "stopping"}
    for attempt in service.gangs:
        gang = state.gangs[attempt]
        word = words.get(gang.phase, "starting")
        if word == "ready" and gang.leave_request:
            word = "leaving"
        yield ReplicaView(attempt=attempt, node=gang.nodes[0], state=word, url=gang.url)


def site(state: State) -> SiteView:
    """The site in one look."""
    by_state = nodes_by_state(state)
    declared, columns = state.site, state.columns
    offered = (columns.state == NodeState.READY) & (columns.taken_until == 0)
    return SiteView(
        name=declared.name if declared else "",
        chip=declared.chip if declared else "",
        open=state.open,
        nodes=sum(by_state.values()),
        chips=declared.chip_count if declared else 0,
        nodes_by_state=by_state,
        chips_free=int(columns.free_count[offered].sum()),
        jobs_waiting=len(state.waiting),
        jobs_running=sum(1 for gang in state.gangs.values() if gang.job),
        idle_reason=state.idle,
        gangs_live=len(state.gangs),
    )
