"""All nodes: who is there and well, and whom others use. Each look is compared with what the brain was told.

What else is to be done about a node has a module of its own: `holds` (who keeps it out), `burnins` (what it
must pass), `incarnations` (how one that is lost is fenced and comes back), `updates` (how it is changed in
Slurm). `node` is what they all know of one.
"""

import asyncio
import time
from collections.abc import Iterable, Mapping

from myriad.engines.common import health
from myriad.engines.slurm.asking import reading
from myriad.engines.slurm.asking.view import View
from myriad.engines.slurm.gangs.gangs import Gangs, Signs
from myriad.engines.slurm.nodes.burnins import BurnIns
from myriad.engines.slurm.nodes.holds import Holds
from myriad.engines.slurm.nodes.incarnations import Incarnations
from myriad.engines.slurm.nodes.node import PROBE_S, Place
from myriad.engines.slurm.nodes.updates import Updates
from myriad.engines.slurm.where import Where
from myriad.fleet.site import NodePlace
from myriad.kernel.ids import NodeId
from myriad.protocol import inputs, orders
from myriad.protocol.values import Signal

#: Commands about nodes under way at once.
_AT_ONCE = 3
_BY_SLURM: tuple[Signal, ...] = ("channel", "process")


class Nodes:
    """The nodes of the site that Slurm manages for us."""

    def __init__(self, where: Where, places: Iterable[NodePlace], gangs: Gangs) -> None:
        self._at, self._gangs = where, gangs
        self._places = {place.node: Place(place.node, place.chips) for place in places}
        slots = asyncio.Semaphore(_AT_ONCE)
        updates = Updates(where, slots)
        self._holds = Holds(where, updates)
        self._burn_ins = BurnIns(where, slots)
        self._incarnations = Incarnations(where, self._places, gangs, updates, self._burn_ins)
        self._signs: dict[NodeId, Signs] = {}
        self._probes: dict[NodeId, asyncio.Task[None]] = {}

    def take_up(self, lives: Mapping[str, tuple[int, int]]) -> None:
        """What the shared folder says of every node: which incarnation it is in, and when it had booted."""
        self._incarnations.take_up(lives)
        for node, place in self._places.items():
            self._expect(place, self._incarnations.name(node))
        self._incarnations.tell_past()

    # ---- orders ----------------------------------------------------------------------------------

    def hold(self, order: orders.HoldNode) -> None:
        """Keep it out in Slurm as well, or give it back there."""
        if place := self._places.get(order.node):
            self._holds.order(place, order)

    def repair(self, order: orders.RepairNode) -> None:
        """Fence the incarnation, then let the node come back as another."""
        place = self._places.get(order.node)
        if place is None or (order.instance and order.instance != place.instance):
            # that one was fenced before its successor was allowed to begin
            self._incarnations.tell_fenced(order.node, order.instance)
            if place and place.joined:
                self._at.tell(place.come(self._at.clock()))
            elif place:
                self._incarnations.welcome(place)
        else:
            self._incarnations.replace(place)

    def qualify(self, order: orders.QualifyNode) -> None:
        """Run burn-in as a Slurm job on that node."""
        if place := self._places.get(order.node):
            place.to_qualify = True
            self._burn_ins.begin(place)

    def instance(self, node: NodeId) -> str:
        """The incarnation in use."""
        place = self._places.get(node)
        return place.instance if place else ""

    def waits_for_slurm(self) -> bool:
        """Whether something is only to be learnt from Slurm."""
        now = time.monotonic()
        return any(
            (now < place.eager_until and not place.joined) or (place.burning and not place.burning.done())
            for place in self._places.values()
        )

    # ---- what Slurm says -------------------------------------------------------------------------

    def on_view(self, view: View) -> None:
        """Compare every node with what was told of it."""
        for node, place in self._places.items():
            found = view.nodes.get(node)
            place.seen = found
            if found is None:
                if view.nodes and not place.repairing:
                    self._say_unknown(place)
                continue
            # of a node that slurmctld has not heard since it began there is no news
            if not found.unknown and not place.repairing:
                self._compare(place, found)
            self._holds.compare(place, found, view.asked_at)
            if place.joined:
                self._compare_use(place, view.others.get(node))
        self._incarnations.note_boots()

    def _say_unknown(self, place: Place) -> None:
        """It left Slurm's configuration: nothing can be there, nor come there."""
        for source in _BY_SLURM:
            place.evidence.say(source, False, "Slurm does not know it any more")

    def _compare(self, place: Place, found: reading.Node) -> None:
        signs = self._signs.get(place.node)
        lively = signs is not None and not signs.silent_s
        if self._incarnations.rebooted(place, found, lively=lively):
            self._incarnations.replace(place)
            return
        if found.usable and not place.joined:
            self._join(place)
        # also of one that is not there when we begin: it may have died while nobody looked
        silent = "" if found.responds else f"slurmctld hears nothing of it ({found.state})"
        down = f"Slurm says {found.state}: {found.reason}" if found.down else ""
        refused = "its slurmd cannot be reached" if place.refuses else ""
        words: list[tuple[Signal, str]] = [("channel", silent or down), ("process", down or refused)]
        # the good first: what was known of the one may be over, and both together are proof
        for source, trouble in sorted(words, key=lambda word: bool(word[1])):
            place.evidence.say(source, not trouble, trouble)

    def _expect(self, place: Place, instance: str) -> None:
        """What is seen of the node from now on is about this incarnation."""

        def tell(source: Signal, healthy: bool, detail: str) -> None:
            signs = self._signs.get(place.node)
            since = signs.last if signs else 0
            self._at.tell(
                inputs.NodeSignalled(
                    at=self._at.clock(),
                    node=place.node,
                    instance=instance,
                    source=source,
                    healthy=healthy,
                    detail=detail,
                    since=0 if healthy else since,
                )
            )

        place.instance, place.evidence = instance, health.Evidence(tell)

    def _join(self, place: Place) -> None:
        self._expect(place, self._incarnations.name(place.node))
        place.joined, place.occupied, place.refuses = True, None, False
        self._at.tell(place.come(self._at.clock()))
        self._burn_ins.begin(place)

    def _compare_use(self, place: Place, other: reading.Job | None) -> None:
        by, until = (f"job {other.id} of {other.user}", other.end_at) if other else ("", 0)
        if (by, until) != place.occupied:
            place.occupied = by, until
            self._at.tell(inputs.NodeOccupied(at=self._at.clock(), node=place.node, by=by, until=until))

    # ---- what members say ------------------------------------------------------------------------

    def on_files(self) -> None:
        """A node whose members all fell silent is suspect; its slurmd is asked at once."""
        self._signs = self._gangs.signs()
        for place in self._places.values():
            if place.repairing:
                continue
            signs = self._signs.get(place.node)
            if signs and signs.silent_s:
                told = f"its processes are silent for {signs.silent_s:.1f} s"
                place.evidence.say("heartbeat", False, told)
                if place.node not in self._probes:
                    probe = self._at.tasks.start(self._probe(place))
                    self._probes[place.node] = probe
                    probe.add_done_callback(lambda _, node=place.node: self._probes.pop(node, None))  # type: ignore[misc]
            elif signs is None or signs.heard:
                place.evidence.say("heartbeat", True)

    async def _probe(self, place: Place) -> None:
        if place.seen is None:
            return
        place.refuses = not await place.answers()
        if place.refuses:
            place.evidence.say("process", False, "its slurmd cannot be reached")
        await asyncio.sleep(PROBE_S)
