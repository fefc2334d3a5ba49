"""One job's promises beside what happened, and how good promises are as a whole, forgotten jobs included."""

from collections.abc import Callable, Iterable
from typing import NamedTuple

import msgspec

from myriad.kernel.ids import JobId, TenantId
from myriad.kernel.units import Instant, Span
from myriad.protocol.values import Outcome

#: Errors in the sample, before every second of them is dropped.
_MOST = 512


class _Errors(NamedTuple):
    step: float | None
    finish: float | None
    cost: float | None


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


class Kept:
    """Promises to jobs that are no longer known one by one: counts, and an even sample of their errors."""

    def __init__(self) -> None:
        self.jobs = 0
        self.judged = self.within = 0
        self.starts = self.starts_within = 0
        #: Errors of every job that succeeded while they are few; then of every second, every fourth …
        self._sample: list[_Errors] = []
        self._every = 1

    def started(self, within: bool) -> None:
        """A job that was promised to wait has started, within its bounds or not."""
        self.starts += 1
        self.starts_within += within

    def succeeded(self, within: bool | None, errors: Callable[[], "Score"]) -> None:
        """A job has ended, within its bounds or not (None: it had none). What it costs to find its errors
        is spent on those alone that are sampled."""
        if within is not None:
            self.judged, self.within = self.judged + 1, self.within + within
        if self.jobs % self._every == 0:
            score = errors()
            self._sample.append(_Errors(score.step_error, score.finish_error, score.cost_error))
            if len(self._sample) >= _MOST:
                self._sample = self._sample[::2]
                self._every *= 2
        self.jobs += 1

    def calibration(self, found: Iterable[Score]) -> Calibration:
        """Over these and all that were forgotten. A cancelled job keeps no promise and breaks none."""
        found = list(found)
        done = [score for score in found if score.outcome == "succeeded"]
        judged = [score.within for score in done if score.within is not None]
        starts = [bool(score.start_within) for score in found if waited(score)]
        errors = [(_Errors(one.step_error, one.finish_error, one.cost_error), 1) for one in done]
        errors += [(one, self._every) for one in self._sample]
        return Calibration(
            jobs=len(done) + self.jobs,
            starts=len(starts) + self.starts,
            start_within=_share(sum(starts) + self.starts_within, len(starts) + self.starts),
            within=_share(sum(judged) + self.within, len(judged) + self.judged),
            step_error_median=_median([(one.step, weight) for one, weight in errors]),
            finish_error_median=_median([(one.finish, weight) for one, weight in errors]),
            cost_error_median=_median([(one.cost, weight) for one, weight in errors]),
        )


def waited(score: Score) -> bool:
    """Whether it was promised to wait and has started: one that was to start at once proves nothing."""
    return score.start_within is not None and (score.start_late or 0) > score.submitted_at


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _median(errors: Iterable[tuple[float | None, int]]) -> float | None:
    """The middle of what is known, each standing for so many."""
    known = sorted((error, weight) for error, weight in errors if error is not None)
    half, passed = sum(weight for _, weight in known) / 2, 0
    for k, (value, weight) in enumerate(known):
        passed += weight
        if passed == half:
            return (value + known[k + 1][0]) / 2
        if passed > half:
            return value
    return None
