"""Changes of nodes in Slurm: drain, undrain, resume; what changes alike in many nodes is one command."""

import asyncio
import contextlib

from myriad.engines.slurm.asking import commands
from myriad.engines.slurm.where import Where
from myriad.fleet import hostlist
from myriad.kernel.ids import NodeId

_REASON_CHARS = 200
#: What is to be changed in Slurm within so long is changed at once.
_GATHER_S = 0.05


class Updates:
    """Gathers them. A change that Slurm did not hear is no error: nodes are compared again at every look."""

    def __init__(self, where: Where, slots: asyncio.Semaphore) -> None:
        self._at, self._slots = where, slots
        #: Nodes that are about to be changed alike: state and reason -> nodes, and the work itself.
        self._gathered: dict[tuple[str, str], tuple[list[NodeId], asyncio.Task[set[NodeId]]]] = {}

    async def change(self, node: NodeId, state: str, reason: str = "") -> bool:
        """Change it in Slurm, with all that is to be changed alike: a pod is drained by one command.

        Whether Slurm said that it did.
        """
        if (state, reason) not in self._gathered:
            nodes: list[NodeId] = []
            done = self._at.tasks.start(self._change_all(nodes, state, reason))
            self._gathered[state, reason] = nodes, done
        nodes, done = self._gathered[state, reason]
        nodes.append(node)
        return node in await asyncio.shield(done)

    async def _change_all(self, nodes: list[NodeId], state: str, reason: str) -> set[NodeId]:
        await asyncio.sleep(_GATHER_S)
        del self._gathered[state, reason]
        changed: set[NodeId] = set()
        try:
            changed |= await self._command(nodes, state, reason)
        except commands.SlurmError:  # perhaps of one of them: the others shall not wait for it
            for node in nodes if len(nodes) > 1 else ():
                with contextlib.suppress(commands.SlurmError):
                    changed |= await self._command([node], state, reason)
        self._at.hurry()
        return changed

    async def _command(self, nodes: list[NodeId], state: str, reason: str) -> set[NodeId]:
        words = ["scontrol", "update", f"nodename={hostlist.fold(nodes)}", f"state={state}"]
        if reason:
            words.append(f"reason={' '.join(reason.split())[:_REASON_CHARS]}")
        with contextlib.suppress(commands.SlurmSilent):
            async with self._slots:
                await self._at.act()
                await commands.run(words)
                return set(nodes)
        return set()
