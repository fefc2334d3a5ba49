"""Gangs that run and are not on record, and such as are on record and nowhere.

Both come about when a journal was restored from a backup: the shared folder remembers more than it. Else only
what is over may be unknown: its last word was on record, and its files had not gone yet when Myriad ended.
What nobody knows is ended without a word, and no gang begins on its nodes before it is gone. Names of
attempts are given out again then: what tells one from its namesake is the instant at which it was placed.
"""

import asyncio
from collections.abc import Callable, Container, Mapping, Sequence

from myriad.engines.common import aloud
from myriad.engines.slurm.gangs.gang import Gang
from myriad.engines.slurm.where import Where
from myriad.kernel.ids import AttemptId, NodeId
from myriad.protocol import inputs, orders

_LOOK_S = 0.3


class Strangers:
    """Compares what there is with what is on record, once after a start."""

    def __init__(
        self,
        where: Where,
        gangs: Mapping[AttemptId, Gang],
        past: Container[AttemptId],
        stop: Callable[[orders.StopGang], object],
        cancel: Callable[[AttemptId, str], object],
    ) -> None:
        self._at, self._gangs, self._past = where, gangs, past
        self._stop, self._cancel = stop, cancel

    def compare(self, order: orders.KeepGangs) -> None:
        """End what is not on record; tell of what had begun, and is not here."""
        kept = {one.attempt: one for one in order.gangs}
        for one in self._gangs.values():
            known = kept.get(one.attempt)
            if known is None or one.placed_at not in (0, known.placed_at):
                one.strange = True
                self._stop(orders.StopGang(attempt=one.attempt, members=()))
        for known in order.gangs:
            here = self._gangs.get(known.attempt)
            if known.begun and known.attempt not in self._past and (here is None or here.strange):
                self._at.tasks.start(self._tell_nowhere(known))

    async def gone_from(self, nodes: Sequence[NodeId]) -> None:
        """Returns when none of them runs on these nodes."""
        for one in [one for one in self._gangs.values() if one.strange]:
            if not set(nodes).isdisjoint(one.nodes):
                await one.cleared.wait()

    async def _tell_nowhere(self, known: orders.Standing) -> None:
        """It left nothing in the shared folder: it is over, unless Slurm still has a job of it."""
        await self._at.act()
        await self._at.tasks.insist(self._at.files.forbid, known.attempt)
        await self.gone_from([member.node for member in known.members])
        cancelled: set[str] = set()
        while jobs := (await self._at.seen()).named(known.attempt):
            for job in jobs:
                if job.id not in cancelled:
                    cancelled.add(job.id)
                    self._cancel(known.attempt, job.id)
            self._at.hurry()
            await asyncio.sleep(_LOOK_S)
        aloud.nowhere(known.attempt)
        for member in known.members:
            at = self._at.clock()
            self._at.tell(inputs.MemberGone(at=at, attempt=known.attempt, node=member.node))
