"""The engine's side of the zygote: keep one running, have it fork agents, and end everything of a home."""

import asyncio
import os
import sys
import time
from functools import partial
from pathlib import Path

from myriad.engines.common import forking, procs
from myriad.engines.local import agent, launch, memory, paths, wire

_LOOK_EVERY_S = 0.02
#: Importing torch takes 4 s on a quiet machine.
_START_PATIENCE_S = 180.0
_SPAWN_PATIENCE_S = 30.0


class Failed(Exception):
    """The zygote or an agent did not come up; the text says why."""


class Nursery:
    """Forks agents for one home."""

    def __init__(self, home: Path, *, preload: bool) -> None:
        self._home, self._preload = home, preload
        self._starting = asyncio.Lock()
        self._pid = 0  # the zygote, when it is our child

    async def spawn(self, node: str, instance: str, chips: int) -> wire.Record | wire.Refused:
        """Fork an agent; returns once it listens. Raises Failed."""
        reader, writer = await self._connect()
        try:
            async with asyncio.timeout(_SPAWN_PATIENCE_S):
                writer.write(wire.encode(wire.Spawn(node=node, instance=instance, chips=chips)))
                answer = await receive(reader)
        except (OSError, TimeoutError, EOFError, wire.Broken) as error:
            raise Failed(f"{node} did not start: {error or type(error).__name__}") from None
        finally:
            writer.close()
        if isinstance(answer, wire.Record | wire.Refused):
            return answer
        raise Failed(f"{node} did not start: see {paths.agent_log(self._home, node)}")

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        async with self._starting:
            if found := await self._reach():
                return found
            self._start()
            give_up_at = time.monotonic() + _START_PATIENCE_S
            while time.monotonic() < give_up_at:
                if found := await self._reach():
                    return found
                self._check_on_child()
                await asyncio.sleep(_LOOK_EVERY_S)
        raise Failed(f"the zygote did not start in {_START_PATIENCE_S:.0f} s: see {self._log}")

    async def _reach(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        record = agent.read_record(paths.zygote_record(self._home))
        if record is None or not is_alive(record):
            return None
        if ("--preload" in procs.arguments(record.pid)) != self._preload:
            await asyncio.to_thread(procs.kill_until_none, partial(_living, record))
            return None
        try:
            return await asyncio.open_unix_connection(record.address)
        except OSError:
            return None

    def _start(self) -> None:
        self._log.parent.mkdir(parents=True, exist_ok=True)
        out = os.open(self._log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        env = {name: value for name, value in os.environ.items() if not name.startswith("MYRIAD_")}
        argv = [sys.executable, "-P", "-m", launch.ZYGOTE, str(self._home)] + ["--preload"] * self._preload
        try:
            null = (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0)
            outputs = [(os.POSIX_SPAWN_DUP2, out, number) for number in (1, 2)]
            self._pid = os.posix_spawn(
                sys.executable, argv, {**env, **forking.DEFAULTS}, file_actions=[null, *outputs], setsid=True
            )
        finally:
            os.close(out)

    def _check_on_child(self) -> None:
        """Reap our zygote if it ended. Raises Failed unless another one was there before."""
        if not self._pid:
            return
        try:
            pid, status = os.waitpid(self._pid, os.WNOHANG)
        except ChildProcessError:
            pid, status = self._pid, 0
        if pid:
            self._pid = 0
            if code := os.waitstatus_to_exitcode(status):
                raise Failed(f"the zygote ended with code {code}: see {self._log}")
            if agent.read_record(paths.zygote_record(self._home)) is None:
                raise Failed(f"the zygote ended: see {self._log}")

    @property
    def _log(self) -> Path:
        return paths.zygote_log(self._home)

    def reap(self) -> None:
        """Leave no zombie of a zygote that was our child."""
        if self._pid:
            try:
                os.waitpid(self._pid, os.WNOHANG)
            except ChildProcessError:
                self._pid = 0


async def receive(reader: asyncio.StreamReader) -> wire.AnyMessage:
    """The next message. Raises EOFError at the end, OSError, wire.Broken."""
    size = int.from_bytes(await reader.readexactly(4), "big")
    return wire.decode(await reader.readexactly(size))


def is_alive(record: wire.Record) -> bool:
    """Does the process of the record live, in this boot of the machine?"""
    return record.boot == procs.boot() and procs.alive(record.pid, record.started)


async def fence(home: Path, record: wire.Record) -> None:
    """Kill all that is left of an incarnation, and forget its record. Returns when nothing is left."""
    if record.boot == procs.boot():
        family = partial(procs.of_incarnation, record.pid, record.started, record.instance)
        while not await asyncio.to_thread(procs.kill_until_none, family):
            await asyncio.sleep(1.0)
    await asyncio.to_thread(memory.forget_incarnation, home, record.node, record.instance)
    paths.agent_record(home, record.node).unlink(missing_ok=True)


def records(home: Path) -> list[wire.Record]:
    """Every agent on record, alive or dead."""
    found = [agent.read_record(path) for path in sorted((home / "nodes").glob("*/agent.json"))]
    return [record for record in found if record]


async def end_all(home: Path) -> None:
    """End agents, zygote, and everything they started."""
    # forks keep the command line of the zygote, so this finds even an agent that has no record yet
    await asyncio.to_thread(procs.kill_until_none, partial(_of_home, home))
    for record in records(home):
        await fence(home, record)
    await asyncio.to_thread(memory.forget_all, home)
    paths.zygote_record(home).unlink(missing_ok=True)


def _of_home(home: Path) -> list[procs.Process]:
    everybody = procs.table()
    roots = [p for p in everybody if {launch.ZYGOTE, str(home)} <= set(procs.arguments(p.pid))]
    return procs.with_descendants(roots, everybody)


def _living(record: wire.Record) -> list[procs.Process]:
    found = procs.find(record.pid)
    return [found] if found and found.started == record.started else []
