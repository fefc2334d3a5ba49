"""`apply(state, fact)`: the only function that changes state. A pure fold: no policy is asked.

One small function a fact, found by its type. Journal replay calls exactly these.
"""

from collections.abc import Callable, Iterable
from typing import Any

from myriad.control import deadlines, failures, forget, memory, others
from myriad.control.records import AWAY, Ended, Gang, GangPhase, Job, Key, Node, Service, Spent, Usage
from myriad.control.state import State, signature, sizes
from myriad.kernel.ids import NodeId, TenantId
from myriad.protocol import facts
from myriad.protocol.facts import Fact
from myriad.protocol.wire import Entry
from myriad.schedule import preempt

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
    state.site, state.prices, state.sizes = fact.site, fact.prices, fact.site.sizes()
    state.open = True
    state.opened_at = state.opened_at or fact.at
    places = fact.site.places()
    new = [place for place in places if place.node not in state.nodes]
    state.columns.add(new)
    state.power |= {place.rack: place.power for place in places if place.power not in ("", place.pod)}
    for place in new:
        state.nodes[place.node] = Node()
    failures.size_domains(state, [place.node for place in places])


@_applies(facts.SiteClosed)
def _site_closed(state: State, _: facts.SiteClosed) -> None:
    state.open = False


@_applies(facts.TenantSet)
def _tenant_set(state: State, fact: facts.TenantSet) -> None:
    known = state.tenants.get(fact.tenant.name)
    state.tenants[fact.tenant.name] = fact.tenant
    state.budgeted = any(tenant.budget for tenant in state.tenants.values())
    state.usage.setdefault(fact.tenant.name, 0)
    state.spent.setdefault(fact.tenant.name, Spent(until=fact.at))
    if known is None or known.parent != fact.tenant.parent:
        _regroup(state)


def _regroup(state: State) -> None:
    """The tenant tree changed: paths, and what each branch holds, anew."""
    for name, spent in state.spent.items():
        spent.settle(state.now, state.usage[name])
    for name in state.tenants:
        path = [name]
        while parent := state.tenants[path[-1]].parent:
            path.append(parent)
        state.paths[name] = tuple(path)
    for name in state.usage:
        state.usage[name] = 0
    for gang in state.gangs.values():
        for name in state.paths[gang.tenant]:
            state.usage[name] += gang.chips


def _use(state: State, tenant: TenantId, chips: int) -> None:
    """The tenant, and all it is part of, hold so many chips more from now on."""
    now, spent, usage = state.now, state.spent, state.usage
    for name in state.paths[tenant]:
        held = usage[name]
        if (account := spent[name]).until < now:
            account.settle(now, held)
        usage[name] = held + chips


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
    state.columns.set_state(fact.node, fact.state)
    failures.count_move(state, fact, before)
    failures.count_flap(node, fact, before)
    failures.start_anew(state, fact)
    if fact.state in AWAY:
        others.forget(state, fact.node)
    node.why, node.until = fact.why, fact.until
    if fact.instance and fact.instance != node.instance:
        node.past = (*node.past, node.instance)[-8:]
        node.instance = fact.instance
        node.unhealthy = {}
        node.silent_since = 0


@_applies(facts.NodeCordoned)
def _node_cordoned(state: State, fact: facts.NodeCordoned) -> None:
    node = state.nodes[fact.node]
    node.cordoned, node.cordoned_by, node.cordon_reason = fact.cordoned, fact.by, fact.reason
    if not fact.cordoned:
        failures.hold_against(state, fact.node, ())


@_applies(facts.NodeSpared)
def _node_spared(state: State, fact: facts.NodeSpared) -> None:
    state.columns.set_spare(fact.node, fact.spare)


@_applies(facts.NodeEvidence)
def _node_evidence(state: State, fact: facts.NodeEvidence) -> None:
    node = state.nodes[fact.node]
    if not fact.healthy:
        node.unhealthy.setdefault(fact.source, fact.at)
        if fact.since:
            node.silent_since = min(node.silent_since or fact.since, fact.since)
        return
    node.unhealthy.pop(fact.source, None)
    if not node.unhealthy:
        node.silent_since = 0


_APPLIERS[facts.NodeTaken] = others.on_taken
_APPLIERS[facts.DeadlineMoved] = deadlines.on_moved
_APPLIERS[facts.NodeLost] = failures.on_lost
_APPLIERS[facts.LossesForgotten] = failures.on_forgotten
_APPLIERS[facts.IncidentOpened] = failures.on_opened
_APPLIERS[facts.IncidentJoined] = failures.on_joined
_APPLIERS[facts.IncidentClosed] = failures.on_closed
_APPLIERS[facts.NodeLagged] = failures.on_lagged
_APPLIERS[facts.NodeSlow] = failures.on_slow


@_applies(facts.NodeMeasured)
def _node_measured(state: State, fact: facts.NodeMeasured) -> None:
    state.columns.set_gemm(fact.node, fact.gemm_flops)


# ---- jobs --------------------------------------------------------------------------------------


@_applies(facts.JobAdmitted)
def _job_admitted(state: State, fact: facts.JobAdmitted) -> None:
    job = Job(
        job=fact.job,
        spec=fact.spec,
        profile=fact.profile,
        submitted_at=fact.at,
        queued_at=fact.at,
        sizes=sizes(fact.spec, fact.profile),
    )
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
    state.claims.pop(fact.job, None)
    if (
        fact.outcome == "succeeded"
        and job.step_ns
        and (name := signature(job.spec, job.profile, len(job.keep)))
    ):
        forget.step_seen(state, name, job.step_ns)
    forget.job_ended(state, job)


# ---- gangs -------------------------------------------------------------------------------------


@_applies(facts.GangPlaced)
def _gang_placed(state: State, fact: facts.GangPlaced) -> None:
    attempt, members = fact.attempt, fact.members
    owner = state.jobs[fact.job] if fact.job else state.services[fact.service]
    tenant, rank = owner.spec.tenant, owner.spec.rank
    nodes, masks = tuple([one.node for one in members]), [one.chips for one in members]
    gang = state.gangs[attempt] = Gang(
        attempt=attempt,
        job=fact.job,
        service=fact.service,
        tenant=tenant,
        members=members,
        nodes=nodes,
        chips=sum([mask.bit_count() for mask in masks]),
        rank=rank,
        placed_at=fact.at,
        until=fact.until,
        run_ns=fact.run_ns,
        left=dict.fromkeys(nodes),
    )
    owner.attempts += 1
    if isinstance(owner, Job):
        if owner.step_ns and len(owner.keep) not in (0, len(nodes)):
            owner.step_ns = owner.step_ns * len(owner.keep) // len(nodes)  # until another is observed
        owner.attempt, owner.keep = attempt, nodes
        owner.first_placed_at = owner.first_placed_at or fact.at
        state.waiting.pop(fact.job, None)
        gang.step = gang.resumed_step = owner.kept_step
        gang.spared_ns = preempt.spared_ns(owner.preempted)
    else:
        owner.gangs[attempt] = None
    state.claims.pop(fact.owner, None)
    state.holders.setdefault((tenant, rank), {})[attempt] = None
    _use(state, tenant, gang.chips)
    state.columns.hold(state.columns.rows(nodes), masks)
    for node in nodes:
        state.nodes[node].gangs[attempt] = None


@_applies(facts.MemberStarted)
def _member_started(state: State, fact: facts.MemberStarted) -> None:
    state.gangs[fact.attempt].started[fact.node] = None


@_applies(facts.GangStarted)
def _gang_started(state: State, fact: facts.GangStarted) -> None:
    gang = state.gangs[fact.attempt]
    gang.phase, gang.until = GangPhase.STARTED, 0
    if len(gang.started) < len(gang.nodes):
        gang.started = dict.fromkeys(gang.nodes)


@_applies(facts.GangRunning)
def _gang_running(state: State, fact: facts.GangRunning) -> None:
    gang = state.gangs[fact.attempt]
    gang.phase, gang.running_at = GangPhase.RUNNING, fact.at
    gang.until = gang.until if gang.leave_request else 0
    gang.url, gang.step, gang.resumed_step = fact.url, fact.step, fact.step
    if gang.job:
        memory.on_resumed(state, state.jobs[gang.job], gang, fact.step)


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
    gang.leave_cause, gang.claimant, gang.leave_ns = fact.cause, fact.claimant, fact.until - fact.at
    if fact.claimant:
        state.claims.setdefault(fact.claimant, {})[fact.attempt] = None


@_applies(facts.CheckpointRecorded)
def _checkpoint_recorded(state: State, fact: facts.CheckpointRecorded) -> None:
    job = state.jobs[fact.job]
    memory.on_recorded(job, state.gangs[fact.attempt], fact)


@_applies(facts.WorkerNoted)
def _worker_noted(state: State, fact: facts.WorkerNoted) -> None:
    gang = state.gangs[fact.attempt]
    gang.last_words = gang.last_words or (fact.text if fact.fatal else "")
    gang.first_words = fact.text if gang.phase is GangPhase.PLACED else gang.first_words


@_applies(facts.MemberDone)
def _member_done(state: State, fact: facts.MemberDone) -> None:
    gang = state.gangs[fact.attempt]
    gang.done[fact.node] = fact.code
    gang.left.pop(fact.node, None)


@_applies(facts.GangStopping)
def _gang_stopping(state: State, fact: facts.GangStopping) -> None:
    gang = state.gangs[fact.attempt]
    gang.phase, gang.until = GangPhase.STOPPING, fact.until
    gang.cause, gang.why = fact.cause, fact.why


@_applies(facts.MemberFenced)
def _member_fenced(state: State, fact: facts.MemberFenced) -> None:
    gang = state.gangs[fact.attempt]
    gang.fenced[fact.node] = None
    gang.left.pop(fact.node, None)


@_applies(facts.GangFenced)
def _gang_fenced(state: State, fact: facts.GangFenced) -> None:
    gang = state.gangs[fact.attempt]
    gang.fenced |= gang.left
    gang.left = {}


@_applies(facts.GangStopped)
def _gang_stopped(state: State, fact: facts.GangStopped) -> None:
    gang = state.gangs.pop(fact.attempt)
    held = (gang.tenant, gang.rank)
    del state.holders[held][fact.attempt]
    if not state.holders[held]:
        del state.holders[held]
    _use(state, gang.tenant, -gang.chips)
    state.columns.give_back(state.columns.rows(gang.nodes), [member.chips for member in gang.members])
    for node in gang.nodes:
        del state.nodes[node].gangs[fact.attempt]
    if gang.claimant:
        state.claims.get(gang.claimant, {}).pop(fact.attempt, None)
    if gang.service:
        _replica_stopped(state, gang, fact)
    else:
        _attempt_stopped(state, gang, fact)


def _replica_stopped(state: State, gang: Gang, fact: facts.GangStopped) -> None:
    service = state.services[gang.service]
    del service.gangs[fact.attempt]
    if fact.cause == "job" or (fact.cause == "node" and gang.never_began):
        service.faults = 1 if gang.running_at else service.faults + 1
    if service.removed and not service.gangs:
        forget.service_gone(state, gang.service)


def _attempt_stopped(state: State, gang: Gang, fact: facts.GangStopped) -> None:
    job = state.jobs[gang.job]
    job.attempt, job.kept_step = None, fact.kept_step
    job.held_chip_ns += gang.chips * (fact.at - gang.placed_at)
    job.run_ns += fact.at - gang.running_at if gang.running_at else 0
    job.preempted += fact.cause == "preempted"
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
    forget.attempt_ended(job, ended)
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
            attempts=state.former_attempts.pop(fact.service, 0),
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


@_applies(facts.ServiceLoaded)
def _service_loaded(state: State, fact: facts.ServiceLoaded) -> None:
    state.services[fact.service].busy = fact.busy


@_applies(facts.ServiceHeld)
def _service_held(state: State, fact: facts.ServiceHeld) -> None:
    state.services[fact.service].held_until = fact.until


@_applies(facts.ServiceRemoved)
def _service_removed(state: State, fact: facts.ServiceRemoved) -> None:
    service = state.services[fact.service]
    service.removed, service.wanted = True, 0
    if not service.gangs:
        forget.service_gone(state, fact.service)


@_applies(facts.TokensServed)
def _tokens_served(state: State, fact: facts.TokensServed) -> None:
    if fact.final:
        state.metering.pop(fact.request, None)
    else:
        state.metering[fact.request] = Usage(
            prompt_tokens=fact.prompt_tokens, completion_tokens=fact.completion_tokens
        )


@_applies(facts.WindowSet)
def _window_set(state: State, fact: facts.WindowSet) -> None:
    state.windows[fact.window.name] = fact.window


@_applies(facts.WindowEnded)
def _window_ended(state: State, fact: facts.WindowEnded) -> None:
    state.windows.pop(fact.name, None)


@_applies(facts.LookAgain)
def _look_again(state: State, fact: facts.LookAgain) -> None:
    state.look_again_at = fact.until


@_applies(facts.IdleExplained)
def _idle_explained(state: State, fact: facts.IdleExplained) -> None:
    state.idle = fact.reason


assert set(_APPLIERS) == set(facts.AnyFact.__args__), "every fact has one applier"
