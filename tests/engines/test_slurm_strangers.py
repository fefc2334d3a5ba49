"""Gangs of which journal and shared folder say different things, over programs that pretend to be Slurm."""

from pathlib import Path

import msgspec
import pytest

from myriad.engines.slurm import spool
from myriad.protocol import inputs, orders
from tests.engines.test_slurm_engine import _MEMBERS, _START, ME, A, Slurm, on_a_loop, running, wait_for


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Slurm:
    return Slurm(tmp_path, monkeypatch)


@on_a_loop
async def test_what_is_on_record_and_left_nothing_is_gone_once_slurm_has_nothing_of_it(slurm: Slurm) -> None:
    slurm.jobs(f"7|RUNNING|{ME}|n[0-1]|N/A|None|{slurm.prefix}{A}")
    async with running(slurm) as brain:
        known = orders.Standing(attempt=A, members=_MEMBERS, placed_at=1, begun=True)
        brain.engine.obey(orders.KeepGangs(gangs=(known,)))
        await brain.until(lambda: brain.of(inputs.NodeJoined, "n1"))
        await wait_for(lambda: slurm.asked("scancel"))
        assert slurm.files.claim(A) == spool.STOPPED and not brain.of(inputs.MemberGone)
        slurm.jobs()
        await brain.until(lambda: brain.of(inputs.MemberGone, "n0") and brain.of(inputs.MemberGone, "n1"))


@on_a_loop
async def test_what_is_not_on_record_ends_without_a_word_and_its_namesake_waits_for_that(
    slurm: Slurm,
) -> None:
    slurm.planned(claim="7")
    slurm.runs()
    async with running(slurm) as brain:
        brain.engine.obey(orders.KeepGangs(gangs=()))
        brain.engine.obey(msgspec.structs.replace(_START, placed_at=9))
        await wait_for(slurm.files.stop_files(A, "n0")[0].exists)
        await brain.until(lambda: len(brain.of(inputs.NodeJoined)) == 2)
        slurm.say("n0", "MemberGone")
        await wait_for(lambda: any(line.endswith(" 7") for line in slurm.asked("scancel")))
        assert not brain.of(inputs.MemberGone), "n1 has not said that nothing is left"
        slurm.jobs()
        slurm.say("n1", "MemberGone")
        await brain.until(lambda: brain.of(inputs.MemberGone, "n0") and brain.of(inputs.MemberGone, "n1"))
        assert not brain.of(inputs.MemberStarted) and not slurm.asked("sbatch")
        assert not slurm.files.plan(A).exists() and slurm.files.claim(A) == "7"


@on_a_loop
async def test_what_was_over_and_only_had_not_gone_yet_goes_and_nobody_is_told(
    slurm: Slurm, capsys: pytest.CaptureFixture[str]
) -> None:
    slurm.planned(claim="7")
    for node in ("n0", "n1"):
        slurm.say(node, "MemberStarted")
        slurm.say(node, "MemberExited", ', "code": 0')
    async with running(slurm) as brain:
        brain.engine.obey(orders.KeepGangs(gangs=()))
        await wait_for(lambda: not slurm.files.of(A).exists())
        await brain.until(lambda: len(brain.of(inputs.NodeJoined)) == 2)
        assert not brain.of(inputs.MemberExited)
    assert "not on record" not in capsys.readouterr().err
