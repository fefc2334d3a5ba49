"""Figures of merit, from chip-time: each absent (None), never zero, where its denominator is zero."""

from collections.abc import Iterable, Mapping

from myriad.catalog import chips as catalog
from myriad.kernel.units import SECOND, Span
from myriad.ledger.books import Books
from myriad.ledger.buckets import KEPT, LOST, OUT, USEFUL, Times, total
from myriad.ledger.records import Job


def ratio(part: float, whole: float) -> float | None:
    """A share."""
    return part / whole if whole else None


def mean_s(span: Span, count: int) -> float | None:
    """Seconds each."""
    return span / count / SECOND if count else None


def goodput(times: Times, capacity: Span) -> float | None:
    """Training that was kept and replicas in use, of all there was."""
    return ratio(total(times, USEFUL), capacity)


def availability(times: Times, capacity: Span) -> float | None:
    """Capacity that work could have had: not down, drained or being qualified."""
    out = total(times, OUT)
    return ratio(capacity - out, capacity)


def ettr(jobs: Iterable[tuple[Span, Span]]) -> float | None:
    """Of pairs of chip-time in steps that were kept and chips x time since placement."""
    kept = wall = 0
    for one, other in jobs:
        kept, wall = kept + one, wall + other
    return ratio(kept, wall)


def effective(books: Books, job: Job) -> tuple[Span, Span]:
    """A job's chip-time in steps that were kept, and its chips x time since its first placement."""
    kept = books.account(job).total(KEPT)
    return kept, job.wall_ns(books.now) * job.spec.chips


def stepping(times: Times) -> Span:
    """Time of all steps, kept or not: what their FLOPs took."""
    return total(times, (*KEPT, *LOST))


def peak(chip: str) -> float:
    """FLOP/s of a chip in training; 0: none is known."""
    return catalog.named(chip).training_flops.value if chip else 0.0


def mfu(books: Books, flops: float, by_terms: Mapping[int, Times]) -> float | None:
    """Model FLOPs over what the chips could have done in the time of all steps, kept or not."""
    could = sum(peak(books.terms[k].chip) * stepping(times) / SECOND for k, times in by_terms.items())
    return flops / could if flops and could else None
