"""Jobs that are over: counted by size at once; the oldest forgotten, and their sums kept for their tenant."""

from myriad.kernel.ids import JobId
from myriad.ledger import buckets, predictions
from myriad.ledger.books import Books
from myriad.ledger.records import Gang, Job
from myriad.protocol.values import StopCause


def count_gang(books: Books, gang: Gang, cause: StopCause) -> None:
    """A gang of a job has stopped."""
    assert isinstance(gang.owner, Job)
    found = books.classes.of(gang.owner.spec.chips)
    found.ends[cause] = found.ends.get(cause, 0) + 1
    if gang.useful_at is not None and gang.ended_at is not None:
        found.running_ns += gang.ended_at - gang.useful_at


def count(books: Books, job: Job) -> None:
    """A job is over: its time changes no more."""
    assert job.outcome is not None
    found = books.classes.of(job.spec.chips)
    found.outcomes[job.outcome] = found.outcomes.get(job.outcome, 0) + 1
    job.kept_ns = books.account(job).total(buckets.KEPT)
    found.kept_ns += job.kept_ns
    found.wall_ns += job.wall_ns(books.now) * job.spec.chips


def forget(books: Books, name: JobId) -> None:
    """Drop an ended job; its sums go to its tenant's past, its promises to those of the site."""
    job = books.jobs[name]
    if job.gangs or job.outcome is None:
        return
    tenant = books.tenant(job.tenant)
    past = tenant.past
    past.account.merge(job.account)
    past.jobs += 1
    past.outcomes[job.outcome] = past.outcomes.get(job.outcome, 0) + 1
    past.kept_ns += job.kept_ns
    past.wall_ns += job.wall_ns(books.now) * job.spec.chips
    past.tokens += job.tokens
    past.flops += job.flops
    past.checkpoints += job.checkpoints
    if job.forecast is not None:
        predictions.keep(books, job)
    del books.jobs[name], tenant.jobs[name]
