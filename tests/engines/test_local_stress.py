"""Anything is killed at any moment while gangs start and stop; nothing runs twice, nothing is left over."""

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from myriad.engines.common import procs
from myriad.engines.local import nursery, paths
from myriad.engines.local.agent import read_record
from myriad.kernel import rng
from myriad.kernel.ids import AttemptId, NodeId
from myriad.protocol import inputs, orders
from tests.contract import suite
from tests.contract.local_driver import LocalDriver, leftovers

_ROUND_PATIENCE_S = 15.0


class Chaos:
    """A control plane in small: repairs nodes that are lost, and knows what must be true."""

    def __init__(self, home: Path, seed: int) -> None:
        self.driver = LocalDriver(home)
        self.draw = rng.Stream(seed, "chaos")
        self.engine = self.driver.engine()
        self.instance: dict[NodeId, str] = {}
        self.gone: set[tuple[str, str]] = set()
        self.fences = 0

    async def run(self, rounds: int) -> None:
        await self.engine.open()
        await self.until(lambda: len(self.instance) == 3)
        for number in range(1, rounds + 1):
            await self.round(AttemptId(f"job-a.{number}"))
        await self.engine.shutdown()

    async def round(self, attempt: AttemptId) -> None:
        """Start and stop one gang; in between, and at the same time, something dies."""
        self.gone.clear()
        work = self.driver.work()
        self.engine.obey(suite.start(self.driver, work, attempt))
        for _ in range(self.draw.integer(1, 3)):
            await asyncio.sleep(self.draw.uniform(0.0, 0.04))
            self.kill_something()
        if self.draw.happens(0.2):
            await self.restart_control_plane()
        if self.draw.happens(0.3):
            self.engine.obey(suite.start(self.driver, work, attempt))
        stop = orders.StopGang(
            attempt=attempt, members=suite.gang(self.driver), grace_s=self.draw.choice((0.0, 0.05))
        )
        self.engine.obey(stop)
        if self.draw.happens(0.3):
            self.kill_something()
        everyone = {(attempt, node) for node in suite.nodes_of(self.driver)}
        await self.until(lambda: everyone <= self.gone, again=stop)
        assert not self.running(attempt)
        assert all(self.driver.starts(attempt, node) <= 1 for node in suite.nodes_of(self.driver))

    def kill_something(self) -> None:
        """SIGKILL the zygote, an agent, or a worker."""
        what = self.draw.integer(0, 3)
        pids = []
        if what == 0 and (zygote := read_record(paths.zygote_record(self.driver.home))):
            pids = [zygote.pid]
        elif what == 1:
            pids = [record.pid for record in nursery.records(self.driver.home)]
        elif what == 2:
            agents = {record.pid for record in nursery.records(self.driver.home)}
            pids = [p.pid for p in procs.table() if p.parent in agents]
        if pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.draw.choice(sorted(pids)), signal.SIGKILL)

    async def restart_control_plane(self) -> None:
        await self.engine.close()
        self.engine = self.driver.engine()
        self.instance.clear()
        await self.engine.open()

    async def until(self, holds: Callable[[], bool], again: orders.StopGang | None = None) -> None:
        """Listen and repair until it holds and every node is up. A stop is repeated as the core does."""
        async with asyncio.timeout(_ROUND_PATIENCE_S):
            while not (holds() and len(self.instance) == 3):
                for one in await self.engine.observe():
                    self.hear(one)
                    if again and isinstance(one, inputs.NodeJoined):
                        self.engine.obey(again)

    def hear(self, one: inputs.Input) -> None:
        match one:
            case inputs.NodeJoined(node=node, instance=instance):
                self.instance[node] = instance
            case inputs.NodeFenced(node=node, instance=instance):
                self.fences += 1
                if self.instance.get(node) == instance:
                    del self.instance[node]
            case inputs.NodeSignalled(node=node, instance=instance, source="process", healthy=False):
                self.engine.obey(orders.RepairNode(node=node, instance=instance))
            case inputs.MemberGone(attempt=attempt, node=node):
                self.gone.add((attempt, node))

    def running(self, attempt: AttemptId) -> list[int]:
        mark = {f"MYRIAD_ATTEMPT={attempt}", f"MYRIAD_OUTPUT_DIR={self.driver._output}"}
        return [p.pid for p in procs.table() if mark <= set(procs.environment(p.pid))]


def _play(home: Path, seed: int, rounds: int) -> None:
    async def run() -> None:
        chaos = Chaos(home, seed)
        try:
            await chaos.run(rounds)
            assert not leftovers(home)
            assert chaos.fences  # or nothing was tested
        finally:
            await chaos.driver.dispose()

    asyncio.run(run())


def test_killing_anything_leaves_nothing_over(tmp_path: Path) -> None:
    _play(tmp_path, seed=1, rounds=8)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [2, 3, 4])
def test_killing_anything_many_times_leaves_nothing_over(tmp_path: Path, seed: int) -> None:
    _play(tmp_path, seed, rounds=40)
