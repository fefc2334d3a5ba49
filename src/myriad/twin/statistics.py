"""What is counted of a simulation beside the ledger: waits, turnaround, interruptions, by size of job."""

from array import array
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np

from myriad.control.state import State
from myriad.kernel.ids import AttemptId, JobId
from myriad.kernel.units import SECOND, Instant
from myriad.protocol import facts
from myriad.protocol.facts import Fact
from myriad.protocol.values import Outcome

#: Job sizes in chips, each class up to and with its number, the last without end.
SIZES: Final = (8, 64, 512, 4096)
_QUANTILES: Final = (0.5, 0.9, 0.99)
_OUTCOMES: Final[tuple[Outcome, ...]] = ("succeeded", "failed", "cancelled")


def size_class(chips: int) -> int:
    """Number of its class among `SIZES`."""
    return next((number for number, most in enumerate(SIZES) if chips <= most), len(SIZES))


def size_names() -> tuple[str, ...]:
    """For people: `1-8`, `9-64`, …"""
    lows = (1, *(most + 1 for most in SIZES))
    return (*(f"{low}-{most}" for low, most in zip(lows, SIZES, strict=False)), f"{lows[-1]}+")


class Statistics:
    """Follows the facts of one run. A job is counted when it ends; costs some 30 bytes for each."""

    def __init__(self, state: State) -> None:
        self._state = state
        self.submitted = 0
        self.outcomes: Counter[str] = Counter()
        #: Gangs that stopped, by cause; of them those that had been running, by size class.
        self.stops: Counter[str] = Counter()
        self.interruptions: Counter[tuple[str, int]] = Counter()
        #: How long jobs' gangs were running, by size class; and since when those do that run now.
        self.running_ns: Counter[int] = Counter()
        self._since: dict[AttemptId, Instant] = {}
        #: Gangs of jobs that have run and are not stopped yet; the last that was counted as interrupted.
        self._ran: dict[AttemptId, None] = {}
        self._interrupted = AttemptId("")
        self.losses = 0
        #: What failed as one, as the brain sees it.
        self.incidents: Counter[str] = Counter()
        self._open: dict[str, str] = {}
        #: One entry for each job that ended: chips, wait, turnaround, outcome.
        self._chips, self._ended = array("l"), array("b")
        self._wait_s, self._turnaround_s = array("d"), array("d")
        self._on: Mapping[type[Fact], Callable[[Any], None]] = {
            facts.JobAdmitted: self._admitted,
            facts.JobEnded: self._job_ended,
            facts.GangRunning: self._running,
            facts.GangStopping: self._stopping,
            facts.GangStopped: self._stopped,
            facts.NodeLost: self._lost,
            facts.IncidentOpened: self._opened,
            facts.IncidentClosed: self._closed,
        }

    def follow(self, happened: Sequence[Fact]) -> None:
        """Count what these facts say."""
        on = self._on
        for fact in happened:
            if count := on.get(type(fact)):
                count(fact)

    def _admitted(self, fact: facts.JobAdmitted) -> None:
        del fact
        self.submitted += 1

    def _lost(self, fact: facts.NodeLost) -> None:
        del fact
        self.losses += 1

    def _opened(self, fact: facts.IncidentOpened) -> None:
        self.incidents[fact.kind] += 1
        self._open[fact.incident] = fact.kind

    def _closed(self, fact: facts.IncidentClosed) -> None:
        """One that a wider one explains was part of it."""
        kind = self._open.pop(fact.incident)
        if fact.into:
            self.incidents[kind] -= 1

    def _running(self, fact: facts.GangRunning) -> None:
        if not fact.url:
            self._since.setdefault(fact.attempt, fact.at)
            self._ran[fact.attempt] = None

    def _stopping(self, fact: facts.GangStopping) -> None:
        self._rested(fact.attempt, fact.since or fact.at)

    def _rested(self, attempt: AttemptId, at: Instant) -> None:
        """It runs no more."""
        since = self._since.pop(attempt, None)
        job = self._state.jobs.get(JobId(attempt.rpartition(".")[0]))
        if since is not None and job is not None:
            self.running_ns[size_class(job.spec.chips)] += max(0, at - since)

    def running_now(self, now: Instant) -> Counter[int]:
        """Running time by size class, that of gangs that still run included."""
        found = self.running_ns.copy()
        for attempt, since in self._since.items():
            job = self._state.jobs[JobId(attempt.rpartition(".")[0])]
            found[size_class(job.spec.chips)] += now - since
        return found

    def _stopped(self, fact: facts.GangStopped) -> None:
        self.stops[fact.cause] += 1
        job = self._state.jobs.get(JobId(fact.attempt.rpartition(".")[0]))
        if job is not None and job.history:
            number = size_class(job.spec.chips)
            self._rested(fact.attempt, fact.at)
            if fact.attempt in self._ran and fact.cause not in ("done", "cancelled"):
                self.interruptions[fact.cause, number] += 1
                self._interrupted = fact.attempt
        self._ran.pop(fact.attempt, None)

    def _job_ended(self, fact: facts.JobEnded) -> None:
        job = self._state.jobs[fact.job]
        self.outcomes[fact.outcome] += 1
        if fact.outcome == "failed" and self._interrupted.rpartition(".")[0] == fact.job:
            # its last stop was an end, not an interruption
            self.interruptions[job.history[-1].cause, size_class(job.spec.chips)] -= 1
        self._chips.append(job.spec.chips)
        self._ended.append(_OUTCOMES.index(fact.outcome))
        started_at = job.first_placed_at if job.attempts else fact.at
        self._wait_s.append((started_at - job.submitted_at) / SECOND)
        self._turnaround_s.append((fact.at - job.submitted_at) / SECOND)

    # ---- what it says ----------------------------------------------------------------------------

    def by_size(self) -> dict[str, dict[str, float]]:
        """Jobs that ended, by size class: how many, wait and turnaround in seconds (mean and quantiles)."""
        chips = np.frombuffer(self._chips, dtype=np.int64) if self._chips else np.zeros(0, np.int64)
        wait = np.frombuffer(self._wait_s) if self._wait_s else np.zeros(0)
        turnaround = np.frombuffer(self._turnaround_s) if self._turnaround_s else np.zeros(0)
        classes = np.searchsorted(np.array(SIZES), chips)
        found = {"all": _row(wait, turnaround)}
        for number, name in enumerate(size_names()):
            of = classes == number
            if of.any():
                found[name] = _row(wait[of], turnaround[of])
        return found


def _row(wait: np.ndarray, turnaround: np.ndarray) -> dict[str, float]:
    if not len(wait):
        return {"jobs": 0}
    row: dict[str, float] = {"jobs": len(wait), "wait_mean_s": float(wait.mean())}
    row |= {f"wait_p{100 * q:g}_s": float(np.quantile(wait, q)) for q in _QUANTILES}
    row["turnaround_mean_s"] = float(turnaround.mean())
    row |= {f"turnaround_p{100 * q:g}_s": float(np.quantile(turnaround, q)) for q in _QUANTILES}
    return row
