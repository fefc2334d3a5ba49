"""Nodes have memory that dies with them; training takes up what a dead node's partner kept of it."""

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import pytest

from myriad.engines.common import layout
from myriad.engines.local import LocalEngine, paths
from myriad.fleet import site
from myriad.kernel.ids import AttemptId, JobId, NodeId
from myriad.protocol import inputs, orders
from myriad.protocol.values import Member
from tests.contract import suite
from tests.contract.local_driver import LocalDriver
from tests.engines.local_site import N0, N1, file_with_text, python, small_site, start
from tests.worker.conftest import TINY

_REMEMBER = """
import os, pathlib, time
folder = pathlib.Path(os.environ["MYRIAD_MEMORY_DIR"])
folder.mkdir()
print(folder, os.environ["MYRIAD_MEMORY_EVERY_S"], os.environ["MYRIAD_MEMORY_SHIFT"], flush=True)
time.sleep(600)
"""


def test_a_nodes_memory_dies_with_its_incarnation(tmp_path: Path) -> None:
    async def run() -> None:
        async with small_site(tmp_path) as (driver, watcher):
            launch = python(_REMEMBER, memory_every_s=2.5, memory_shift=3)
            watcher.engine.obey(start(launch, nodes=(N0, N1)))
            log = layout.logs_dir(layout.job_dir(tmp_path, "job-a"), "job-a.1")
            told = [(await file_with_text(layout.log_file(log, rank))).split() for rank in (0, 1)]
            assert [one[1:] for one in told] == [["2.5", "3"]] * 2
            lost, kept = (Path(one[0]) for one in told)
            assert lost.is_dir() and kept.is_dir() and lost != kept
            driver.kill_node(N0)
            instance = watcher.all(inputs.NodeJoined, node=N0)[-1].instance
            watcher.engine.obey(orders.RepairNode(node=N0, instance=instance))
            await watcher.next(inputs.NodeFenced, node=N0)
            assert not lost.exists() and kept.is_dir()
        root = kept.parents[2]
        assert root.name.startswith(("myriad-", "memory")) and not root.exists()

    asyncio.run(run())


def test_a_job_that_never_comes_back_leaves_its_memory(tmp_path: Path) -> None:
    async def run() -> None:
        async with small_site(tmp_path) as (_, watcher):
            order = start(python(_REMEMBER, memory_every_s=2.5), nodes=(N0, N1))
            watcher.engine.obey(order)
            logs = layout.logs_dir(layout.job_dir(tmp_path, "job-a"), "job-a.1")
            told = [(await file_with_text(layout.log_file(logs, rank))).split() for rank in (0, 1)]
            mine, other = (Path(one[0]) for one in told)
            for members, forget in ((order.members[:1], True), (order.members[1:], False)):
                stop = orders.StopGang(attempt=order.attempt, members=members, forget=forget)
                watcher.engine.obey(stop)
                await watcher.next(inputs.MemberGone, node=members[0].node)
            assert not mine.exists() and other.is_dir()

    asyncio.run(run())


SITE = site.parse(
    "{name: six, chip: local-cpu, chips_per_node: 1, pods: [{name: p, racks: 1, nodes_per_rack: 6}]}", "six"
)
#: Storage gets one when it is asked for, so that none is under way when nodes die; and the steps go on for
#: long after that, should we have no turn for a while.
CONFIG = TINY | {"steps": 150, "checkpoint_every_steps": 10_000}


#: Six nodes wait for the imports of torch, and what serves, before they join.
IMPORTS_S = 90.0


class Six(LocalDriver):
    """Six nodes of one chip, with the recipe preloaded."""

    site = SITE

    def engine(self) -> LocalEngine:
        return LocalEngine(self.home, self.site, time.time_ns, preload=True)


def gang(attempt: str, nodes: list[str], config: dict[str, Any], **launch: Any) -> orders.StartGang:
    members = tuple(Member(node=NodeId(node), chips=1) for node in nodes)
    return orders.StartGang(
        attempt=AttemptId(attempt),
        job=JobId(attempt.partition(".")[0]),
        members=members,
        launch=orders.Launch(recipe="pretrain", config=config, **launch),
    )


async def until_memory(watcher: suite.Watcher, attempt: AttemptId, step: int) -> int:
    """The first step in memory from `step` on that was told."""
    while True:
        saved = await watcher.next(inputs.CheckpointReported, attempt=attempt, tier="memory")
        if saved.step >= step:
            return int(saved.step)


async def lose(driver: Six, watcher: suite.Watcher, order: orders.StartGang, lost: list[str]) -> None:
    """Nodes die; what is left of the gang is stopped, and the dead are fenced."""
    for node in lost:
        driver.kill_node(NodeId(node))
    watcher.engine.obey(orders.StopGang(attempt=order.attempt, members=order.members))
    for node in lost:
        instance = watcher.all(inputs.NodeJoined, node=node)[-1].instance
        watcher.engine.obey(orders.RepairNode(node=NodeId(node), instance=instance))
        await watcher.next(inputs.NodeFenced, node=node)
        await watcher.next(inputs.NodeJoined, node=node)
    for member in order.members:
        if member.node not in lost:
            await watcher.next(inputs.MemberGone, attempt=order.attempt, node=member.node)


async def finished(watcher: suite.Watcher, order: orders.StartGang) -> None:
    watcher.engine.obey(order)
    for member in order.members:
        ended = await watcher.next(inputs.MemberExited, attempt=order.attempt, node=member.node)
        assert ended.code == 0, ended.detail


def end(home: Path, job: str) -> tuple[float, bytes]:
    """The last loss, and the model."""
    output = layout.job_dir(home, job) / "output"
    model = (output / "model" / "model.safetensors").read_bytes()
    return json.loads((output / "run.json").read_text())["loss"], model


@pytest.mark.timeout(300)
def test_a_lost_node_is_taken_up_from_memory_and_a_lost_pair_from_storage(tmp_path: Path) -> None:
    async def run(driver: Six) -> None:
        watcher = await suite.opened(driver, IMPORTS_S)
        first = gang("hurt.1", ["n0", "n1", "n2", "n3"], CONFIG, memory_every_s=0.001)
        watcher.engine.obey(first)
        await until_memory(watcher, first.attempt, 10)
        ask = orders.AskCheckpoint(attempt=first.attempt, members=first.members, request="keep-1")
        watcher.engine.obey(ask)
        stored = (await watcher.next(inputs.CheckpointReported, attempt=first.attempt, tier="storage")).step
        await until_memory(watcher, first.attempt, stored + 2)
        await lose(driver, watcher, first, ["n2"])
        told = max(one.step for one in saved(watcher, first, "memory"))
        assert [one.step for one in saved(watcher, first, "storage")] == [stored]
        # a spare in its place, the others as they were
        second = gang("hurt.2", ["n0", "n1", "n4", "n3"], CONFIG, memory_every_s=0.001)
        watcher.engine.obey(second)
        resumed = (await watcher.next(inputs.TrainingResumed, attempt=second.attempt)).step
        assert resumed >= told > stored
        await until_memory(watcher, second.attempt, resumed + 2)
        await lose(driver, watcher, second, ["n1", "n4"])
        third = gang("hurt.3", ["n0", "n2", "n5", "n3"], CONFIG, memory_every_s=0.001)
        await finished(watcher, third)
        assert (await watcher.next(inputs.TrainingResumed, attempt=third.attempt)).step == stored
        await finished(watcher, gang("whole.1", ["n0", "n1", "n2", "n3"], CONFIG))
        assert end(tmp_path, "hurt") == end(tmp_path, "whole")
        left = list(paths.memory_root(tmp_path).glob("*/*/*"))
        assert left == [], "whoever ends frees its memory"
        await watcher.engine.close()

    driver = Six(tmp_path)

    async def guarded() -> None:
        try:
            await run(driver)
        finally:
            await driver.dispose()

    asyncio.run(guarded())


def saved(watcher: suite.Watcher, order: orders.StartGang, tier: str) -> list[inputs.CheckpointReported]:
    return watcher.all(inputs.CheckpointReported, attempt=order.attempt, tier=tier)
