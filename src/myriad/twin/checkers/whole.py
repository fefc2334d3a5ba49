"""A gang is whole or absent: placed as asked for, running when all of it does, gone when it stopped."""

from typing import ClassVar

from myriad.fleet.columns import NodeState
from myriad.kernel.ids import AttemptId, NodeId
from myriad.protocol import facts
from myriad.protocol.facts import Fact
from myriad.twin.checkers.base import Checker
from myriad.workload.jobs import TrainingJob


class WholeGangs(Checker):
    """Each placement against what was asked for and where it may be; each end against the world's truth."""

    law: ClassVar[str] = "gang whole or absent"

    def hear(self, fact: Fact) -> None:
        """Placements, starts and ends."""
        if isinstance(fact, facts.GangPlaced):
            self._placed(fact)
        elif isinstance(fact, facts.GangStarted):
            self._started(fact.attempt)
        elif isinstance(fact, facts.GangRunning):
            self._all_started(fact.attempt)
        elif isinstance(fact, facts.GangStopped):
            self._stopped(fact.attempt)
        elif isinstance(fact, facts.NodeMoved) and fact.state is NodeState.OCCUPIED:
            self._left(fact.node)

    def _left(self, node: NodeId) -> None:
        """To others: they use it, and nothing of ours does."""
        if self.reading.held[node] or node not in self.reading.taken:
            raise self.broken(node, f"{node} is occupied by others who use it, and holds nothing of ours")

    def _placed(self, fact: facts.GangPlaced) -> None:
        nodes = [member.node for member in fact.members]
        if len(dict.fromkeys(nodes)) != len(nodes):
            raise self.broken(
                fact.attempt, f"members of {fact.attempt} are on nodes of their own, not {nodes}"
            )
        if not self.reading.open:
            raise self.broken(fact.attempt, "nothing is placed while the site is closed")
        if fact.job:
            spec = self.reading.jobs[fact.job].spec
            sizes = self.reading.jobs[fact.job].profile.sizes if spec.min_nodes < spec.max_nodes else ()
            fits = spec.min_nodes <= len(nodes) <= spec.max_nodes and (not sizes or len(nodes) in sizes)
            self._at(fact, spec, nodes)
            chips, reservation = spec.chips_per_node, spec.reservation
        else:
            fits, chips, reservation = (
                len(nodes) == 1,
                self.reading.services[fact.service].chips_per_replica,
                "",
            )
        if not fits or any(member.chip_count != chips for member in fact.members):
            raise self.broken(
                fact.attempt, f"{fact.attempt} is as large as was asked for, not {len(nodes)} nodes"
            )
        for node in nodes:
            self._may(fact, node, reservation)

    def _may(self, fact: facts.GangPlaced, node: NodeId, reservation: str) -> None:
        """Whether new work may go to the node."""
        attempt = fact.attempt
        if self.reading.states[node] is not NodeState.READY:
            raise self.broken(
                node, f"{attempt} goes to nodes in service; {node} is {self.reading.states[node].name}"
            )
        if node in self.reading.spares:
            raise self.broken(node, f"{node} is no spare any more once it gets work")
        if node in self.reading.cordoned:
            raise self.broken(node, f"{node} gets no work while {self.reading.cordoned[node]} keeps it out")
        if node in self.reading.taken:
            raise self.broken(node, f"{node} gets no work while {self.reading.taken[node]} uses it")
        for window in self.reading.kept_by(node, fact.at) if self.reading.windows else ():
            if window.name != reservation:
                raise self.broken(node, f"{node} is kept by {window.name} and gets no other work")

    def _at(self, fact: facts.GangPlaced, spec: TrainingJob, nodes: list[NodeId]) -> None:
        """The chip type, the domain and the reservation that the job asked for."""
        places, site = self.reading.places, self.reading.site
        assert site is not None
        chip = spec.chip or site.chip
        for node in nodes:
            if places[node].chip != chip:
                raise self.broken(fact.attempt, f"{fact.job} asks for {chip}; {node} has {places[node].chip}")
        if spec.within and len(dict.fromkeys(getattr(places[node], spec.within) for node in nodes)) > 1:
            raise self.broken(fact.attempt, f"{fact.job} stays within one {spec.within}")
        if spec.reservation:
            window = self.reading.windows.get(spec.reservation)
            if window is None or any(node not in window.nodes for node in nodes):
                raise self.broken(fact.attempt, f"{fact.job} stays in its reservation {spec.reservation}")

    def _started(self, attempt: AttemptId) -> None:
        gang = self.reading.gangs.get(attempt)
        if gang is None or gang.phase != "placed":
            raise self.broken(attempt, f"{attempt} starts once, and while it is to")
        self._all_started(attempt)

    def _all_started(self, attempt: AttemptId) -> None:
        """In truth: its processes were started on every node, whatever was heard of it in which order."""
        gang, run = self.reading.gangs.get(attempt), self.scene.world.running.runs.get(attempt)
        if gang is None or run is None or len(run.started) < len(gang.members):
            raise self.broken(attempt, f"{attempt} runs once all of it was started")

    def _stopped(self, attempt: AttemptId) -> None:
        """Nothing of it is left anywhere: asked of the world, not of anybody's word."""
        gang, world = self.reading.gangs.get(attempt), self.scene.world
        left = [node for node in (gang.members if gang else ()) if world.runs(attempt, node)]
        if gang is None or left:
            raise self.broken(attempt, f"nothing of {attempt} runs when it has stopped; it does on {left}")
