"""Burn-in: what a node must pass before it gets work, run as a Slurm job on that node alone."""

import asyncio
import contextlib
import time

from myriad.engines.common import aloud, burnin
from myriad.engines.slurm.asking import batch, commands, reading
from myriad.engines.slurm.asking.view import View
from myriad.engines.slurm.nodes.node import Place
from myriad.engines.slurm.where import Where
from myriad.kernel.ids import NodeId
from myriad.protocol import inputs

_BURN_IN_S = 300.0
_UNDRAIN_S = 60.0
_LOOK_S = 0.3
#: What Slurm refuses to us is for the site to mend, and asked again until it is.
_AGAIN_S = 10.0


class BurnIns:
    """Begins them, follows them, tells how they ended."""

    def __init__(self, where: Where, slots: asyncio.Semaphore) -> None:
        self._at, self._slots = where, slots
        #: Why none may begin, as it was said last.
        self._refused = ""

    def begin(self, place: Place) -> None:
        """Qualify it if that was ordered, and as soon as it has joined."""
        if place.joined and place.to_qualify and (place.burning is None or place.burning.done()):
            place.to_qualify = False
            place.burning = self._at.tasks.start(self._qualify(place, place.instance))

    async def cancel(self, node: NodeId) -> None:
        """End what there is of them on the node."""
        for name, jobs in (await self._at.seen()).own.items():
            if name.startswith(f"burn-in/{node}/"):
                for job in jobs:
                    with contextlib.suppress(commands.SlurmSilent, commands.SlurmError):
                        await commands.run(["scancel", job.id])

    async def _qualify(self, place: Place, instance: str) -> None:
        await self._await_undrain(place)
        try:
            if self._at.config.burn_in == "none":
                found = burnin.Result(ok=True)
            else:
                while (run := await self._run(place, instance)) is None:
                    pass  # Slurm forgot it: begun anew
                found = run
        except commands.SlurmError as error:
            found = burnin.Result(ok=False, detail=str(error))
        self._at.tell(
            inputs.NodeQualified(
                at=self._at.clock(),
                node=place.node,
                instance=instance,
                ok=found.ok,
                gemm_flops=found.gemm_flops,
                detail=found.detail,
            )
        )

    async def _await_undrain(self, place: Place) -> None:
        """What the brain has just given back must be given back in Slurm before anything can begin there."""
        give_up_at = time.monotonic() + _UNDRAIN_S
        await self._at.seen()
        while place.held and place.ordered is False and time.monotonic() < give_up_at:
            self._at.hurry()
            await asyncio.sleep(_LOOK_S)

    async def _run(self, place: Place, instance: str) -> burnin.Result | None:
        """None: slurmctld was restarted from a state older than the job, which left no answer."""
        name = f"burn-in/{place.node}/{instance}"
        output = self._at.files.burn_in(place.node)
        words, body = batch.burn_in(self._at.config, self._at.prefix + name, place.node, output, place.chips)
        job, submitted_at, began_at = "", 0.0, 0.0
        while True:
            view = await self._at.seen()
            known = view.own.get(name, [])
            pending = not known or known[0].pending
            if pending and (why := _not_measurable(place, view)):
                await self.cancel(place.node)
                return burnin.Result(ok=True, detail=f"not measured: {why}")
            if known:
                job, began_at = known[0].id, 0.0 if pending else began_at or view.asked_at
                if not pending and view.asked_at - began_at > _BURN_IN_S:
                    await self.cancel(place.node)
                    return burnin.Result(ok=False, detail=f"burn-in was not done in {_BURN_IN_S:.0f} s")
            elif job and view.asked_at > submitted_at:
                break
            elif not job:
                # what the last one said must not be taken for the answer of this one
                await self._at.tasks.insist(lambda: output.unlink(missing_ok=True))
                job, submitted_at = await self._submit(words, body), time.monotonic()
            self._at.hurry()
            await asyncio.sleep(_LOOK_S)
        ending = None
        with contextlib.suppress(commands.SlurmSilent, commands.SlurmError):
            said = await commands.run(["scontrol", "--oneliner", "show", "job", job])
            ending = reading.ending(said, self._at.prefix + name)
        if ending is None:
            return await asyncio.to_thread(burnin.answer, output)
        return await asyncio.to_thread(burnin.result, output, ending.code)

    async def _submit(self, words: list[str], body: str) -> str:
        """Its number; empty: not now. Raises SlurmError when Slurm cannot run it on that node."""
        try:
            async with self._slots:
                await self._at.act()
                said = await commands.run(["sbatch", *words], feed=body)
        except commands.SlurmSilent:
            return ""
        except commands.SlurmError as error:
            if error.of_node:
                raise
            if str(error) != self._refused:
                self._refused = str(error)
                aloud.say(f"burn-ins cannot begin: {error}")
            await asyncio.sleep(_AGAIN_S)
            return ""
        self._refused = ""
        return said.strip().partition(";")[0]


def _not_measurable(place: Place, view: View) -> str:
    """Why Slurm would not start a burn-in there, for as long as that is so."""
    if place.seen and place.seen.held:
        return f"it is kept out of service ({place.seen.reason or 'drained'})"
    if other := view.others.get(place.node):
        return f"job {other.id} of {other.user} uses it"
    return ""
