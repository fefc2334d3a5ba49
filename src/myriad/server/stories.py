"""A job's story for people: what the journal says about it, in the order it happened, and what caused it."""

from collections.abc import Iterator
from typing import Any

import msgspec

from myriad.kernel.ids import JobId
from myriad.kernel.ports import Journal
from myriad.kernel.units import Instant, show_bytes, show_span
from myriad.protocol import facts, wire
from myriad.protocol.facts import Fact


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
    match fact:
        case facts.JobAdmitted(spec=spec):
            text = f"admitted: {spec.nodes} nodes x {spec.chips_per_node} chips, {spec.priority} priority"
        case facts.JobForecast(forecast=promise):
            run = show_span(promise.finish_at - promise.start_at) if promise.finish_at else "unknown"
            text = f"promised: run time {run}, cost {promise.cost} ({promise.basis})"
        case facts.GangPlaced(members=members, replaced=replaced):
            instead = f", {', '.join(replaced)} new" if replaced else ""
            text = f"placed on {', '.join(member.node for member in members)}{instead}"
        case facts.GangRunning(step=step):
            text = f"running from step {step}"
        case facts.CheckpointRecorded(step=step, checkpoint_bytes=size, stall_ns=stall):
            text = f"checkpoint of step {step} complete: {show_bytes(size)}, stood still {show_span(stall)}"
        case facts.GangStopped(cause=cause, kept_step=kept, why=why):
            text = f"stopped ({cause}), safe up to step {kept}" + (f": {why}" if why else "")
        case facts.MemberDone(node=node, code=code, detail=detail):
            text = f"processes on {node} ended with {code}" + (f": {detail}" if detail else "")
        case facts.WorkerNoted(node=node, text=said):
            text = f"{node}: {said}"
        case facts.JobEnded(outcome=outcome, text=said):
            text = outcome + (f": {said}" if said else "")
        case facts.Refused(reason=reason) | facts.JobHeld(reason=reason):
            text = reason.text
        case _:
            text = _plain(fact)
    return text


def _plain(fact: Fact) -> str:
    """The fields that say something, for facts that need no words of their own."""
    shown = {
        name: value
        for name, value in msgspec.structs.asdict(fact).items()
        if name not in ("at", "job", "attempt", "until") and value not in ("", (), 0, None)
    }
    return ", ".join(f"{name} {value}" for name, value in shown.items())
