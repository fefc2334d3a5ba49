"""The ledger's law: every chip-nanosecond of the site in exactly one bucket, at every step."""

from collections.abc import Sequence
from typing import ClassVar

from myriad.fleet.columns import NodeState
from myriad.kernel.units import Instant, Span
from myriad.protocol import facts
from myriad.protocol.facts import Fact
from myriad.twin.checkers.base import Checker, Scene

#: So often the books of every node, job and tenant are compared, too.
_DEEP = 1000


class LedgerLaw(Checker):
    """Integrates the capacity of the site by itself, and compares it with the sum over buckets."""

    law: ClassVar[str] = "ledger"

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._now: Instant = 0
        self._chips = 0
        self._capacity_ns: Span = 0

    def hear(self, fact: Fact) -> None:
        """Capacity goes on, and changes when nodes come or go."""
        if fact.at > self._now:
            self._capacity_ns += self._chips * (fact.at - self._now)
            self._now = fact.at
        reading = self.reading
        if isinstance(fact, facts.SiteOpened):
            new = [place for place in fact.site.places() if place.node not in reading.places]
            self._chips += sum(place.chips for place in new)
        elif isinstance(fact, facts.NodeMoved):
            was = reading.states[fact.node] is NodeState.RETIRED
            changes = was - (fact.state is NodeState.RETIRED)
            self._chips += changes * reading.places[fact.node].chips

    def follow(self, happened: Sequence[Fact]) -> None:
        """The sum is the capacity, to the nanosecond."""
        ledger = self.scene.ledger
        if happened:
            totals = ledger.totals()
            if sum(totals.values()) != self._capacity_ns:
                raise self.broken(
                    "", f"{sum(totals.values())} chip-ns in buckets are {self._capacity_ns} of the site"
                )
            if low := [str(slot) for slot, amount in totals.items() if amount < 0]:
                raise self.broken("", f"{', '.join(low)} is 0 or more")
        if self.is_due(_DEEP):
            self._deep()

    def at_end(self) -> None:
        """Every book once more."""
        self._deep()

    def _deep(self) -> None:
        try:
            self.scene.ledger.check_deeply()
        except AssertionError as error:
            raise self.broken("", f"books agree in all parts: {error}") from error
