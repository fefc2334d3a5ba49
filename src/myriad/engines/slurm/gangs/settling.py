"""A gang whose Slurm job is over: what is told of members that did not say their last word themselves.

Slurm speaks for them, once nothing of them can be left. Why its job ended says whose doing it was (`gang`).
"""

import asyncio
from collections.abc import Callable

from myriad.engines.slurm import spool
from myriad.engines.slurm.asking import commands, reading
from myriad.engines.slurm.gangs import gang
from myriad.engines.slurm.gangs.gang import Gang, Part
from myriad.engines.slurm.where import Where

_RETRY_S = 2.0


class Settler:
    """Brings such gangs to their end."""

    def __init__(
        self,
        where: Where,
        over: Callable[[Gang, Part, gang.Over], None],
        quiet_s: Callable[[Part], float],
        submit_again: Callable[[Gang], None],
    ) -> None:
        self._at, self._over, self._quiet_s, self._submit_again = where, over, quiet_s, submit_again

    async def settle(self, one: Gang) -> None:
        """Slurm ends its job, or has ended it: speak for members that did not say their last word."""
        ending = await self._ending(one)
        if one.over:
            return
        try:
            claim = await asyncio.to_thread(self._at.files.claim, one.attempt)
            if claim not in ("", spool.STOPPED, one.job):
                # another job of the attempt was first, submitted by somebody who got no answer: it counts
                one.left, one.job = False, claim
                return
            known = not (one.stop or one.strange)
            if ending is None and known and not claim and not any(p.begun for p in one.parts.values()):
                # slurmctld was restarted from a state older than the job: nothing has begun, nothing is lost
                one.left, one.job = False, ""
                self._submit_again(one)
                return
            await self._at.act()
            await asyncio.to_thread(self._at.files.forbid, one.attempt)
            while not one.over and one.left:
                await asyncio.sleep(self._at.config.lease_s / 8)
                if ending and ending.state == "COMPLETING":
                    ending = await self._ending(one)
                await self._speak_for(one, ending)
        except OSError:
            one.left = False  # the shared folder is away: the next look at Slurm begins anew

    async def _speak_for(self, one: Gang, ending: reading.Ending | None) -> None:
        view = await self._at.seen()
        job = view.job(one.attempt, one.job)
        # what Slurm forgot it cannot vouch for: then only the guard's time counts
        enough_s = (0.5 if ending else 1.25) * one.lease_s
        for part in one.parts.values():
            if part.over or (part.begun and not part.ended and self._quiet_s(part) < enough_s):
                continue
            # a node that Slurm does not hear may still run it: the node's own loss is told elsewhere
            done_there = job is None or part.node not in job.nodes
            if not part.ended and not (done_there and view.responds(part.node)):
                continue
            over = gang.inferred(one, part, ending, self._at.clock())
            # one that begins this very moment says by itself how it goes on
            sure = part.begun or await asyncio.to_thread(self._at.files.bar, one.attempt, part.node)
            if sure and part.over is None:
                self._say_why(one, ending)
                self._over(one, part, over)

    def _say_why(self, one: Gang, ending: reading.Ending | None) -> None:
        """Nothing of it ever began: where people have to look is all that is known."""
        if one.stop or one.strange or any(part.started or part.over for part in one.parts.values()):
            return
        how = ending.state if ending else "which it does not know any more"
        text = f"Slurm ended its job {one.job} ({how}) before it began: see slurm.log and member-*.log"
        self._at.tell(one.spoke(self._at.clock(), text, fatal=True))

    async def _ending(self, one: Gang) -> reading.Ending | None:
        """None: Slurm does not know it any more, or no longer for sure. While it is silent, it may."""
        while True:
            try:
                said = await commands.run(["scontrol", "--oneliner", "show", "job", one.job])
                found = reading.ending(said, self._at.prefix + one.attempt)
                began_at = reading.booted(await commands.run(["scontrol", "show", "config"]))
            except commands.SlurmError:
                return None
            except commands.SlurmSilent:
                await asyncio.sleep(_RETRY_S)
            else:
                # one that was restarted since takes for failed or cancelled what it only lost track of
                return found if found and began_at < found.submitted_at else None
