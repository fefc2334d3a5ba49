"""What would be said of a job if it were submitted now: the answer of a submission, with nothing submitted.

The job is put into the queue, decided about by the cycle's own rules, asked about and taken out again;
whoever would have to leave for it is taken to end in time. State and board are as before.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import msgspec

from myriad.control import asks, forecast, views
from myriad.control.moment import Moment
from myriad.control.records import Job
from myriad.control.state import sizes
from myriad.kernel.ids import AttemptId, JobId
from myriad.protocol.values import Profile
from myriad.schedule import plan
from myriad.schedule.asks import Ask, Leaves, Placed, Waits
from myriad.schedule.backfill import End
from myriad.workload.jobs import TrainingJob


def answer(
    m: Moment, name: JobId, spec: TrainingJob, profile: Profile
) -> tuple[views.JobView, views.Explanation]:
    """View and explanation. It must not be a job that would be refused."""
    job = Job(
        job=name,
        spec=spec,
        profile=profile,
        submitted_at=m.now,
        queued_at=m.now,
        sizes=sizes(spec, profile),
    )
    with _queued(m, job) as ask:
        decision = plan.decide(m.state, m.board, m.rules, m.now, ask) if m.state.open else None
        nodes = len(decision.members) if isinstance(decision, Placed) else 0
        waits = decision if isinstance(decision, Waits) else None
        job.forecast = forecast.promise(m, job, waits, nodes).forecast
        view, explanation = views.job_view(m.state, job), views.explain(m, job)
    return _placed(m, view, explanation, decision) if isinstance(decision, Placed) else (view, explanation)


def _placed(
    m: Moment, view: views.JobView, explanation: views.Explanation, decision: Placed
) -> tuple[views.JobView, views.Explanation]:
    """It would start at once."""
    nodes = tuple(member.node for member in decision.members)
    chips = sum(member.chip_count for member in decision.members)
    run_ns = decision.ask.run_on(len(nodes))
    view = msgspec.structs.replace(
        view,
        state="placed",
        placed_on=nodes,
        nodes=len(nodes),
        chips=chips,
        first_placed_at=m.now,
        attempts=1,
        ends_at=m.now + run_ns if run_ns else 0,
    )
    text = views.words(view, ())
    return view, msgspec.structs.replace(
        explanation,
        state="placed",
        text=text,
        queue_position=0,
        queue_length=0,
        finish_early_at=view.forecast.finish_early_at if view.forecast else 0,
        finish_late_at=view.forecast.finish_late_at if view.forecast else 0,
    )


@contextmanager
def _queued(m: Moment, job: Job) -> Iterator[Ask]:
    """Let the job wait for the time being; then everything is put back."""
    board, front, victims_at = m.board, m.board.front, dict(m.board.victims_at)
    full, gathers = board.full.copy(), dict(board.gathers)
    ends: dict[AttemptId, End | None] = {}
    ask = asks.of_job(m.state, job)
    m.state.waiting[job.job] = None
    board.arrives(ask, m.now)
    first = None if front is not None and board.queue.before(ask.owner, front.owner) else front
    board.front = first
    try:
        for leaves in _leaving(m, ask):
            ends[leaves.attempt] = board.ends.get(leaves.attempt)
            _end_soon(m, leaves)
        board.front = first  # what it would take of the room beside the one in front is not taken yet
        yield board.queue.get(job.job) or ask
    finally:
        for attempt, end in ends.items():
            board.ends.drop(attempt)
            if end is not None:
                board.ends.put(end)
        board.full, board.gathers = full, gathers
        board.front, board.victims_at = front, victims_at
        board.queue.drop(job.job)
        del m.state.waiting[job.job]


def _leaving(m: Moment, ask: Ask) -> Iterator[Leaves]:
    """Who would be sent away for it, by the next cycle."""
    if not m.state.open:
        return
    for decision in plan.plan(m.state, m.board, m.rules, m.now, [ask]):
        if not isinstance(decision, Leaves) or decision.claimant != ask.owner:
            return
        yield decision


def _end_soon(m: Moment, leaves: Leaves) -> None:
    """As the board does when the gang was asked to leave."""
    board, gang, columns = m.board, m.state.gangs[leaves.attempt], m.state.columns
    at = min(m.now + (leaves.grace_ns or 1 << 62), m.after("leave_grace"))
    pods: dict[int, int] = {}
    for node in gang.nodes:
        pod = int(columns.pod[columns.index[node]])
        pods[pod] = pods.get(pod, 0) + 1
    kind = columns.kinds.all[int(columns.pod_kind[next(iter(pods))])]
    board.ends.put(End(at, gang.attempt, kind, len(gang.nodes), gang.chips_per_node, gang.placed_at, pods))
    if (ask := board.queue.get(leaves.claimant)) is not None:
        board.queue.put(ask._replace(claims=True))
