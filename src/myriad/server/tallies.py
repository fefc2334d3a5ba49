"""What happened how often since the journal began, for metrics. An observer of the wheel."""

from collections.abc import Sequence

from myriad.protocol import facts
from myriad.protocol.facts import Fact


class Tallies:
    """Counts."""

    def __init__(self) -> None:
        #: Attempts and replicas that ended, by cause: `preempted` and `resized` among them.
        self.stopped: dict[str, int] = {}
        #: Incidents, by what failed as one.
        self.incidents: dict[str, int] = {}

    def observe(self, _seq: int, _cause: str, happened: Sequence[Fact]) -> None:
        """Follow the journal."""
        for fact in happened:
            if isinstance(fact, facts.GangStopped):
                self.stopped[fact.cause] = self.stopped.get(fact.cause, 0) + 1
            elif isinstance(fact, facts.IncidentOpened):
                self.incidents[fact.kind] = self.incidents.get(fact.kind, 0) + 1
