"""The Slurm engine over programs that only pretend: what real daemons cannot be brought to at will.

`tests/slurm` and the contract suite run it over real ones.
"""

import asyncio
import contextlib
import functools
import os
import pwd
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from myriad.engines.slurm import spool
from myriad.engines.slurm.config import Config
from myriad.engines.slurm.engine import SlurmEngine
from myriad.engines.slurm.gangs import strays
from myriad.fleet import site
from myriad.kernel.errors import UserError
from myriad.kernel.ids import AttemptId, JobId, NodeId, TenantId
from myriad.protocol import inputs, orders

_SITE = site.parse(
    "name: t\nchip: local-cpu\nchips_per_node: 2\npods: [{name: p, hosts: {r: 'n[0-1]'}}]\n", "test site"
)
_NODE = (
    "NodeName={name} Arch=x86_64 CPUAlloc=0 CPUTot=4 NodeAddr=127.0.0.1 NodeHostName={name} Port={port} "
    "State={state} BootTime=2026-11-{day}T00:00:00 {reason}"
)
#: Answers with files of its folder, and writes down what it was asked.
_PROGRAM = """#!/bin/sh
here=$(dirname "$0"); name=$(basename "$0")
echo "$name $*" >>"$here/asked"
[ -e "$here/silent" ] && { echo "Unable to contact slurm controller" >&2; exit 1; }
[ "$name $1 $2" = "scontrol --oneliner show" ] && [ "$3" = job ] && { echo "Invalid job id" >&2; exit 1; }
[ -e "$here/$name.sh" ] && . "$here/$name.sh"
cat "$here/$name" 2>/dev/null
exit 0
"""
A = AttemptId("job-a.1")
ME = pwd.getpwuid(os.geteuid()).pw_name
_MEMBERS = (orders.Member(node=NodeId("n0"), chips=3), orders.Member(node=NodeId("n1"), chips=3))
_START = orders.StartGang(
    attempt=A,
    job=JobId("job-a"),
    tenant=TenantId("acme"),
    members=_MEMBERS,
    launch=orders.Launch(command=("true",)),
)
_STOP = orders.StopGang(attempt=A, members=_MEMBERS, grace_s=0.0)


def on_a_loop(test: Callable[..., Coroutine[None, None, None]]) -> Callable[..., None]:
    @functools.wraps(test)
    def run(**fixtures: object) -> None:
        asyncio.run(test(**fixtures))

    return run


class Slurm:
    """Programs of a cluster of two nodes."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.folder, self.data = folder / "bin", folder / "data"
        #: Where the slurmd of its nodes would be.
        self.port = 1
        self.files = spool.Spool(self.data)
        self.folder.mkdir()
        for name in ("scontrol", "squeue", "sbatch", "scancel"):
            program = self.folder / f"{name}"
            (self.folder / name).write_text(_PROGRAM)
            program.chmod(0o755)
        patch.setenv("PATH", f"{self.folder}:/usr/bin:/bin")
        self.nodes()
        self.jobs()
        self.answer("sbatch", "echo 7")

    @property
    def prefix(self) -> str:
        """How the names of jobs begin."""
        return SlurmEngine(self.data, _SITE, time.time_ns)._prefix

    def answer(self, program: str, script: str) -> None:
        # as a whole: the engine asks at any moment
        spool.replace(self.folder / f"{program}.sh", f"{script}\nexit 0\n")

    def nodes(self, *, day: str = "01", **states: str) -> None:
        states = {"n0": "IDLE", "n1": "IDLE"} | states
        lines = []
        for name, state in states.items():
            word, _, reason = state.partition(" ")
            if word:
                lines.append(
                    _NODE.format(
                        name=name, port=self.port, state=word, day=day, reason=reason and f"Reason={reason}"
                    )
                )
        spool.replace(self.folder / "nodes.txt", "".join(f"{line}\n" for line in lines))
        self.answer("scontrol", '[ "$2" = show ] && cat "$here/nodes.txt"')

    def jobs(self, *lines: str) -> None:
        spool.replace(self.folder / "jobs.txt", "".join(f"{line}\n" for line in lines))
        self.answer(
            "squeue", 'for word; do mark="${word#--format=}"; done; sed "s/^/${mark%%|*}|/" "$here/jobs.txt"'
        )

    def silent(self, on: bool) -> None:
        (self.folder / "silent").touch() if on else (self.folder / "silent").unlink()

    def asked(self, words: str) -> list[str]:
        path = self.folder / "asked"
        return [line for line in path.read_text().splitlines() if words in line] if path.exists() else []

    def planned(self, *, claim: str = "") -> None:
        """What a predecessor left in the shared folder."""
        self.files.prepare()
        self.files.of(A).mkdir(parents=True)
        members = [
            {"node": m.node, "chips": [0, 1], "instance": f"{m.node}.0", "address": ""} for m in _MEMBERS
        ]
        spool.write_json(self.files.plan(A), {"attempt": A, "members": members, "owner": "", "tenant": ""})
        if claim:
            spool.replace(self.files.claim_file(A), claim)

    def runs(self) -> None:
        """It is job 7 on both nodes, and its members say so."""
        self.jobs(f"7|RUNNING|{ME}|n[0-1]|N/A|None|{self.prefix}{A}")
        for node in ("n0", "n1"):
            self.say(node, "MemberStarted")

    def say(self, node: str, kind: str, more: str = "") -> None:
        with self.files.log(A, node).open("a") as log:
            log.write(f'{{"type": "{kind}", "at": 1, "attempt": "{A}", "node": "{node}"{more}}}\n')


class Brain:
    """Hears what the engine tells, batch by batch."""

    def __init__(self, engine: SlurmEngine) -> None:
        self.engine = engine
        self.heard: list[inputs.Input] = []

    async def until(self, holds: Callable[[], object]) -> None:
        async with asyncio.timeout(15):
            while not holds():
                self.heard += await self.engine.observe()

    async def until_it_runs(self) -> None:
        """Both nodes joined, and both members began."""
        await self.until(
            lambda: len(self.of(inputs.MemberStarted)) == 2 and len(self.of(inputs.NodeJoined)) == 2
        )

    def of(self, kind: type[inputs.Input], node: str = "") -> list[inputs.Input]:
        found = [one for one in self.heard if isinstance(one, kind)]
        return [one for one in found if not node or getattr(one, "node", "") == node]


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Slurm:
    return Slurm(tmp_path, monkeypatch)


@asynccontextmanager
async def running(slurm: Slurm, burn_in: str = "none") -> AsyncIterator[Brain]:
    config = Config(lease="2s", look_every="1s", burn_in=burn_in)  # type: ignore[arg-type]
    engine = SlurmEngine(slurm.data, _SITE, time.time_ns, config)
    await engine.open()
    try:
        yield Brain(engine)
    finally:
        await engine.close()


async def live(slurm: Slurm) -> None:
    """Members give signs of life."""
    while True:
        for node in ("n0", "n1"):
            with contextlib.suppress(FileNotFoundError):
                os.utime(slurm.files.log(A, node))
        await asyncio.sleep(0.1)


async def wait_for(holds: Callable[[], object]) -> None:
    async with asyncio.timeout(15):
        while not holds():
            await asyncio.sleep(0.02)


@on_a_loop
async def test_the_last_words_of_a_gang_stay_in_the_shared_folder_until_they_are_on_record(
    slurm: Slurm,
) -> None:
    slurm.planned(claim="7")
    slurm.jobs(f"7|RUNNING|{ME}|n[0-1]|N/A|None|x")
    slurm.say("n0", "MemberStarted")
    slurm.say("n1", "MemberStarted")
    async with running(slurm) as brain:
        await brain.until(
            lambda: len(brain.of(inputs.MemberStarted, "n0") + brain.of(inputs.MemberStarted, "n1")) == 2
        )
        for node in ("n0", "n1"):  # while the brain writes down what it was given
            slurm.say(node, "MemberExited", ', "code": 0')
        await asyncio.sleep(1.5)
        await brain.until(lambda: brain.of(inputs.MemberExited, "n1"))
        await asyncio.sleep(0.5)
        assert slurm.files.plan(A).exists()  # a crash now would take what was not written down yet
        listening = asyncio.create_task(brain.engine.observe())
        await wait_for(lambda: not slurm.files.of(A).exists())
        assert slurm.files.claim(A) == "7"
        listening.cancel()


@on_a_loop
async def test_an_attempt_that_nobody_may_start_is_told_gone_whoever_forbade_it(slurm: Slurm) -> None:
    slurm.planned(claim=spool.STOPPED)
    async with running(slurm) as brain:
        await brain.until(lambda: brain.of(inputs.MemberGone, "n0") and brain.of(inputs.MemberGone, "n1"))
        await brain.until(lambda: brain.of(inputs.NodeJoined))
        listening = asyncio.create_task(brain.engine.observe())
        await wait_for(lambda: not slurm.files.of(A).exists())
        listening.cancel()
    assert not slurm.asked("sbatch")


@on_a_loop
async def test_what_was_ordered_and_taken_back_while_slurm_was_silent_never_reaches_it(slurm: Slurm) -> None:
    slurm.silent(True)
    async with running(slurm) as brain:
        brain.engine.obey(_START)
        await asyncio.sleep(0.2)
        brain.engine.obey(_STOP)
        await brain.until(lambda: brain.of(inputs.MemberGone, "n0") and brain.of(inputs.MemberGone, "n1"))
        assert not brain.of(inputs.NodeJoined)
        slurm.silent(False)
        await brain.until(lambda: brain.of(inputs.NodeJoined, "n1"))
        await asyncio.sleep(0.5)
        assert not slurm.asked("sbatch") and not slurm.files.plan(A).exists()
        assert slurm.files.claim(A) == spool.STOPPED


@on_a_loop
async def test_a_no_of_slurm_after_a_submission_that_was_taken_ends_nothing(slurm: Slurm) -> None:
    claim = slurm.files.claim_file(A)
    slurm.answer("sbatch", f"echo 7 >{claim}; echo over the limit >&2; exit 1")
    slurm.jobs(f"7|RUNNING|{ME}|n[0-1]|N/A|None|x")
    async with running(slurm) as brain:
        brain.engine.obey(_START)
        await wait_for(lambda: slurm.asked("sbatch") and slurm.files.claim(A))
        slurm.say("n0", "MemberStarted")
        slurm.say("n1", "MemberStarted")
        await brain.until(
            lambda: brain.of(inputs.MemberStarted, "n0") and brain.of(inputs.MemberStarted, "n1")
        )
        assert not brain.of(inputs.MemberExited)


@on_a_loop
async def test_a_successor_reads_on_where_the_record_ends_and_hears_every_last_word(slurm: Slurm) -> None:
    slurm.planned(claim="7")
    slurm.runs()
    step, steps = 0, ', "step": {}, "tokens": 1'
    async with running(slurm) as brain:
        await brain.until(
            lambda: brain.of(inputs.MemberStarted, "n0") and brain.of(inputs.MemberStarted, "n1")
        )
        slurm.say("n1", "MemberExited", ', "code": 0')
        for step in range(1, 1001):
            slurm.say("n0", "StepsReported", steps.format(step))
        await brain.until(lambda: len(brain.of(inputs.StepsReported)) == 1000)
        listening = asyncio.create_task(brain.engine.observe())
        await wait_for(slurm.files.heard(A).exists)
        listening.cancel()
    slurm.say("n0", "StepsReported", steps.format(1001))
    slurm.say("n0", "MemberExited", ', "code": 0')
    async with running(slurm) as brain:
        await brain.until(lambda: brain.of(inputs.MemberExited, "n0") and brain.of(inputs.MemberExited, "n1"))
        assert len(brain.of(inputs.StepsReported)) < 500


@on_a_loop
async def test_while_we_cannot_see_the_shared_folder_nobody_is_silent(
    slurm: Slurm, capfd: pytest.CaptureFixture[str]
) -> None:
    slurm.planned(claim="7")
    slurm.runs()
    async with running(slurm) as brain:
        living = asyncio.create_task(live(slurm))
        await brain.until_it_runs()
        away = slurm.files.root.rename(slurm.data / "away")
        await asyncio.sleep(2.5)
        away.rename(slurm.files.root)
        await asyncio.sleep(1.0)
        slurm.say("n0", "StepsReported", ', "step": 1, "tokens": 1')
        await brain.until(lambda: brain.of(inputs.StepsReported))
        told = [one for one in brain.heard if isinstance(one, inputs.NodeSignalled)]
        assert not [one for one in told if one.source == "heartbeat" and not one.healthy]
        living.cancel()
    said = capfd.readouterr().err
    assert "the shared folder cannot be used: [Errno 2]" in said and "no longer: the shared" in said


@on_a_loop
async def test_a_job_of_somebody_else_that_is_called_as_ours_is_not_ours(slurm: Slurm) -> None:
    slurm.jobs(f"9|RUNNING|mallory|n1|N/A|None|{slurm.prefix}{A}")
    async with running(slurm) as brain:
        brain.engine.obey(_START)
        await wait_for(lambda: slurm.asked("sbatch"))
        await brain.until(lambda: any(one.by for one in brain.of(inputs.NodeOccupied, "n1")))
        brain.engine.obey(_STOP)
        await brain.until(lambda: brain.of(inputs.MemberGone, "n1"))
        await wait_for(lambda: slurm.asked("scancel"))
        assert all(line.endswith(" 7") for line in slurm.asked("scancel"))


@on_a_loop
async def test_of_two_jobs_of_an_attempt_the_one_that_was_first_counts_and_the_other_goes(
    slurm: Slurm,
) -> None:
    async with running(slurm) as brain:
        brain.engine.obey(_START)
        await wait_for(lambda: slurm.asked("sbatch"))
        name = f"{slurm.prefix}{A}"
        spool.replace(slurm.files.claim_file(A), "5")
        slurm.jobs(f"7|PENDING|{ME}||N/A|Resources|{name}", f"5|RUNNING|{ME}|n[0-1]|N/A|None|{name}")
        await wait_for(lambda: slurm.asked("scancel"))
        slurm.jobs(f"5|RUNNING|{ME}|n[0-1]|N/A|None|{name}")
        for node in ("n0", "n1"):
            slurm.say(node, "MemberStarted")
        brain.engine.obey(_STOP)
        await wait_for(lambda: any(line.endswith(" 5") for line in slurm.asked("scancel")))
        assert any(line.endswith(" 7") for line in slurm.asked("scancel"))
        assert not brain.of(inputs.MemberGone)


@on_a_loop
async def test_a_job_that_nobody_knows_is_cancelled_after_a_while(
    slurm: Slurm, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its plan is gone: it was over, as far as anybody knows."""
    monkeypatch.setattr(strays, "_ENDS_S", 0.5)
    slurm.files.prepare()
    spool.replace(slurm.files.claim_file("job-x.1"), "8")
    slurm.jobs(f"8|RUNNING|{ME}|n0|N/A|None|{slurm.prefix}job-x.1")
    async with running(slurm):
        await wait_for(lambda: slurm.asked("scancel"))
        assert slurm.asked("scancel")[0].endswith(" 8")


@on_a_loop
async def test_a_gang_keeps_the_lease_it_was_planned_with(slurm: Slurm) -> None:
    """Its guards know of no other, however short it is by now."""
    slurm.planned(claim="7")
    tree = spool.read_json(slurm.files.plan(A)) or {}
    spool.write_json(slurm.files.plan(A), tree | {"lease_s": 600.0})
    slurm.runs()
    async with running(slurm) as brain:
        await brain.until_it_runs()
        brain.engine.obey(orders.RepairNode(node=NodeId("n0"), instance="n0.0"))
        await asyncio.sleep(4.0)  # 1.25 of the lease of now, and more
        slurm.say("n1", "MemberGone")
        await brain.until(lambda: brain.of(inputs.MemberGone, "n1"))
        assert not brain.of(inputs.MemberGone, "n0") and not brain.of(inputs.NodeFenced)
        told = [one for one in brain.heard if isinstance(one, inputs.NodeSignalled)]
        assert all(one.healthy for one in told)
        slurm.say("n0", "MemberGone")
        await brain.until(lambda: brain.of(inputs.NodeFenced, "n0"))


@on_a_loop
async def test_a_node_has_rebooted_when_slurm_says_so_and_its_members_are_silent(slurm: Slurm) -> None:
    slurm.planned(claim="7")
    slurm.runs()
    async with running(slurm) as brain:
        living = asyncio.create_task(live(slurm))
        await brain.until_it_runs()
        slurm.nodes(day="03")  # a clock was set
        await asyncio.sleep(2.5)
        slurm.say("n0", "StepsReported", ', "step": 1, "tokens": 1')
        await brain.until(lambda: brain.of(inputs.StepsReported))
        assert not slurm.asked("being repaired")
        living.cancel()
        await brain.until(lambda: brain.of(inputs.NodeFenced, "n0"))


@on_a_loop
async def test_how_a_job_ended_is_asked_until_slurm_says_it_and_a_stop_need_not_wait_for_that(
    slurm: Slurm,
) -> None:
    slurm.planned(claim="7")
    slurm.runs()
    async with running(slurm) as brain:
        await brain.until(lambda: brain.of(inputs.MemberStarted, "n0") and brain.of(inputs.NodeJoined, "n0"))
        slurm.jobs()
        (slurm.folder / "scontrol").write_text('#!/bin/sh\necho "Socket timed out" >&2; exit 1\n')
        for node in ("n0", "n1"):
            slurm.say(node, "EndedBySlurm")
        await asyncio.sleep(1.0)
        brain.engine.obey(_STOP)
        await brain.until(lambda: brain.of(inputs.MemberGone, "n0") and brain.of(inputs.MemberGone, "n1"))
        assert not brain.of(inputs.MemberExited)


@on_a_loop
async def test_a_mistake_of_ours_ends_the_engine_and_is_not_passed_over(
    slurm: Slurm, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(spool, "read_json", broken)
    async with running(slurm) as brain:
        brain.engine.obey(_START)
        with pytest.raises(ZeroDivisionError):
            await brain.until(lambda: False)


@on_a_loop
async def test_a_node_that_people_drained_before_joins_and_is_not_lost_for_it(slurm: Slurm) -> None:
    slurm.nodes(n0="IDLE+DRAIN bad disk [root@2026-11-28T10:00:00]")
    async with running(slurm, "quick") as brain:
        await brain.until(lambda: brain.of(inputs.NodeJoined, "n0"))
        await brain.until(lambda: brain.of(inputs.DrainNode, "n0"))
        brain.engine.obey(orders.QualifyNode(node=NodeId("n0")))
        await brain.until(lambda: brain.of(inputs.NodeQualified, "n0"))
        (found,) = brain.of(inputs.NodeQualified, "n0")
        assert isinstance(found, inputs.NodeQualified)
        assert found.ok and "kept out of service (bad disk)" in found.detail
    assert not slurm.asked("sbatch")


@on_a_loop
async def test_a_burn_in_that_others_keep_from_starting_is_given_up_and_blames_nobody(slurm: Slurm) -> None:
    slurm.answer("sbatch", "echo 7")
    async with running(slurm, "quick") as brain:
        await brain.until(lambda: brain.of(inputs.NodeJoined, "n0"))
        brain.engine.obey(orders.QualifyNode(node=NodeId("n0")))
        await wait_for(lambda: slurm.asked("sbatch"))
        name = slurm.asked("sbatch")[0].partition("--job-name=")[2].split()[0]
        slurm.jobs(f"7|PENDING|{ME}||N/A|Resources|{name}", "9|RUNNING|bob|n0|N/A|None|theirs")
        await brain.until(lambda: brain.of(inputs.NodeQualified, "n0"))
        (found,) = brain.of(inputs.NodeQualified, "n0")
        assert isinstance(found, inputs.NodeQualified)
        assert found.ok and "job 9 of bob uses it" in found.detail
    assert slurm.asked("scancel 7")


@on_a_loop
async def test_a_node_that_slurm_does_not_know_is_said_and_one_that_leaves_is_lost(
    slurm: Slurm, capfd: pytest.CaptureFixture[str]
) -> None:
    slurm.nodes(n1="")
    async with running(slurm) as brain:
        await brain.until(lambda: brain.of(inputs.NodeJoined, "n0"))
        assert not brain.of(inputs.NodeJoined, "n1")
        slurm.nodes(n0="")
        await brain.until(
            lambda: [one.healthy for one in brain.of(inputs.NodeSignalled, "n0")][-2:] == [False] * 2
        )
        await brain.until(lambda: brain.of(inputs.NodeJoined, "n1"))
    assert "Slurm does not know these nodes of the site file: n1" in capfd.readouterr().err


@on_a_loop
async def test_a_shared_folder_that_cannot_be_used_is_said_with_its_remedy(slurm: Slurm) -> None:
    slurm.data.parent.mkdir(exist_ok=True)
    slurm.data.write_text("a file")
    with pytest.raises(UserError, match="--data"):
        async with running(slurm):
            pass
