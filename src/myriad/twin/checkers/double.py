"""No double placement: a chip has one holder, in the facts and in truth; nothing is started twice."""

from typing import ClassVar

from myriad.kernel.ids import AttemptId, NodeId
from myriad.protocol import facts
from myriad.protocol.facts import Fact
from myriad.twin.checkers.base import Checker, Scene
from myriad.twin.gangs import Run


class NoDouble(Checker):
    """Looks at each placement, and at all that really runs on a node when something more is started there."""

    law: ClassVar[str] = "no double placement"

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._starts: dict[tuple[AttemptId, NodeId], int] = {}
        #: The last attempt of each owner: attempts are counted up.
        self._numbers: dict[str, int] = {}
        scene.world.running.on_start = self._starting

    def hear(self, fact: Fact) -> None:
        """Whoever is placed gets chips that nobody holds."""
        if not isinstance(fact, facts.GangPlaced):
            return
        owner, _, number = fact.attempt.rpartition(".")
        if owner not in (fact.job, fact.service) or int(number) <= self._numbers.get(owner, 0):
            raise self.broken(fact.attempt, f"{fact.attempt} is the next attempt of its owner")
        self._numbers[owner] = int(number)
        if fact.job and (other := self.reading.jobs[fact.job].attempt):
            raise self.broken(fact.attempt, f"{fact.job} has one gang at a time, not {other} besides")
        for member in fact.members:
            if twice := self.reading.held[member.node] & member.chips:
                holders = [
                    name
                    for name, gang in self.reading.gangs.items()
                    if gang.members.get(member.node, 0) & twice
                ]
                words = f"chips {twice:b} of {member.node} go to it once {', '.join(holders)} is over"
                raise self.broken(fact.attempt, words)

    def _starting(self, run: Run, node: NodeId) -> None:
        """The truth: processes of a run are about to start on a node."""
        attempt = run.order.attempt
        number = self._starts[attempt, node] = self._starts.get((attempt, node), 0) + 1
        if number > 1:
            raise self.broken(attempt, f"{attempt} starts once on {node}, not {number} times")
        chips = _chips(run, node)
        for other, there in self.scene.world.nodes[node].running.items():
            if _chips(there, node) & chips:
                raise self.broken(attempt, f"{attempt} starts on {node} when {other} has left its chips")


def _chips(run: Run, node: NodeId) -> int:
    return next(member.chips for member in run.order.members if member.node == node)
