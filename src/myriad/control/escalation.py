"""Asks `recover.blame` and `recover.ladder` about a failed attempt, with what the state knows as evidence."""

from collections.abc import Iterator
from itertools import takewhile

from myriad.control.moment import Moment
from myriad.control.records import Ended, Gang, Job
from myriad.protocol import facts
from myriad.protocol.facts import Fact
from myriad.protocol.values import Reason
from myriad.recover import blame, ladder

#: Attempts that are looked back at.
_HISTORY = 8


def verdict(m: Moment, gang: Gang, job: Job) -> blame.Blame:
    """Whose fault the end of a gang was whose nodes all answer."""
    return blame.judge(
        gang.done,
        nodes=len(gang.members),
        earlier=job.roots,
        stuck=[one.root for one in _stuck(job) if one.root],
        elsewhere=_other_jobs(m, gang, job),
        policy=m.policy.recover,
    )


def climb(m: Moment, job: Job, gang: Gang) -> Iterator[Fact]:
    """The attempt has just ended by a fault: take the next rung."""
    rung = ladder.choose(
        [ladder.Try(one.cause, one.root, one.resumed_step, one.last_step, one.why) for one in _stuck(job)],
        faults=job.faults,
        retries=job.spec.retries,
        refused=bool(job.spec.recipe) and blame.REFUSED in gang.done.values(),
        checkpoints=[one.step for one in job.checkpoints],
        room=_room(m, job, gang),
        policy=m.policy.recover,
    )
    yield facts.RungTaken(at=m.now, job=job.job, rung=rung.kind, why=rung.why, resume_step=rung.resume_step)
    if rung.kind == "give_up":
        yield facts.JobEnded(at=m.now, job=job.job, outcome="failed", text=rung.why)
    elif pause_ns := blame.pause_ns(_in_vain(m, job, gang), m.policy.recover):
        reason = Reason(code="backoff", text=rung.why, remedy="starts again after the pause")
        yield facts.JobHeld(at=m.now, job=job.job, until=m.now + pause_ns, reason=reason)


def _in_vain(m: Moment, job: Job, gang: Gang) -> int:
    """How many attempts in a row failed by themselves, or ended before they had begun, this one the last.

    A gang whose nodes were lost is replaced at once, however often: others wait for that.
    """
    if job.history[-1].cause == "job":
        return job.faults
    if not gang.never_began:
        return 0
    most_ns = m.policy.recover.ns("start_timeout") + m.policy.recover.ns("stop_timeout")
    short = takewhile(
        lambda one: one.cause == "node" and one.stopped_at - one.placed_at <= most_ns, reversed(job.history)
    )
    return sum(1 for _ in short)


def _room(m: Moment, job: Job, gang: Gang) -> ladder.Room:
    """What the job needs, and the nodes there are for it: free ones, hot spares, and those that survived."""
    columns, least = m.state.columns, min(job.sizes[-1], len(gang.nodes))
    survivors = sum(node not in gang.lost for node in gang.nodes)
    kind = int(columns.pod_kind[columns.pod[columns.index[gang.nodes[0]]]])
    free = columns.fitting(gang.chips_per_node, kind) + columns.spares
    # chips of the gang itself are free already: its survivors are among those that fit
    return ladder.Room(len(gang.nodes), least, max(survivors, free))


def _stuck(job: Job) -> list[Ended]:
    """Failures since the job last made progress, oldest first."""
    found: list[Ended] = []
    newer: Ended | None = None
    for one in reversed(job.history[-_HISTORY:]):
        if newer is not None and newer.kept_step > one.kept_step:
            break
        newer = one
        if one.cause in ("job", "node"):
            found.append(one)
    return found[::-1]


def _other_jobs(m: Moment, gang: Gang, job: Job) -> int:
    """How many other jobs failed lately first where this one did."""
    root = blame.root_of(gang.done)
    if root is None:
        return 0
    since = m.now - m.policy.recover.ns("lemon_window")
    blamed = m.state.nodes[root].blamed
    return sum(at >= since for name, at in blamed.items() if name != job.job)
