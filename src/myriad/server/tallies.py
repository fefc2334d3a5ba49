"""What happened how often since the journal began, for metrics. An observer of the wheel."""

from collections import Counter
from collections.abc import Sequence

from myriad.kernel.ids import JobId
from myriad.kernel.units import Instant
from myriad.protocol import facts
from myriad.protocol.facts import Fact


class Tallies:
    """Counts."""

    def __init__(self) -> None:
        #: Attempts and replicas that ended, by cause: `preempted` and `resized` among them.
        self.stopped: dict[str, int] = {}
        #: Incidents, by what failed as one.
        self.incidents: dict[str, int] = {}
        #: Pauses before the next attempt, by the cause of the end of the last.
        self.pauses: dict[str, int] = {}
        self._last_cause = ""
        #: Facts by type, and jobs that ended by outcome.
        self.facts: Counter[str] = Counter()
        self.ended: Counter[str] = Counter()
        #: When each job that is not over had its last checkpoint.
        self.saved: dict[JobId, Instant] = {}

    def observe(self, _seq: int, _cause: str, happened: Sequence[Fact]) -> None:
        """Follow the journal."""
        for fact in happened:
            self.facts[type(fact).__name__] += 1
            match fact:
                case facts.GangStopped():
                    self.stopped[fact.cause] = self.stopped.get(fact.cause, 0) + 1
                    self._last_cause = fact.cause
                case facts.JobHeld() | facts.ServiceHeld():
                    self.pauses[self._last_cause] = self.pauses.get(self._last_cause, 0) + 1
                case facts.IncidentOpened():
                    self.incidents[fact.kind] = self.incidents.get(fact.kind, 0) + 1
                case facts.CheckpointRecorded():
                    self.saved[fact.job] = fact.at
                case facts.JobEnded():
                    self.ended[fact.outcome] += 1
                    self.saved.pop(fact.job, None)
