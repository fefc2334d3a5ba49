"""What follows from what gangs do: start, run, checkpoint, fail, stop. Jobs and replicas alike."""

from collections.abc import Iterator

from myriad.control import escalation, memory
from myriad.control.moment import Moment
from myriad.control.records import Gang, GangPhase, Job
from myriad.fleet.columns import NodeState
from myriad.kernel.ids import NodeId
from myriad.kernel.units import Instant
from myriad.protocol import facts, inputs
from myriad.protocol.facts import Fact
from myriad.protocol.values import Reason, StopCause
from myriad.recover import blame

#: A cause that outweighs another when both apply to one stopping gang.
_WEIGHT: dict[StopCause, int] = {
    "done": 0,
    "job": 1,
    "scaled": 2,
    "resized": 2,
    "preempted": 2,
    "moved": 2,
    "node": 3,
    "cancelled": 4,
}


# ---- starting and running ----------------------------------------------------------------------


def on_member_started(m: Moment, given: inputs.MemberStarted) -> Iterator[Fact]:
    """One node's processes exist; the last of them makes the gang started."""
    gang = m.state.gangs.get(given.attempt)
    if gang is None or not has(m, gang, given.node) or given.node in gang.started:
        return
    yield facts.MemberStarted(at=m.now, attempt=gang.attempt, node=given.node)
    if gang.phase is GangPhase.PLACED and len(gang.started) == len(gang.members):
        yield from _all_started(m, gang)


def on_gang_started(m: Moment, given: inputs.GangStarted) -> Iterator[Fact]:
    """Every node's processes exist."""
    gang = m.state.gangs.get(given.attempt)
    if gang is not None and gang.phase is GangPhase.PLACED:
        yield from _all_started(m, gang)


def _all_started(m: Moment, gang: Gang) -> Iterator[Fact]:
    yield facts.GangStarted(at=m.now, attempt=gang.attempt)
    if gang.job and m.state.jobs[gang.job].spec.command:
        # a plain command need not speak to us: it is useful from the moment it runs
        step = m.state.jobs[gang.job].kept_step
        yield facts.GangRunning(at=m.now, attempt=gang.attempt, step=step)


def on_training_resumed(m: Moment, given: inputs.TrainingResumed) -> Iterator[Fact]:
    """State is loaded: from here on steps count."""
    gang = m.state.gangs.get(given.attempt)
    if gang is None or not gang.job or gang.phase is GangPhase.STOPPING:
        return
    fresh = gang.phase is not GangPhase.RUNNING or gang.step == gang.resumed_step != given.step
    if fresh and given.step >= 0:
        yield facts.GangRunning(at=m.now, attempt=gang.attempt, step=given.step)


def on_steps(m: Moment, given: inputs.StepsReported) -> Iterator[Fact]:
    """Progress. A repeated or late report changes nothing."""
    gang = m.state.gangs.get(given.attempt)
    if gang is None or not gang.job or gang.phase is not GangPhase.RUNNING or given.step <= gang.step:
        return
    yield facts.StepsDone(
        at=m.now,
        attempt=gang.attempt,
        step=given.step,
        steps=given.step - gang.step,
        tokens=max(0, given.tokens),
        flops=given.flops,
        loss=given.loss,
        step_ns=max(0, given.step_ns),
        straggled_ns=max(0, given.straggled_ns),
        exposed_ns=max(0, given.exposed_ns),
        throttled_ns=max(0, given.throttled_ns),
    )


def on_checkpoint(m: Moment, given: inputs.CheckpointReported) -> Iterator[Fact]:
    """Work is safe up to a step; if a leaving gang was waited for, it can go now."""
    gang = m.state.gangs.get(given.attempt)
    if gang is None or not gang.job or not gang.running_at:
        return
    if given.step > gang.step:
        # its steps are still under way to us, and the checkpoint proves that they were done
        steps = given.step - gang.step
        yield facts.StepsDone(at=m.now, attempt=gang.attempt, step=given.step, steps=steps)
    job = m.state.jobs[gang.job]
    newest = job.memory_step if given.tier == "memory" else job.stored_step
    if given.step > newest:
        yield facts.CheckpointRecorded(
            at=m.now,
            job=gang.job,
            attempt=gang.attempt,
            step=given.step,
            path=given.path,
            checkpoint_bytes=given.checkpoint_bytes,
            stall_ns=max(0, given.stall_ns),
            saves=max(1, given.saves),
            write_ns=max(0, given.write_ns),
            request=given.request,
            tier=given.tier,
        )
    if (
        given.tier == "storage"
        and given.request
        and given.request == gang.leave_request
        and gang.phase is not GangPhase.STOPPING
    ):
        yield from stop(m, gang, gang.leave_cause, gang.leave_why)


def on_worker_spoke(m: Moment, given: inputs.WorkerSpoke) -> Iterator[Fact]:
    """A worker's words go on record."""
    gang = m.state.gangs.get(given.attempt)
    if gang is not None and has(m, gang, given.node):
        yield facts.WorkerNoted(
            at=m.now, attempt=gang.attempt, node=given.node, text=given.text, fatal=given.fatal
        )


def on_replica_ready(m: Moment, given: inputs.ReplicaReady) -> Iterator[Fact]:
    """A replica serves; one that was waiting to leave for it may go."""
    gang = m.state.gangs.get(given.attempt)
    if gang is None or not gang.service or gang.phase in (GangPhase.RUNNING, GangPhase.STOPPING):
        return
    yield facts.GangRunning(at=m.now, attempt=gang.attempt, url=given.url)
    service = m.state.services[gang.service]
    siblings = [m.state.gangs[attempt] for attempt in service.gangs]
    staying = [one for one in siblings if one.phase is GangPhase.RUNNING and not one.leave_request]
    if len(staying) >= service.wanted:
        for one in siblings:
            if one.leave_request and one.phase is not GangPhase.STOPPING:
                yield from stop(m, one, "moved", one.leave_why)


def on_replica_unready(m: Moment, given: inputs.ReplicaUnready) -> Iterator[Fact]:
    """A replica went silent: no more requests, and a restart if it stays so."""
    gang = m.state.gangs.get(given.attempt)
    if gang is not None and gang.service and gang.phase is GangPhase.RUNNING:
        until = m.after("stall_timeout")
        yield facts.ReplicaStalled(at=m.now, attempt=gang.attempt, until=until, detail=given.detail)


# ---- ending ------------------------------------------------------------------------------------


def on_member_exited(m: Moment, given: inputs.MemberExited) -> Iterator[Fact]:
    """Processes ended by themselves. All with 0: done. Any other: the whole gang stops, coordinated."""
    gang = m.state.gangs.get(given.attempt)
    if gang is None or given.node not in gang.left:
        return
    yield facts.MemberDone(
        at=m.now, attempt=gang.attempt, node=given.node, code=given.code, detail=given.detail
    )
    if gang.phase is GangPhase.STOPPING:
        yield from settle(m, gang)
    elif given.code != 0 or gang.service:
        why = given.detail or f"exit code {given.code} on {given.node}"
        yield from stop(m, gang, "job", why, given.since)
    elif not gang.left:
        yield from _finish(m, gang, "done", "")


def on_member_gone(m: Moment, given: inputs.MemberGone) -> Iterator[Fact]:
    """Nothing of the attempt is left on the node. Unasked for, that is a loss."""
    gang = m.state.gangs.get(given.attempt)
    if gang is None or not has(m, gang, given.node) or given.node in gang.fenced:
        return
    yield from member_fenced(m, gang, given.node)


def on_gang_exited(m: Moment, given: inputs.GangExited) -> Iterator[Fact]:
    """All its processes ended by themselves, everywhere."""
    gang = m.state.gangs.get(given.attempt)
    if gang is None:
        return
    if given.code == 0 and gang.job and gang.phase is not GangPhase.STOPPING and not gang.done:
        yield from _finish(m, gang, "done", "")
        return
    # a body that does not know where it began blames nobody; a refusal is the same everywhere
    refused = given.code == blame.REFUSED
    root = given.root if given.root in gang.left else next(iter(gang.left if refused else ()), NodeId(""))
    if root:
        yield facts.MemberDone(
            at=m.now, attempt=gang.attempt, node=root, code=given.code, detail=given.detail
        )
    if gang.left:
        yield facts.GangFenced(at=m.now, attempt=gang.attempt)
    if gang.phase is GangPhase.STOPPING:
        yield from settle(m, gang)
    else:
        yield from stop(m, gang, "job", given.detail or f"exit code {given.code}", given.since)


def on_gang_gone(m: Moment, given: inputs.GangGone) -> Iterator[Fact]:
    """Nothing of it is left anywhere. Unasked for, that is a loss."""
    gang = m.state.gangs.get(given.attempt)
    if gang is None:
        return
    if gang.left:
        yield facts.GangFenced(at=m.now, attempt=gang.attempt)
    if gang.phase is GangPhase.STOPPING:
        yield from settle(m, gang)
    else:
        yield from stop(m, gang, "node", _vanished(gang))


def has(m: Moment, gang: Gang, node: NodeId) -> bool:
    """Whether the node is one of the gang's."""
    record = m.state.nodes.get(node)
    return record is not None and gang.attempt in record.gangs


def member_fenced(m: Moment, gang: Gang, node: NodeId) -> Iterator[Fact]:
    """Record it, stop the gang if it was not stopping, and settle it if this was the last."""
    yield facts.MemberFenced(at=m.now, attempt=gang.attempt, node=node)
    if gang.phase is GangPhase.STOPPING:
        yield from settle(m, gang)
    elif node not in gang.done:
        yield from stop(m, gang, "node", _vanished(gang, f" on {node}"))


def _vanished(gang: Gang, where: str = "") -> str:
    return f"its processes{where} vanished" if gang.started else "it never began"


def stop(m: Moment, gang: Gang, cause: StopCause, why: str, since: Instant = 0) -> Iterator[Fact]:
    """Begin to stop a gang whose work ended at `since`; asked again, the weightier cause counts."""
    stopping = gang.phase is GangPhase.STOPPING
    if stopping and _WEIGHT[cause] <= _WEIGHT[gang.cause]:
        return
    yield facts.GangStopping(
        at=m.now,
        attempt=gang.attempt,
        cause=cause,
        why=why,
        until=gang.until if stopping else m.after("stop_timeout"),
        since=m.past(since),
    )
    if not stopping:
        yield from settle(m, gang)


def settle(m: Moment, gang: Gang) -> Iterator[Fact]:
    """When nothing of a stopping gang is left: say whose fault it was, and what follows."""
    if gang.left:
        return
    cause, why = gang.cause, gang.why
    guilty: NodeId | None = None
    if cause == "job" and gang.lost:
        cause, why = "node", f"{', '.join(gang.lost)} lost"
    elif cause == "job" and gang.job:
        verdict = escalation.verdict(m, gang, m.state.jobs[gang.job])
        cause, guilty = verdict.culprit, verdict.node
        why = gang.last_words or (f"{verdict.why}: {gang.why}" if gang.why else verdict.why)
    elif cause == "node" and gang.never_began and gang.last_words:
        why = f"{why}: {gang.last_words}"
    yield from _finish(m, gang, cause, why)
    if guilty is not None and m.state.node_state(guilty) is NodeState.READY:
        until = m.after("repair_timeout")
        yield facts.NodeMoved(at=m.now, node=guilty, state=NodeState.BURN_IN, why=why, until=until)


def _finish(m: Moment, gang: Gang, cause: StopCause, why: str) -> Iterator[Fact]:
    kept = memory.Kept(gang.step, "storage")
    if gang.job and cause != "done":
        kept = memory.kept(m.state, m.state.jobs[gang.job], gang)
    yield facts.GangStopped(
        at=m.now,
        attempt=gang.attempt,
        cause=cause,
        kept_step=kept.step,
        tier=kept.tier,
        why=why,
        root=blame.root_of(gang.done) or NodeId(""),
    )
    columns = m.state.columns
    for node in gang.nodes if columns.draining or columns.taken else ():
        kind, record = columns.state_of(node), m.state.nodes[node]
        if not columns.is_empty(node):
            continue
        if kind is NodeState.DRAINING:
            yield facts.NodeMoved(at=m.now, node=node, state=NodeState.DRAINED, why=record.why)
        elif kind is NodeState.READY and record.taken_by:
            why = f"used by {record.taken_by}"
            yield facts.NodeMoved(at=m.now, node=node, state=NodeState.OCCUPIED, why=why)
    if gang.job:
        yield from _after_attempt(m, m.state.jobs[gang.job], gang, cause)
    elif cause == "job" or (cause == "node" and gang.never_began):
        yield from _after_replica(m, gang, why)


def _after_replica(m: Moment, gang: Gang, why: str) -> Iterator[Fact]:
    service = m.state.services.get(gang.service)
    if service and (pause_ns := blame.pause_ns(service.faults, m.policy.recover)):
        text = f"a replica failed, {service.faults} times in a row: {why}"
        reason = Reason(code="backoff", text=text, remedy="starts again after the pause")
        until = m.now + pause_ns
        yield facts.ServiceHeld(at=m.now, service=gang.service, until=until, reason=reason)


def _after_attempt(m: Moment, job: Job, gang: Gang, cause: StopCause) -> Iterator[Fact]:
    if cause == "done":
        yield facts.JobEnded(at=m.now, job=job.job, outcome="succeeded")
    elif cause == "cancelled" or job.cancel_by is not None:
        text = f"cancelled by {job.cancel_by}" if job.cancel_by else "cancelled"
        yield facts.JobEnded(at=m.now, job=job.job, outcome="cancelled", text=text)
    elif cause in ("job", "node"):
        yield from escalation.climb(m, job, gang)


# ---- being asked to leave, and deadlines ---------------------------------------------------------


def ask_to_leave(
    m: Moment, gang: Gang, why: str, until: int = 0, *, cause: StopCause = "moved", claimant: str = ""
) -> Iterator[Fact]:
    """Empty its nodes gently: training checkpoints first, a replica waits for its substitute."""
    if gang.phase is GangPhase.STOPPING or gang.leave_request:
        return
    if gang.phase is not GangPhase.RUNNING:
        yield from stop(m, gang, cause, why)
        return
    deadline = min(until, m.after("leave_grace")) if until else m.after("leave_grace")
    request = f"{gang.attempt}-leaves"
    yield facts.LeaveAsked(
        at=m.now,
        attempt=gang.attempt,
        request=request,
        why=why,
        until=deadline,
        cause=cause,
        claimant=claimant,
    )


def on_budget_spent(m: Moment, gang: Gang) -> Iterator[Fact]:
    """The job has cost what it may: it checkpoints and ends."""
    job = m.state.jobs.get(gang.job)
    if job is not None and job.spec.budget and job.cancel_by is None:
        by = f"its budget of {job.spec.budget}, which is spent"
        yield facts.CancelRequested(at=m.now, job=job.job, by=by)
        yield from ask_to_leave(m, gang, "its budget is spent", cause="cancelled")


def on_deadline(m: Moment, gang: Gang) -> Iterator[Fact]:
    """A deadline of the gang came due: whatever it was waiting for did not happen."""
    if gang.phase is GangPhase.PLACED:
        late = [node for node in gang.nodes if node not in gang.started]
        yield from stop(m, gang, "node", f"did not start in time on {', '.join(late)}")
    elif gang.phase is GangPhase.STALLED:
        yield from stop(m, gang, "job", "the replica stopped answering")
    elif gang.leave_request:
        yield from stop(m, gang, gang.leave_cause, f"{gang.leave_why}; it did not checkpoint in time")
