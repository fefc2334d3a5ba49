"""How a gang gets into Slurm: its plan in the shared folder, then one batch job.

It may be tried as often as needed, by this control plane or by its successor: only the first job of an
attempt finds that it may start (`batch`).
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from myriad.engines.common import layout, ranks
from myriad.engines.slurm import spool
from myriad.engines.slurm.asking import batch, commands
from myriad.engines.slurm.asking.view import View
from myriad.engines.slurm.gangs.gang import Gang
from myriad.engines.slurm.users import homes, users
from myriad.engines.slurm.where import Where
from myriad.kernel.ids import NodeId
from myriad.protocol import orders

_RETRY_S, _RETRY_S_MAX = 0.5, 10.0
#: Environment of a command; None: our own.
Env = Mapping[str, str] | None
#: Submissions under way at once.
_AT_ONCE = 8


class Submitter:
    """Submits gangs; what goes wrong is said by exceptions."""

    def __init__(self, where: Where, chips_of: Callable[[NodeId], int]) -> None:
        self._at, self._chips_of = where, chips_of
        self._slots = asyncio.Semaphore(_AT_ONCE)

    def note(self, order: orders.StartGang) -> None:
        """Whose gang it will be, before anything of it is looked for."""
        if user := self._at.users.get(self._at.config.user_of(order.tenant)):
            self._at.files.belongs(order.attempt, user.name, user.uid, {})

    async def plan(self, one: Gang, order: orders.StartGang) -> None:
        """Write down what to start where, unless it is to be stopped by then. Raises OSError."""
        view = await self._at.seen()
        await self._at.act()
        if one.stop is None:
            await asyncio.to_thread(self._write_plan, order, view)

    async def submit(self, one: Gang) -> None:
        """Hand a planned gang to Slurm, until it is there or to be stopped. Raises SlurmError at a no."""
        view = await self._at.seen()
        tree = await self._at.tasks.insist(spool.read_json, self._at.files.plan(one.attempt))
        if tree is None:
            return  # it was stopped, and is over
        argv, env, body = self._job(one, tree, view)
        asked, pause_s = 0.0, _RETRY_S
        while one.stop is None and not one.over:
            if known := (await self._view_after(asked)).own.get(one.attempt):
                one.job = known[0].id  # of a predecessor, or taken although no answer came
                return
            try:
                async with self._slots:
                    await self._at.act()
                    said = await commands.run(argv, feed=body, env=env)
                one.job = said.strip().partition(";")[0]
            except commands.SlurmSilent:
                await asyncio.sleep(pause_s)
                asked, pause_s = time.monotonic(), min(2 * pause_s, _RETRY_S_MAX)
            else:
                one.submitted_at = time.monotonic()
                self._at.hurry()
                return

    async def _view_after(self, asked: float) -> View:
        while (view := await self._at.seen()).asked_at < asked:
            self._at.hurry()
            await asyncio.sleep(0.1)
        return view

    def _job(self, one: Gang, tree: Mapping[str, Any], view: View) -> tuple[list[str], Env, str]:
        """Command, environment and script of its batch job. Raises SlurmError."""
        chips, first = max(len(member["chips"]) for member in tree["members"]), one.nodes[0]
        in_all = self._chips_of(first) or chips
        cpus = view.nodes[first].cpus * chips // in_all if first in view.nodes else 1
        name = self._at.prefix + one.attempt
        logs = layout.logs_dir(Path(tree["owner"]), one.attempt)
        config, tenant, files = self._at.config, tree["tenant"], self._at.files
        words = batch.options(config, name, tenant, one.nodes, chips=chips, whole=chips == in_all, cpus=cpus)
        if not tree.get("user", ""):
            body = batch.script(config, files, self._at.data, one.attempt, name, len(one.nodes), logs)
            return ["sbatch", *words, f"--output={logs}/slurm.log", f"--chdir={logs}"], None, body
        user = self._at.users.get(tree["user"])
        if user is None:
            raise commands.SlurmError(f"its user {tree['user']} is no longer named in the section slurm")
        body = batch.their_script(config, files, self._at.data, name, tree, logs, users.passed())
        # where they may write is known to the script alone: until then nothing is to be said
        argv = [*users.becoming(config, user), "sbatch", *words, "--output=/dev/null", "--chdir=/"]
        return argv, users.environment(user), body

    def _write_plan(self, order: orders.StartGang, view: View) -> None:
        files, user = self._at.files, self._at.users.get(self._at.config.user_of(order.tenant))
        owner = homes.results(self._at.data, layout.owner_dir(self._at.data, order.job, order.service), user)
        ours = (layout.logs_dir(owner, order.attempt), owner / "output")
        for folder in (files.of(order.attempt), *(() if user else ours)):
            folder.mkdir(parents=True, exist_ok=True)
        members = [
            {
                "node": member.node,
                "chips": ranks.indices(member.chips),
                "instance": self._at.instance(member.node),
                "address": view.nodes[member.node].address if member.node in view.nodes else "",
            }
            for member in order.members
        ]
        tree = {
            "attempt": order.attempt,
            "placed_at": order.placed_at,
            "job": order.job,
            "service": order.service,
            "tenant": order.tenant,
            "owner": str(owner),
            "memory": f"{self._at.memory}-{user.name}" if user else self._at.memory,
            "lease_s": self._at.config.lease_s,
            "whole": self._at.config.start == "gang",
            "launch": msgspec.to_builtins(_plain(order.launch)),
            "members": members,
        }
        if user:
            tree |= {"user": user.name, "uid": user.uid}
            addresses = {str(member["node"]): str(member["address"]) for member in members}
            files.belongs(order.attempt, user.name, user.uid, addresses)
            files.allow(order.attempt)
        spool.write_json(files.plan(order.attempt), tree)


def _plain(launch: orders.Launch) -> dict[str, object]:
    """Every field, defaults too: members know nothing of the protocol."""
    return {name: getattr(launch, name) for name in launch.__struct_fields__}
