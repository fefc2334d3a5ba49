"""Capacity conserved: on every node what is free and what is held are its chips, each exactly once."""

from collections.abc import Sequence
from typing import ClassVar

from myriad.kernel.ids import NodeId
from myriad.protocol import facts
from myriad.protocol.facts import Fact
from myriad.twin.checkers.base import Checker, Scene

#: So often every node is looked at; else those that a step touched, and the total.
_ALL = 1000


class Capacity(Checker):
    """Adds up what placements and ends say, and compares it with what the core believes to be free."""

    law: ClassVar[str] = "capacity conserved"

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._touched: dict[NodeId, None] = {}
        self._held = 0

    def hear(self, fact: Fact) -> None:
        """Chips change hands."""
        if isinstance(fact, facts.GangPlaced):
            for member in fact.members:
                place = self.reading.places[member.node]
                if not member.chips or member.chips >> place.chips:
                    raise self.broken(
                        fact.attempt, f"{member.chips:b} are chips of {member.node}, which has {place.chips}"
                    )
                self._held += member.chip_count
                self._touched[member.node] = None
        elif isinstance(fact, facts.GangStopped):
            gang = self.reading.gangs.get(fact.attempt)
            if gang is None:
                raise self.broken(fact.attempt, f"{fact.attempt} holds chips until it has stopped, once")
            self._held -= gang.chips
            self._touched |= dict.fromkeys(gang.members)

    def follow(self, happened: Sequence[Fact]) -> None:
        """Free and held together are all there is."""
        del happened
        whole = self.is_due(_ALL)
        if not self._touched and not whole:
            return
        nodes = list(self.reading.places) if whole else list(self._touched)
        self._touched.clear()
        for node in nodes:
            self._check(node)
        columns, places = self.scene.core.state.columns, self.reading.places
        free, total = int(columns.free_count.sum()), int(columns.chips.sum())
        if free + self._held != total:
            raise self.broken(
                nodes[0] if nodes else "",
                f"{free} free and {self._held} held chips are the {total} of the site",
            )
        if whole and total != sum(place.chips for place in places.values()):
            raise self.broken("", f"the site has as many chips as its file says, not {total}")

    def at_end(self) -> None:
        """Every node once more."""
        for node in self.reading.places:
            self._check(node)

    def _check(self, node: NodeId) -> None:
        columns = self.scene.core.state.columns
        row = columns.index[node]
        free, held = int(columns.free[row]), self.reading.held[node]
        full = (1 << self.reading.places[node].chips) - 1
        if free & held or free | held != full:
            raise self.broken(
                node, f"of {node} free {free:b} and held {held:b} are its chips {full:b}, each once"
            )
        if int(columns.free_count[row]) != free.bit_count():
            raise self.broken(
                node, f"{node} has {free.bit_count()} chips free, not {columns.free_count[row]}"
            )
