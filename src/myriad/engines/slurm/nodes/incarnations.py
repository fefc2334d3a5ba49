"""Incarnations of nodes: one that is lost is fenced before it may come back, and comes back as another.

How often a node was fenced, and when it had booted, is in the shared folder: no successor mistakes an old
incarnation for a new one.
"""

import asyncio
import time
from collections.abc import Iterable, Mapping

from myriad.engines.slurm.asking import reading
from myriad.engines.slurm.gangs.gangs import Gangs
from myriad.engines.slurm.nodes.burnins import BurnIns
from myriad.engines.slurm.nodes.node import OURS, Place
from myriad.engines.slurm.nodes.updates import Updates
from myriad.engines.slurm.where import Where
from myriad.kernel.ids import NodeId
from myriad.protocol import inputs

#: Slurm's word of when a node booted varies by a second or two.
_BOOT_S = 60
_LOOK_S = 0.5
#: A node that Slurm calls down although its slurmd answers is asked back no more often than this.
_RESUME_EVERY_S = 10.0
#: Slurm's own default of SlurmdTimeout. Where we may not reach slurmd, a node that is well waits so long.
_UNNOTICED_S = 300.0
#: How Slurm's own marks of a node that was away begin.
_WAS_AWAY = ("Not responding", OURS, "Node unexpectedly")


class Incarnations:
    """Which one of every node is in use, and how the next one comes about."""

    def __init__(
        self, where: Where, nodes: Iterable[NodeId], gangs: Gangs, updates: Updates, burn_ins: BurnIns
    ) -> None:
        self._at, self._gangs, self._updates, self._burn_ins = where, gangs, updates, burn_ins
        #: How often it was fenced, and when it had booted (0: not known).
        self._lives = dict.fromkeys(nodes, (0, 0))
        self._booted: set[NodeId] = set()
        self._noting: asyncio.Task[None] | None = None

    def take_up(self, lives: Mapping[str, tuple[int, int]]) -> None:
        """What the shared folder says of every node."""
        self._lives = {node: lives[node] for node in self._lives}

    def name(self, node: NodeId) -> str:
        """What the incarnation in use is called."""
        return f"{node}.{self._lives[node][0]}"

    def tell_past(self) -> None:
        """Those before are fenced, whether or not a predecessor lived to tell it."""
        for node, (generation, _) in self._lives.items():
            if generation:
                self.tell_fenced(node, f"{node}.{generation - 1}")

    def rebooted(self, place: Place, found: reading.Node, *, lively: bool) -> bool:
        """It went down and came up again: what ran there is dead, and is fenced as on any lost node.

        If that gives signs of life, it was the node's clock that was set, from which Slurm reckons.
        """
        generation, boot = self._lives[place.node]
        if found.boot and not boot:
            self._lives[place.node] = generation, found.boot
            self._booted.add(place.node)
        return found.boot > boot + _BOOT_S and boot > 0 and not lively

    def note_boots(self) -> None:
        """Write down when nodes had booted that were never asked before."""
        if self._booted and (self._noting is None or self._noting.done()):
            self._noting = self._at.tasks.start(self._note_boots())

    async def _note_boots(self) -> None:
        await self._at.act()
        booted, self._booted = self._booted, set()
        lives = {node: self._lives[node] for node in booted}
        await self._at.tasks.insist(self._at.files.set_boots, lives)

    def replace(self, place: Place) -> None:
        """Fence the incarnation, then let the node come back as another."""
        if not place.repairing:
            place.repair = self._at.tasks.start(self._replace(place))

    def welcome(self, place: Place) -> None:
        """It was fenced by a predecessor, who may not have lived to see it back."""
        if not place.repairing:
            place.repair = self._at.tasks.start(self._await_return(place))

    async def _replace(self, place: Place) -> None:
        place.joined = False
        place.expect()
        if place.burning:
            place.burning.cancel()
        await self._at.act()
        if place.seen and not place.held:
            await self._updates.change(place.node, "drain", f"{OURS} being repaired")
        await self._gangs.fence(place.node)
        await self._burn_ins.cancel(place.node)
        self._booted.discard(place.node)
        if self._noting:
            await asyncio.wait([self._noting])  # two must not write the same
        generation, boot = self._lives[place.node][0] + 1, place.seen.boot if place.seen else 0
        await self._at.act()
        # an old incarnation must never be mistaken for a new one
        generation = await self._at.tasks.insist(self._at.files.set_life, place.node, generation, boot)
        self._lives[place.node] = generation, boot
        self.tell_fenced(place.node, place.instance)
        await self._await_return(place)

    def tell_fenced(self, node: NodeId, instance: str) -> None:
        """Nothing of it is left."""
        self._at.tell(inputs.NodeFenced(at=self._at.clock(), node=node, instance=instance))

    async def _await_return(self, place: Place) -> None:
        """Until Slurm hears the node again and would use it; what we had marked is taken back.

        For a while slurmctld takes a slurmd that is gone for one that is there: one that was known not to
        answer must answer now, for as long as it takes slurmctld to notice.
        """
        doubt_until = time.monotonic() + (_UNNOTICED_S if place.refuses else 0.0)
        while True:
            if time.monotonic() < place.eager_until:
                self._at.hurry()
            await asyncio.sleep(_LOOK_S)
            found = (await self._at.seen()).nodes.get(place.node)
            if found is None or not found.responds:
                continue
            if time.monotonic() < doubt_until and not await place.answers():
                continue
            marked = found.held and found.reason.startswith(OURS) and not place.ordered
            # down although its slurmd answers: Slurm's own mark for a node that was away
            left_down = found.down and found.reason.startswith(_WAS_AWAY)
            if (marked or left_down) and time.monotonic() > place.resumed_at + _RESUME_EVERY_S:
                place.resumed_at = time.monotonic()
                await self._updates.change(place.node, "resume")
            elif not found.down and not marked:
                return
