"""What the Slurm engine says when it is opened over a cluster that others have used and left."""

import asyncio
import os
import time
from pathlib import Path

import pytest

from myriad.kernel.ids import NodeId
from myriad.protocol import inputs, orders
from tests.engines.test_slurm_engine import A, Brain, Slurm, live, on_a_loop, running


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Slurm:
    return Slurm(tmp_path, monkeypatch)


def words(brain: Brain, node: str) -> list[tuple[str, bool]]:
    """What was said of the node, in order."""
    told = brain.of(inputs.NodeSignalled, node)
    return [(one.source, one.healthy) for one in told if isinstance(one, inputs.NodeSignalled)]


def ran(slurm: Slurm, age_s: float) -> float:
    """Job 7 runs on both nodes; when its members last gave a sign of life, seconds since the epoch."""
    slurm.planned(claim="7")
    slurm.runs()
    at = time.time() - age_s
    for node in ("n0", "n1"):
        os.utime(slurm.files.log(A, node), (at, at))
    return at


@on_a_loop
async def test_of_every_node_it_is_said_how_it_is(slurm: Slurm) -> None:
    slurm.nodes(n1="DOWN* Not responding")
    async with running(slurm) as brain:
        await brain.until(lambda: len(words(brain, "n0")) == 3 and len(words(brain, "n1")) == 3)
        assert sorted(words(brain, "n0")) == [("channel", True), ("heartbeat", True), ("process", True)]
        assert sorted(words(brain, "n1")) == [("channel", False), ("heartbeat", True), ("process", False)]
        assert not brain.of(inputs.NodeJoined, "n1")
        assert all(getattr(one, "instance", "") == "n1.0" for one in brain.of(inputs.NodeSignalled, "n1"))


@on_a_loop
async def test_members_whose_files_are_old_are_not_alive_for_it(slurm: Slurm) -> None:
    """Nor have they been silent only since somebody looked."""
    last = ran(slurm, age_s=3600.0)
    async with running(slurm) as brain:
        await brain.until(lambda: ("heartbeat", False) in words(brain, "n0"))
        assert ("heartbeat", True) not in words(brain, "n0")
        (told,) = [one for one in brain.of(inputs.NodeSignalled, "n0") if one.source == "heartbeat"]  # type: ignore[attr-defined]
        assert isinstance(told, inputs.NodeSignalled)
        assert abs(told.since / 1e9 - last) < 1.0


@on_a_loop
async def test_members_on_a_node_that_slurm_does_not_hear_are_alive(slurm: Slurm) -> None:
    ran(slurm, age_s=10.0)
    slurm.nodes(n0="IDLE*")
    async with running(slurm) as brain:
        living = asyncio.create_task(live(slurm))
        await brain.until(lambda: ("heartbeat", True) in words(brain, "n0"))
        await brain.until(lambda: ("channel", False) in words(brain, "n0"))
        living.cancel()
        assert not brain.of(inputs.NodeJoined, "n0")


@on_a_loop
async def test_what_is_well_is_said_before_what_is_not(slurm: Slurm) -> None:
    slurm.nodes(n0="IDLE*")
    async with running(slurm) as brain:
        await brain.until(lambda: ("channel", False) in words(brain, "n0"))
        by_slurm = [word for word in words(brain, "n0") if word[0] != "heartbeat"]
        assert by_slurm == [("process", True), ("channel", False)]


@on_a_loop
async def test_incarnations_before_this_one_are_fenced_whoever_did_it(slurm: Slurm) -> None:
    slurm.files.prepare()
    slurm.files.set_life("n0", 2, 0)
    slurm.nodes(n0="DOWN* Not responding")
    async with running(slurm) as brain:
        await brain.until(lambda: brain.of(inputs.NodeFenced, "n0"))
        assert [getattr(one, "instance", "") for one in brain.of(inputs.NodeFenced)] == ["n0.1"]


@on_a_loop
async def test_a_repair_that_a_predecessor_began_is_brought_to_its_end(slurm: Slurm) -> None:
    slurm.files.prepare()
    slurm.files.set_life("n0", 1, 0)
    slurm.nodes(n0="DOWN Not responding")
    async with running(slurm) as brain:
        brain.engine.obey(orders.RepairNode(node=NodeId("n0"), instance="n0.0"))
        await brain.until(lambda: brain.of(inputs.NodeFenced, "n0"))

        async def resumed() -> None:
            while not slurm.asked("state=resume"):
                await asyncio.sleep(0.05)

        await asyncio.wait_for(resumed(), 15)
        slurm.nodes()
        await brain.until(lambda: brain.of(inputs.NodeJoined, "n0"))
        (joined,) = brain.of(inputs.NodeJoined, "n0")
        assert isinstance(joined, inputs.NodeJoined) and joined.instance == "n0.1"
