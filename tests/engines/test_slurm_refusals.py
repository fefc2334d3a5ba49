"""What Slurm refuses, or keeps back, and the site has to mend: told, and held against nobody."""

import asyncio
from pathlib import Path

import pytest

from myriad.engines.slurm.gangs import gangs
from myriad.engines.slurm.nodes import burnins
from myriad.kernel.ids import NodeId
from myriad.protocol import inputs, orders
from tests.engines.test_slurm_engine import _START, ME, A, Slurm, on_a_loop, running, wait_for

_NO = "sbatch: error: Invalid account"


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Slurm:
    return Slurm(tmp_path, monkeypatch)


@on_a_loop
async def test_a_gang_that_slurm_refuses_is_told_gone_in_its_words(
    slurm: Slurm, capfd: pytest.CaptureFixture[str]
) -> None:
    slurm.answer("sbatch", "echo 'error: Invalid account' >&2; exit 1")
    async with running(slurm) as brain:
        brain.engine.obey(_START)
        await brain.until(lambda: len(brain.of(inputs.MemberGone)) == 2)
        said, *_ = brain.of(inputs.WorkerSpoke)
        assert isinstance(said, inputs.WorkerSpoke) and said.fatal and said.text == f"cannot start: {_NO}"
        assert brain.heard.index(said) < brain.heard.index(brain.of(inputs.MemberGone)[0])
        assert not brain.of(inputs.MemberExited)
    assert f"{A} cannot start: {_NO}" in capfd.readouterr().err


@on_a_loop
async def test_why_a_job_does_not_begin_is_told_after_a_while_and_when_it_changes(
    slurm: Slurm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gangs, "_PATIENCE_S", 1.0)

    def pending(why: str) -> None:
        slurm.jobs(f"7|PENDING|{ME}||N/A|{why}|{slurm.prefix}{A}")

    pending("QOSMaxJobsPerUserLimit")
    async with running(slurm) as brain:
        brain.engine.obey(_START)
        await brain.until(lambda: brain.of(inputs.WorkerSpoke))
        pending("None")  # not looked at
        await asyncio.sleep(1.5)
        pending("QOSMaxJobsPerUserLimit")
        await asyncio.sleep(1.5)
        pending("Priority")
        await brain.until(lambda: len(brain.of(inputs.WorkerSpoke)) == 2)
    texts = [one.text for one in brain.of(inputs.WorkerSpoke) if isinstance(one, inputs.WorkerSpoke)]
    assert texts == [f"waits in Slurm as job 7: {why}" for why in ("QOSMaxJobsPerUserLimit", "Priority")]


@on_a_loop
async def test_a_burn_in_that_slurm_refuses_to_us_waits_and_one_it_cannot_run_on_the_node_fails(
    slurm: Slurm, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(burnins, "_AGAIN_S", 0.1)
    slurm.answer("sbatch", "echo 'error: Invalid account' >&2; exit 1")
    async with running(slurm, "quick") as brain:
        await brain.until(lambda: brain.of(inputs.NodeJoined, "n0"))
        brain.engine.obey(orders.QualifyNode(node=NodeId("n0")))
        await wait_for(lambda: len(slurm.asked("sbatch")) > 2)
        slurm.answer("sbatch", "echo 'error: Requested node configuration is not available' >&2; exit 1")
        await brain.until(lambda: brain.of(inputs.NodeQualified))
    (found,) = brain.of(inputs.NodeQualified)
    assert isinstance(found, inputs.NodeQualified) and not found.ok
    assert "node configuration" in found.detail
    assert capfd.readouterr().err.count(f"burn-ins cannot begin: {_NO}") == 1
