"""`apply(state, fact)`: the only function that changes state. A pure fold: no policy is asked.

One small function a fact, found by its type. Journal replay calls exactly these.
"""

from collections.abc import Callable, Iterable
from typing import Any

from myriad.control import failures, memory
from myriad.control.state import (
    Ended,
    Gang,
    GangPhase,
    Job,
    Key,
    Node,
    Service,
    State,
    Usage,
    signature,
)
from myriad.kernel.ids import NodeId
from myriad.protocol import facts
from myriad.protocol.facts import Fact
from myriad.protocol.wire import Entry

_APPLIERS: dict[type[Fact], Callable[[State, Any], None]] = {}


def apply(state: State, fact: Fact) -> None:
    """Make the fact true."""
    state.now = max(state.now, fact.at)
    _APPLIERS[type(fact)](state, fact)


def fold(entries: Iterable[Entry], state: State | None = None) -> State:
    """The state after these journal entries."""
    state = state or State()
    for entry in entries:
        for fact in entry.facts:
            apply(state, fact)
    return state


def _applies(kind: type[Fact]) -> Callable[[Callable[[State, Any], None]], Callable[[State, Any], None]]:
    def register(function: Callable[[State, Any], None]) -> Callable[[State, Any], None]:
        assert kind not in _APPLIERS, kind
        _APPLIERS[kind] = function
        return function

    return register


# ---- site, tenants, keys -----------------------------------------------------------------------


@_applies(facts.SiteOpened)
def _site_opened(state: State, fact: facts.SiteOpened) -> None:
    state.site, state.prices = fact.site, fact.prices
    state.open = True
    state.opened_at = state.opened_at or fact.at
    places = fact.site.places()
    new = [place for place in places if place.node not in state.nodes]
    state.columns.add(new)
    for place in new:
        state.nodes[place.node] = Node()
    failures.size_domains(state, [place.node for place in places])


@_applies(facts.SiteClosed)
def _site_closed(state: State, _: facts.SiteClosed) -> None:
    state.open = False


@_applies(facts.TenantSet)
def _tenant_set(state: State, fact: facts.TenantSet) -> None:
    state.tenants[fact.tenant.name] = fact.tenant
    state.usage.setdefault(fact.tenant.name, 0)


@_applies(facts.KeySet)
def _key_set(state: State, fact: facts.KeySet) -> None:
    state.keys[fact.key] = Key(key=fact.key, key_hash=fact.key_hash, role=fact.role, tenant=fact.tenant)


@_applies(facts.KeyRevoked)
def _key_revoked(state: State, fact: facts.KeyRevoked) -> None:
    state.keys.pop(fact.key, None)


# ---- nodes -------------------------------------------------------------------------------------


@_applies(facts.NodeMoved)
def _node_moved(state: State, fact: facts.NodeMoved) -> None:
    node, before = state.nodes[fact.node], state.node_state(fact.node)
    state.columns.state[state.columns.index[fact.node]] = fact.state
    failures.count_move(state, fact, before)
    failures.count_flap(node, fact, before)
    failures.start_anew(state, fact)
    node.why, node.until = fact.why, fact.until
    if fact.instance and fact.instance != node.instance:
        node.past = (*node.past, node.instance)[-8:]
        node.instance = fact.instance
        node.unhealthy = {}


@_applies(facts.NodeCordoned)
def _node_cordoned(state: State, fact: facts.NodeCordoned) -> None:
    node = state.nodes[fact.node]
    node.cordoned, node.cordoned_by = fact.cordoned, fact.by
    if not fact.cordoned:
        failures.hold_against(state, fact.node, ())


@_applies(facts.NodeSpared)
def _node_spared(state: State, fact: facts.NodeSpared) -> None:
    state.columns.spare[state.columns.index[fact.node]] = fact.spare


@_applies(facts.NodeEvidence)
def _node_evidence(state: State, fact: facts.NodeEvidence) -> None:
    unhealthy = state.nodes[fact.node].unhealthy
    if fact.healthy:
        unhealthy.pop(fact.source, None)
    else:
        unhealthy.setdefault(fact.source, fact.at)


_APPLIERS[facts.NodeLost] = failures.on_lost
_APPLIERS[facts.LossesForgotten] = failures.on_forgotten
_APPLIERS[facts.IncidentOpened] = failures.on_opened
_APPLIERS[facts.IncidentJoined] = failures.on_joined
_APPLIERS[facts.IncidentClosed] = failures.on_closed
_APPLIERS[facts.NodeLagged] = failures.on_lagged
_APPLIERS[facts.NodeSlow] = failures.on_slow


@_applies(facts.NodeMeasured)
def _node_measured(state: State, fact: facts.NodeMeasured) -> None:
    state.nodes[fact.node].gemm_flops = fact.gemm_flops


# ---- jobs --------------------------------------------------------------------------------------


@_applies(facts.JobAdmitted)
def _job_admitted(state: State, fact: facts.JobAdmitted) -> None:
    job = Job(job=fact.job, spec=fact.spec, profile=fact.profile, submitted_at=fact.at, queued_at=fact.at)
    state.jobs[fact.job] = job
    state.waiting[fact.job] = None


@_applies(facts.Refused)
def _refused(state: State, fact: facts.Refused) -> None:
    """Kept in the journal for the audit; changes nothing."""


@_applies(facts.JobForecast)
def _job_forecast(state: State, fact: facts.JobForecast) -> None:
    state.jobs[fact.job].forecast = fact.forecast


@_applies(facts.JobHeld)
def _job_held(state: State, fact: facts.JobHeld) -> None:
    state.jobs[fact.job].held_until = fact.until


_APPLIERS[facts.RungTaken] = memory.on_rung_taken


@_applies(facts.CancelRequested)
def _cancel_requested(state: State, fact: facts.CancelRequested) -> None:
    state.jobs[fact.job].cancel_by = fact.by


@_applies(facts.JobEnded)
def _job_ended(state: State, fact: facts.JobEnded) -> None:
    job = state.jobs[fact.job]
    job.outcome, job.text, job.ended_at = fact.outcome, fact.text, fact.at
    state.waiting.pop(fact.job, None)
    if fact.outcome == "succeeded" and job.step_ns and (name := signature(job.spec, job.profile)):
        state.observed_ns[name] = job.step_ns


# ---- gangs -------------------------------------------------------------------------------------


@_applies(facts.GangPlaced)
def _gang_placed(state: State, fact: facts.GangPlaced) -> None:
    owner = state.jobs[fact.job] if fact.job else state.services[fact.service]
    tenant = owner.spec.tenant
    gang = Gang(
        attempt=fact.attempt,
        job=fact.job,
        service=fact.service,
        tenant=tenant,
        members=fact.members,
        placed_at=fact.at,
        until=fact.until,
    )
    owner.attempts += 1
    if isinstance(owner, Job):
        owner.attempt, owner.keep = fact.attempt, gang.nodes
        owner.first_placed_at = owner.first_placed_at or fact.at
        state.waiting.pop(fact.job, None)
        gang.step = gang.resumed_step = owner.kept_step
    else:
        owner.gangs[fact.attempt] = None
    state.gangs[fact.attempt] = gang
    state.usage[tenant] += gang.chips
    for member in fact.members:
        state.columns.hold(member.node, member.chips)
        state.nodes[member.node].gangs[fact.attempt] = None


@_applies(facts.MemberStarted)
def _member_started(state: State, fact: facts.MemberStarted) -> None:
    state.gangs[fact.attempt].started[fact.node] = None


@_applies(facts.GangStarted)
def _gang_started(state: State, fact: facts.GangStarted) -> None:
    gang = state.gangs[fact.attempt]
    gang.phase, gang.until = GangPhase.STARTED, 0


@_applies(facts.GangRunning)
def _gang_running(state: State, fact: facts.GangRunning) -> None:
    gang = state.gangs[fact.attempt]
    gang.phase, gang.running_at = GangPhase.RUNNING, fact.at
    gang.until = gang.until if gang.leave_request else 0
    gang.url, gang.step, gang.resumed_step = fact.url, fact.step, fact.step
    if gang.job:
        memory.on_resumed(state.jobs[gang.job], gang, fact.step)


@_applies(facts.ReplicaStalled)
def _replica_stalled(state: State, fact: facts.ReplicaStalled) -> None:
    gang = state.gangs[fact.attempt]
    gang.phase, gang.until = GangPhase.STALLED, fact.until


@_applies(facts.StepsDone)
def _steps_done(state: State, fact: facts.StepsDone) -> None:
    gang = state.gangs[fact.attempt]
    job = state.jobs[gang.job]
    gang.step, gang.step_ns = fact.step, fact.step_ns or gang.step_ns
    job.step, job.loss = fact.step, fact.loss or job.loss
    job.tokens += fact.tokens
    if fact.step_ns:
        # exponential mean over about eight reports: follows a change, ignores a hiccup
        job.step_ns = (7 * job.step_ns + fact.step_ns) // 8 if job.step_ns else fact.step_ns


@_applies(facts.LeaveAsked)
def _leave_asked(state: State, fact: facts.LeaveAsked) -> None:
    gang = state.gangs[fact.attempt]
    gang.leave_request, gang.leave_why, gang.until = fact.request, fact.why, fact.until


@_applies(facts.CheckpointRecorded)
def _checkpoint_recorded(state: State, fact: facts.CheckpointRecorded) -> None:
    job = state.jobs[fact.job]
    memory.on_recorded(job, state.gangs[fact.attempt], fact)


@_applies(facts.WorkerNoted)
def _worker_noted(state: State, fact: facts.WorkerNoted) -> None:
    gang = state.gangs[fact.attempt]
    if fact.fatal and not gang.last_words:
        gang.last_words = fact.text


@_applies(facts.MemberDone)
def _member_done(state: State, fact: facts.MemberDone) -> None:
    state.gangs[fact.attempt].done[fact.node] = fact.code


@_applies(facts.GangStopping)
def _gang_stopping(state: State, fact: facts.GangStopping) -> None:
    gang = state.gangs[fact.attempt]
    gang.phase, gang.until = GangPhase.STOPPING, fact.until
    gang.cause, gang.why = fact.cause, fact.why


@_applies(facts.MemberFenced)
def _member_fenced(state: State, fact: facts.MemberFenced) -> None:
    state.gangs[fact.attempt].fenced[fact.node] = None


@_applies(facts.GangStopped)
def _gang_stopped(state: State, fact: facts.GangStopped) -> None:
    gang = state.gangs.pop(fact.attempt)
    state.usage[gang.tenant] -= gang.chips
    for member in gang.members:
        state.columns.give_back(member.node, member.chips)
        del state.nodes[member.node].gangs[fact.attempt]
    if gang.service:
        _replica_stopped(state, gang, fact)
    else:
        _attempt_stopped(state, gang, fact)


def _replica_stopped(state: State, gang: Gang, fact: facts.GangStopped) -> None:
    service = state.services[gang.service]
    del service.gangs[fact.attempt]
    if fact.cause == "job":
        lived = bool(gang.running_at)
        service.faults = 1 if lived else service.faults + 1
    if service.removed and not service.gangs:
        del state.services[gang.service]


def _attempt_stopped(state: State, gang: Gang, fact: facts.GangStopped) -> None:
    job = state.jobs[gang.job]
    job.attempt, job.kept_step = None, fact.kept_step
    job.run_ns += fact.at - gang.running_at if gang.running_at else 0
    memory.on_stopped(state, job, gang, fact)
    ended = Ended(
        attempt=gang.attempt,
        nodes=gang.nodes,
        placed_at=gang.placed_at,
        stopped_at=fact.at,
        cause=fact.cause,
        why=fact.why,
        resumed_step=gang.resumed_step,
        last_step=gang.step,
        kept_step=fact.kept_step,
        root=NodeId("") if gang.lost else fact.root,
    )
    job.history = (*job.history, ended)
    if fact.cause in ("job", "node"):
        failures.blame(state, job, ended)
    if fact.cause == "job":
        job.own_faults += 1
        job.faults = 1 if job.kept_step > job.fault_step else job.faults + 1
        job.fault_step = max(job.fault_step, job.kept_step)
    if fact.cause not in ("done", "cancelled"):
        job.queued_at = fact.at
        state.waiting[gang.job] = None


# ---- services ----------------------------------------------------------------------------------


@_applies(facts.ServiceSet)
def _service_set(state: State, fact: facts.ServiceSet) -> None:
    known = state.services.get(fact.service)
    if known is None:
        state.services[fact.service] = Service(
            service=fact.service,
            spec=fact.spec,
            model_path=fact.model_path,
            applied_at=fact.at,
            wanted=max(1, fact.spec.replicas.min),
        )
    else:
        known.spec, known.model_path, known.removed = fact.spec, fact.model_path, False
        known.wanted = min(max(known.wanted, fact.spec.replicas.min), fact.spec.replicas.max)
        known.held_until = known.faults = 0


@_applies(facts.ServiceScaled)
def _service_scaled(state: State, fact: facts.ServiceScaled) -> None:
    service = state.services[fact.service]
    service.wanted, service.below_since = fact.replicas, fact.below_since
    service.in_flight, service.queued = fact.in_flight, fact.queued
    service.why, service.until = fact.why, fact.until


@_applies(facts.ServiceHeld)
def _service_held(state: State, fact: facts.ServiceHeld) -> None:
    state.services[fact.service].held_until = fact.until


@_applies(facts.ServiceRemoved)
def _service_removed(state: State, fact: facts.ServiceRemoved) -> None:
    service = state.services[fact.service]
    service.removed, service.wanted = True, 0
    if not service.gangs:
        del state.services[fact.service]


@_applies(facts.TokensServed)
def _tokens_served(state: State, fact: facts.TokensServed) -> None:
    if fact.final:
        state.metering.pop(fact.request, None)
    else:
        state.metering[fact.request] = Usage(
            prompt_tokens=fact.prompt_tokens, completion_tokens=fact.completion_tokens
        )


@_applies(facts.IdleExplained)
def _idle_explained(state: State, fact: facts.IdleExplained) -> None:
    state.idle = fact.reason


assert set(_APPLIERS) == set(facts.AnyFact.__args__), "every fact has one applier"
