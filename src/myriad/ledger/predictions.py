"""Every promise made at submission beside what happened: step time, start, finish, cost."""

import msgspec

from myriad.kernel.ids import JobId, TenantId
from myriad.kernel.units import Instant, Span
from myriad.ledger import invoices
from myriad.ledger.books import Books
from myriad.ledger.records import Job
from myriad.protocol.values import Forecast, Outcome


class Score(msgspec.Struct, frozen=True, kw_only=True):
    """One job. What has not happened yet, or was not promised, is None."""

    job: JobId
    tenant: TenantId
    name: str
    outcome: Outcome | None
    #: Where the promised step time came from.
    basis: str
    submitted_at: Instant
    step_ns_promised: Span | None
    step_ns_median: Span | None
    step_error: float | None  # (actual - promised) / promised, here and below
    start_promised: Instant
    #: The promised 10 % and 90 % bounds; None: no start was in sight.
    start_early: Instant | None = None
    start_late: Instant | None = None
    started_at: Instant | None
    #: Actual minus promised wait.
    start_error_ns: Span | None
    #: Whether the start fell between its bounds.
    start_within: bool | None = None
    finish_promised: Instant | None
    finish_early: Instant | None
    finish_late: Instant | None
    finished_at: Instant | None
    #: Of the time from submission to the end.
    finish_error: float | None
    #: Whether the end fell between the promised 10 % and 90 % bounds.
    within: bool | None
    chip_ns_promised: int
    chip_ns: int
    cost_promised: str
    cost: str
    cost_error: float | None


class Calibration(msgspec.Struct, frozen=True, kw_only=True):
    """How good the promises are over all jobs that succeeded."""

    jobs: int
    #: Jobs that were promised to wait and have started, whatever became of them; and the share of these
    #: starts inside their bounds. One that was promised to start at once proves nothing.
    starts: int = 0
    start_within: float | None = None
    #: Share of ends inside their promised bounds: 0.8 is what was promised. None: no such job yet.
    within: float | None
    step_error_median: float | None
    finish_error_median: float | None
    cost_error_median: float | None


def scores(books: Books, tenant: TenantId | None = None) -> list[Score]:
    """Every job that was promised something, or one tenant's, oldest first."""
    return [
        _score(books, job)
        for job in books.jobs.values()
        if job.forecast is not None and tenant in (None, job.tenant)
    ]


def calibration(found: list[Score]) -> Calibration:
    """Over the jobs that succeeded: a cancelled job keeps no promise and breaks none."""
    done = [score for score in found if score.outcome == "succeeded"]
    judged = [score.within for score in done if score.within is not None]
    waited = [
        score.start_within
        for score in found
        if score.start_within is not None and (score.start_late or 0) > score.submitted_at
    ]
    return Calibration(
        jobs=len(done),
        starts=len(waited),
        start_within=sum(waited) / len(waited) if waited else None,
        within=sum(judged) / len(judged) if judged else None,
        step_error_median=_median([score.step_error for score in done]),
        finish_error_median=_median([score.finish_error for score in done]),
        cost_error_median=_median([score.cost_error for score in done]),
    )


def _score(books: Books, job: Job) -> Score:
    promise = job.forecast
    assert promise is not None
    step = job.step_ns.median() or None
    finished = job.ended_at if job.outcome == "succeeded" else None
    known = promise.finish_at > promise.start_at
    in_sight = bool(promise.start_early_at and promise.start_late_at)
    cost = invoices.cost(books, job)
    return Score(
        job=job.job,
        tenant=job.tenant,
        name=job.spec.name,
        outcome=job.outcome,
        basis=promise.basis,
        submitted_at=job.submitted_at,
        step_ns_promised=promise.step_ns or None,
        step_ns_median=step,
        step_error=_relative(step, promise.step_ns),
        start_promised=promise.start_at,
        start_early=promise.start_early_at if in_sight else None,
        start_late=promise.start_late_at if in_sight else None,
        started_at=job.first_placed_at,
        start_error_ns=_start_error_ns(promise, job.first_placed_at),
        start_within=_start_within(promise, job.first_placed_at) if in_sight else None,
        finish_promised=promise.finish_at if known else None,
        finish_early=promise.finish_early_at if known else None,
        finish_late=promise.finish_late_at if known else None,
        finished_at=finished,
        finish_error=_finish_error(job, finished) if known else None,
        within=_within(promise, finished) if known else None,
        chip_ns_promised=promise.chip_ns,
        chip_ns=sum(job.account.totals().values()),
        cost_promised=promise.cost,
        cost=str(cost),
        cost_error=None if finished is None else _relative(float(cost), float(promise.cost or 0)),
    )


def _start_error_ns(promise: Forecast, started: Instant | None) -> Span | None:
    return None if started is None or not promise.start_at else started - promise.start_at


def _start_within(promise: Forecast, started: Instant | None) -> bool | None:
    return None if started is None else promise.start_early_at <= started <= promise.start_late_at


def _within(promise: Forecast, finished: Instant | None) -> bool | None:
    return None if finished is None else promise.finish_early_at <= finished <= promise.finish_late_at


def _finish_error(job: Job, finished: Instant | None) -> float | None:
    assert job.forecast is not None
    if finished is None:
        return None
    return _relative(finished - job.submitted_at, job.forecast.finish_at - job.submitted_at)


def _relative(actual: float | None, promised: float) -> float | None:
    return (actual - promised) / promised if actual is not None and promised else None


def _median(values: list[float | None]) -> float | None:
    known = sorted(value for value in values if value is not None)
    if not known:
        return None
    middle = len(known) // 2
    return known[middle] if len(known) % 2 else (known[middle - 1] + known[middle]) / 2
