"""What the Slurm engine does about nodes when Slurm, or its word, comes late."""

import asyncio
import socket
import time
from pathlib import Path

import pytest

from myriad.kernel.ids import NodeId
from myriad.protocol import inputs, orders
from tests.engines.test_slurm_engine import ME, Brain, Slurm, live, on_a_loop, running, wait_for

N0 = NodeId("n0")
_ANSWER = '{"ok": true, "gemm_flops": 5.0}'


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Slurm:
    return Slurm(tmp_path, monkeypatch)


def hold(brain: Brain, held: bool, reason: str = "") -> None:
    brain.engine.obey(orders.HoldNode(node=N0, held=held, reason=reason))


@on_a_loop
async def test_what_is_given_back_while_slurm_is_silent_is_given_back_when_it_answers(slurm: Slurm) -> None:
    slurm.nodes(n0="IDLE+DRAIN bad disk [root@2026-11-28T10:00:00]")
    async with running(slurm) as brain:
        await brain.until(lambda: brain.of(inputs.DrainNode, "n0"))
        hold(brain, True, "slurm: root: bad disk")
        slurm.silent(True)
        hold(brain, False)
        await wait_for(lambda: slurm.asked("state=undrain"))
        missed = len(slurm.asked("state=undrain"))
        await asyncio.sleep(1.0)
        slurm.silent(False)
        await wait_for(lambda: len(slurm.asked("state=undrain")) > missed)
        slurm.nodes()
        hold(brain, True, "new firmware")
        await wait_for(lambda: slurm.asked("state=drain reason=myriad: new firmware"))
        assert not brain.of(inputs.UndrainNode)


@on_a_loop
async def test_a_drain_just_after_a_node_was_given_back_is_not_taken_for_the_one_before(
    slurm: Slurm,
) -> None:
    drained = "IDLE+DRAIN myriad: new firmware [root@2026-11-28T10:00:00]"
    async with running(slurm) as brain:
        await brain.until(lambda: brain.of(inputs.NodeJoined, "n0"))
        hold(brain, True, "new firmware")
        await wait_for(lambda: slurm.asked("state=drain"))
        slurm.nodes(n0=drained)
        await asyncio.sleep(1.5)  # seen
        hold(brain, False)
        hold(brain, True, "once more")
        await wait_for(lambda: slurm.asked("state=undrain"))
        slurm.nodes()
        await wait_for(lambda: slurm.asked("state=drain reason=myriad: once more"))
        assert not brain.of(inputs.UndrainNode)


@on_a_loop
async def test_a_node_whose_slurmd_did_not_answer_is_back_when_it_does_whatever_slurmctld_says(
    slurm: Slurm,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        slurm.port = taken.getsockname()[1]
    slurm.nodes()
    slurm.planned(claim="7")
    slurm.runs()
    async with running(slurm) as brain:
        living = asyncio.create_task(live(slurm))
        await brain.until(lambda: len(brain.of(inputs.NodeJoined)) == 2)
        living.cancel()
        await brain.until(lambda: ("process", False) in said(brain))
        brain.engine.obey(orders.RepairNode(node=N0, instance="n0.0"))
        await brain.until(lambda: brain.of(inputs.NodeFenced, "n0"))
        before = len(slurm.asked("show nodes"))
        await wait_for(lambda: len(slurm.asked("show nodes")) > before + 3)
        assert not slurm.asked("state=resume"), "there is nobody to resume"
        back = time.time_ns()
        with socket.create_server(("127.0.0.1", slurm.port)):
            await brain.until(lambda: len(brain.of(inputs.NodeJoined, "n0")) == 2)
        assert brain.of(inputs.NodeJoined, "n0")[1].at >= back


def said(brain: Brain) -> list[tuple[str, bool]]:
    told = [one for one in brain.heard if isinstance(one, inputs.NodeSignalled) and one.node == "n0"]
    return [(one.source, one.healthy) for one in told]


@on_a_loop
async def test_a_burn_in_that_slurmctld_forgot_is_begun_anew_and_an_old_answer_is_none(slurm: Slurm) -> None:
    output = slurm.files.burn_in("n0")
    slurm.files.prepare()
    output.write_text('{"ok": true, "gemm_flops": 1.0, "detail": "of another time"}')
    async with running(slurm, "quick") as brain:
        await brain.until(lambda: brain.of(inputs.NodeJoined, "n0"))
        brain.engine.obey(orders.QualifyNode(node=N0))
        await wait_for(lambda: slurm.asked("sbatch"))  # and no list of jobs ever shows it
        await wait_for(lambda: len(slurm.asked("sbatch")) > 1)
        assert not brain.of(inputs.NodeQualified)
        name = slurm.asked("sbatch")[0].partition("--job-name=")[2].split()[0]
        slurm.jobs(f"7|RUNNING|{ME}|n0|N/A|None|{name}")
        before = len(slurm.asked("show nodes"))
        await wait_for(lambda: len(slurm.asked("show nodes")) > before + 1)
        output.write_text(f"{_ANSWER}\n")
        slurm.jobs()
        await brain.until(lambda: brain.of(inputs.NodeQualified, "n0"))
        (found,) = brain.of(inputs.NodeQualified, "n0")
        assert isinstance(found, inputs.NodeQualified) and found.ok and found.gemm_flops == 5.0


@on_a_loop
async def test_while_we_stand_still_with_the_rest_of_the_machine_nobody_is_silent(slurm: Slurm) -> None:
    slurm.planned(claim="7")
    slurm.runs()
    async with running(slurm) as brain:
        living = asyncio.create_task(live(slurm))
        await brain.until_it_runs()
        living.cancel()
        await asyncio.sleep(0)
        time.sleep(1.8)  # longer than the patience, shorter than the lease
        await asyncio.sleep(0.4)  # members are later than we are
        living = asyncio.create_task(live(slurm))
        slurm.say("n0", "StepsReported", ', "step": 1, "tokens": 1')
        await brain.until(lambda: brain.of(inputs.StepsReported))
        assert ("heartbeat", False) not in said(brain)
        living.cancel()
