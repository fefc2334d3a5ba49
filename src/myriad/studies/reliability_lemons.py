"""The experiment with lemons: RSC-1 full of large jobs; nodes that fail again and again are kept out."""

from collections.abc import Sequence

from myriad.kernel.ids import JobId
from myriad.kernel.units import DAY, Instant, Span
from myriad.protocol import facts
from myriad.protocol.facts import Fact
from myriad.studies import reliability_scenarios
from myriad.studies.reliability import Parts
from myriad.twin.scenario import Scenario

_NEVER = 1_000_000


def scenario(parts: Parts, kept_out: bool, span: Span) -> Scenario:
    """The shipped one without faults of software: what is counted is hardware's doing.

    `kept_out`: by the brain as it is; else no node is, and placement does not look at what nodes did before.
    """
    return reliability_scenarios.of_file(
        "rsc-1",
        parts,
        span=f"{span // DAY}d",
        faults__software__rate=0,
        faults__software__production=0,
        policy__recover__lemon_losses=3 if kept_out else _NEVER,
        policy__placement__policy="packed" if kept_out else "first-fit",
    )


class Stopped:
    """Of the jobs of a name that began after an instant and are over: how many were ever interrupted."""

    def __init__(self, name: str, since: Instant) -> None:
        self._prefix, self._since = f"{name}-", since
        self._began: dict[JobId, Instant] = {}
        self._hit: dict[JobId, None] = {}
        self.jobs = self.stopped = 0

    def follow(self, happened: Sequence[Fact]) -> None:
        """Count what these facts say."""
        for fact in happened:
            if isinstance(fact, facts.GangRunning) and fact.attempt.startswith(self._prefix):
                self._began.setdefault(_job(fact.attempt), fact.at)
            elif isinstance(fact, facts.GangStopped) and fact.cause in ("job", "node"):
                if _job(fact.attempt) in self._began:
                    self._hit[_job(fact.attempt)] = None
            elif isinstance(fact, facts.JobEnded) and fact.job in self._began:
                counts, hit = self._began.pop(fact.job) >= self._since, self._hit.pop(fact.job, 0) is None
                self.jobs += counts
                self.stopped += counts and hit

    @property
    def share(self) -> float:
        """Of those that are over."""
        return self.stopped / self.jobs if self.jobs else 0.0


def _job(attempt: str) -> JobId:
    return JobId(attempt.rpartition(".")[0])
