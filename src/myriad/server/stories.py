"""A job's story for people: what the journal says about it, in the order it happened, and what caused it."""

from collections.abc import Iterator
from typing import Any

import msgspec

from myriad.kernel.ids import JobId
from myriad.kernel.ports import Journal
from myriad.kernel.units import Instant, show_bytes, show_span
from myriad.protocol import facts, wire
from myriad.protocol.facts import Fact
from myriad.workload.jobs import TrainingJob


class Moment(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that happened."""

    at: Instant
    cause: str
    fact: str
    text: str


def of_job(journal: Journal, job: JobId) -> list[Moment]:
    """Everything about a job but its single steps. Walks the whole journal, decoding what names the job."""
    needle = job.encode()
    found: list[Moment] = []
    for record in journal.read():
        if needle in record.body:
            entry = wire.decode(record.body)
            found += _moments(entry.cause, entry.facts, job)
    return found


def _moments(cause: str, happened: tuple[Any, ...], job: JobId) -> Iterator[Moment]:
    for fact in happened:
        if _is_about(fact, job) and not isinstance(fact, facts.StepsDone):
            yield Moment(at=fact.at, cause=cause, fact=type(fact).__name__, text=words(fact))


def _is_about(fact: Fact, job: JobId) -> bool:
    attempt = str(getattr(fact, "attempt", ""))
    return job in (getattr(fact, "job", ""), getattr(fact, "subject", "")) or (
        attempt.rpartition(".")[0] == job
    )


def words(fact: Fact) -> str:
    """One line about a fact."""
    return _of_site(fact) or _of_work(fact) or _plain(fact)


def _of_site(fact: Fact) -> str:
    """What operators read most: the site, its keys and its nodes."""
    match fact:
        case facts.SiteOpened(site=site):
            return f"{site.name}: {site.node_count} nodes, chips of type {site.chip}"
        case facts.KeySet(role=role, tenant=tenant):
            return f"role {role}" + (f": {tenant}" if tenant else "")
        case facts.NodeMeasured(gemm_flops=flops):
            return f"{flops / 1e9:,.0f} GFLOP/s"
        case facts.NodeSpared(spare=spare):
            return "a hot spare" if spare else "no longer a spare"
        case facts.NodeMoved(state=state, why=why):
            return state.name.lower() + (f": {why}" if why else "")
        case facts.NodeTaken(by=by):
            return f"others use it: {by}" if by else "others are done with it"
        case facts.NodeLost(evidence=evidence, detail=detail):
            return detail or f"no sign of life by {' and '.join(evidence)}"
        case facts.IncidentOpened(incident=name, kind=kind, domain=domain, why=why):
            return f"{name} of {kind} {domain}: {why}"
        case facts.WindowSet(window=window):
            return f"{window.kind} {window.name} of {len(window.nodes)} nodes" + (
                f" for {window.tenant}" if window.tenant else ""
            )
        case facts.NodeSlow(slow=slow, ratio=ratio):
            return f"slow: {ratio:.2f} x the time of its peers" if slow else "no longer slow"
        case facts.NodeEvidence(source=source, healthy=healthy, detail=detail):
            return f"{source} is {'well' if healthy else 'bad'}" + (f": {detail}" if detail else "")
        case _:
            return ""


def _of_work(fact: Fact) -> str:
    """Jobs, gangs and replicas."""
    match fact:
        case facts.JobAdmitted(spec=spec):
            return f"admitted: {_count(spec)} nodes x {spec.chips_per_node} chips, {spec.priority} priority"
        case facts.JobForecast(forecast=promise):
            run = show_span(promise.finish_at - promise.start_at) if promise.finish_at else "unknown"
            return f"promised: run time {run}, cost {promise.cost} ({promise.basis})"
        case facts.GangPlaced(members=members, replaced=replaced):
            instead = f" in place of {', '.join(replaced)}" if replaced else ""
            return f"placed on {', '.join(member.node for member in members)}{instead}"
        case facts.GangRunning(step=step):
            return f"running from step {step}"
        case facts.CheckpointRecorded(tier="memory", step=step):
            return f"step {step} copied to peers' memory"
        case facts.CheckpointRecorded(step=step, checkpoint_bytes=size, stall_ns=stall):
            return f"checkpoint of step {step} complete: {show_bytes(size)}, stood still {show_span(stall)}"
        case facts.GangStopped(cause=cause, kept_step=kept, why=why):
            return f"stopped ({cause}), safe up to step {kept}" + (f": {why}" if why else "")
        case facts.RungTaken(rung=rung, why=why):
            return f"{rung.replace('_', ' ')}: {why}"
        case facts.MemberDone(node=node, code=code, detail=detail):
            return f"processes on {node} ended with {code}" + (f": {detail}" if detail else "")
        case facts.WorkerNoted(node=node, text=said):
            return f"{node}: {said}"
        case facts.JobEnded(outcome=outcome, text=said):
            return outcome + (f": {said}" if said else "")
        case facts.Refused(reason=reason) | facts.JobHeld(reason=reason):
            return reason.text
        case facts.StepsDone(step=step, loss=loss, step_ns=step_ns):
            return f"step {step}, {show_span(step_ns)} a step" + (f": loss {loss:.3f}" if loss else "")
        case facts.GangStopping(cause=cause, why=why):
            return cause + (f": {why}" if why else "")
        case _:
            return ""


def _count(spec: TrainingJob) -> str:
    """Nodes of a gang, or the range of an elastic one."""
    return str(spec.nodes) if isinstance(spec.nodes, int) else f"{spec.min_nodes} to {spec.max_nodes}"


def _plain(fact: Fact) -> str:
    """The fields that say something, for facts that need no words of their own."""
    shown = {
        name: value
        for name, value in msgspec.structs.asdict(fact).items()
        if name not in ("at", "job", "attempt", "until") and value not in ("", (), 0, None)
    }
    return ", ".join(f"{name} {value}" for name, value in shown.items())
