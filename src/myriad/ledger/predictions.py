"""Every promise made at submission beside what happened: step time, start, finish, cost."""

from myriad.kernel.ids import TenantId
from myriad.kernel.units import Instant, Span
from myriad.ledger import invoices
from myriad.ledger.books import Books
from myriad.ledger.records import Job
from myriad.ledger.scores import Calibration, Kept, Score
from myriad.protocol.values import Forecast

__all__ = ["Calibration", "Score", "calibration", "score", "scores"]


def scores(books: Books, tenant: TenantId | None = None) -> list[Score]:
    """Every job that was promised something, or one tenant's, oldest first."""
    return [
        score(books, job)
        for job in books.jobs.values()
        if job.forecast is not None and tenant in (None, job.tenant)
    ]


def calibration(found: list[Score], kept: Kept | None = None) -> Calibration:
    """Over these, and over jobs that were forgotten."""
    return (kept or Kept()).calibration(found)


def keep(books: Books, job: Job) -> None:
    """The job is about to be forgotten: what its promises say of promises as a whole is not."""
    promise, kept = job.forecast, books.kept_promises
    assert promise is not None
    if promise.start_early_at and promise.start_late_at > job.submitted_at:
        within = _start_within(promise, job.first_placed_at)
        if within is not None:
            kept.started(within)
    if job.outcome == "succeeded":
        known = promise.finish_at > promise.start_at
        kept.succeeded(_within(promise, job.ended_at) if known else None, lambda: score(books, job))


def score(books: Books, job: Job) -> Score:
    """One job that was promised something."""
    promise = job.forecast
    assert promise is not None
    step = job.step_median_ns or None
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
        chip_ns=sum(books.account(job).totals().values()),
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
