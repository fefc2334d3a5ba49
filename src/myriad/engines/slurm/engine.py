"""The engine of an existing Slurm: orders become files, jobs and updates; looks at both become observations.

The object may vanish at any moment. All it must not forget is in the shared folder or in Slurm, and the next
one, on this machine or on another that reaches both, takes up from there.
"""

import asyncio
import hashlib
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from myriad.engines.common import aloud
from myriad.engines.slurm.asking import commands, reading, view
from myriad.engines.slurm.config import Config
from myriad.engines.slurm.gangs.gangs import Gangs
from myriad.engines.slurm.nodes.nodes import Nodes
from myriad.engines.slurm.spool import Spool
from myriad.engines.slurm.tasks import Tasks
from myriad.engines.slurm.users import users
from myriad.engines.slurm.where import Where
from myriad.fleet import hostlist
from myriad.fleet.site import Site
from myriad.kernel.errors import UserError
from myriad.kernel.ids import NodeId
from myriad.protocol import inputs, orders

#: Between looks at files, while something is about to happen and while nothing is.
_FILES_S, _FILES_CALM_S = 0.1, 0.5
_SLURM_S = 0.25
#: Looking at Slurm may take this share of the time, whatever its size.
_LOOKING_SHARE = 0.2
_ACT_S = 0.1
_SILENT = "Slurm does not answer, its nodes' state is not known"


class SlurmEngine:
    """Implements kernel.ports.Engine. Asking `observe` again says that the last batch is on record."""

    def __init__(
        self,
        data: Path,
        site: Site,
        clock: Callable[[], int],
        config: Config | None = None,
        *,
        may_act: Callable[[], bool] = lambda: True,
    ) -> None:
        self._config = config or Config()
        self._may_act = may_act
        self._users = users.named(self._config)
        self._files = Spool(data.absolute(), self._users)
        self._news = asyncio.Event()
        self._tasks = Tasks(self._news.set, lambda why: self._say("the shared folder cannot be used", why))
        digest = hashlib.blake2b(os.fsencode(data.absolute()), digest_size=4).hexdigest()
        places = site.places()
        self._wanted = {str(place.node) for place in places}
        self._prefix = f"myriad-{digest}/"
        chips = {place.node: place.chips for place in places}
        self._where = Where(
            data=data.absolute(),
            files=self._files,
            config=self._config,
            prefix=self._prefix,
            memory=f"/dev/shm/myriad-{os.getuid()}-{digest}",
            tell=self._tell,
            clock=clock,
            act=self._act,
            seen=self._seen,
            users=self._users,
            instance=self._instance,
            hurry=self._hurry,
            tasks=self._tasks,
        )
        self._gangs = Gangs(self._where, lambda node: chips.get(node, 0))
        self._nodes = Nodes(self._where, places, self._gangs)
        self._ready: list[inputs.Input] = []
        self._view: view.View | None = None
        self._first = asyncio.Event()
        self._look = asyncio.Event()
        self._said: dict[str, bool] = {}
        self._closed = False

    # ---- the port --------------------------------------------------------------------------------

    async def open(self) -> None:
        """Take up what runs, then look at Slurm; nodes join when it answers, however long that takes.

        Raises UserError when the shared folder cannot be used.
        """
        try:
            await asyncio.to_thread(self._files.prepare)
            self._nodes.take_up(await asyncio.to_thread(self._files.lives, sorted(self._wanted)))
            self._gangs.adopt(await asyncio.to_thread(self._files.all_found))
        except OSError as error:
            raise UserError(
                error.strerror or str(error),
                field="data",
                value=str(error.filename or self._files.root),
                remedy="Give a folder with --data that this user may write here and on all nodes",
            ) from None
        for work in (self._look_at_slurm(), self._look_at_files(), self._gangs.prune()):
            self._tasks.start(work)

    def obey(self, order: orders.AnyOrder) -> None:
        """Begin to carry out an order; the answer is an observation. WakeAt is the driver's."""
        match order:
            case orders.KeepGangs():
                self._gangs.keep(order)
            case orders.StartGang():
                self._gangs.start(order)
            case orders.StopGang():
                self._gangs.stop(order)
            case orders.AskCheckpoint():
                self._gangs.ask(order)
            case orders.QualifyNode():
                self._nodes.qualify(order)
            case orders.RepairNode():
                self._nodes.repair(order)
            case orders.HoldNode():
                self._nodes.hold(order)
            case orders.WakeAt():
                pass

    async def observe(self) -> Sequence[inputs.Input]:
        """The next observations; what the call before returned is taken to be on record now."""
        self._gangs.on_record()
        while not (self._ready or self._closed or self._tasks.broken):
            self._news.clear()
            await self._news.wait()
        if self._closed:
            return ()
        if self._tasks.broken:
            raise self._tasks.broken  # who does not look any more must not go on as if all were well
        batch, self._ready = tuple(self._ready), []
        self._gangs.handed_over()
        return batch

    async def close(self) -> None:
        """Let go; everything keeps running."""
        self._closed = True
        self._news.set()
        await self._tasks.close()
        await self._gangs.close()

    async def shutdown(self) -> None:
        """Close. What the brain ended is ended; the cluster itself is not ours to end."""
        await self.close()

    # ---- looking ---------------------------------------------------------------------------------

    async def _look_at_slurm(self) -> None:
        pause_s, reader = _SLURM_S, reading.Reader()
        while True:
            self._look.clear()
            began = time.monotonic()
            try:
                found = await view.look(self._prefix, self._wanted, reader, self._files.whose)
            except (commands.SlurmSilent, commands.SlurmError) as error:
                # no news is no bad news: nothing is concluded until it answers
                self._say(_SILENT, str(error))
            else:
                self._say(_SILENT, "")
                self._view = found
                self._first.set()
                unknown = hostlist.fold(sorted(self._wanted - found.nodes.keys()))
                self._say("Slurm does not know these nodes of the site file", unknown)
                self._nodes.on_view(found)
                self._gangs.on_view(found)
            spent_s = time.monotonic() - began
            eager = self._gangs.waits_for_slurm() or self._nodes.waits_for_slurm()
            pause_s = _SLURM_S if eager else min(2 * pause_s, self._config.look_every_s)
            pause_s = max(pause_s, spent_s / _LOOKING_SHARE)
            await asyncio.sleep(_SLURM_S)
            try:
                async with asyncio.timeout(pause_s - _SLURM_S):
                    await self._look.wait()
                pause_s = _SLURM_S
            except TimeoutError:
                pass

    async def _look_at_files(self) -> None:
        woken_ns = await asyncio.to_thread(self._files.woken_ns)
        while True:
            await self._gangs.read()
            if (touched_ns := await asyncio.to_thread(self._files.woken_ns)) != woken_ns:
                woken_ns = touched_ns
                self._hurry()
            self._nodes.on_files()
            await asyncio.sleep(_FILES_S if self._gangs.lively() else _FILES_CALM_S)

    def _say(self, trouble: str, why: str) -> None:
        """To people, once when it begins and once when it is over."""
        if bool(why) != self._said.get(trouble, False):
            self._said[trouble] = bool(why)
            aloud.say(f"{trouble}: {why}" if why else f"no longer: {trouble}")

    # ---- for gangs and nodes -----------------------------------------------------------------------

    async def _act(self) -> None:
        while not self._may_act():
            await asyncio.sleep(_ACT_S)

    async def _seen(self) -> view.View:
        await self._first.wait()
        assert self._view is not None
        return self._view

    def _instance(self, node: NodeId) -> str:
        return self._nodes.instance(node)

    def _hurry(self) -> None:
        self._look.set()

    def _tell(self, what: inputs.Input) -> None:
        self._ready.append(what)
        self._news.set()
