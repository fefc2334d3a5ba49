"""How processes of an attempt are started, watched and ended on nodes of this machine."""

import asyncio
import json
import os
import signal
from pathlib import Path

from myriad.engines.common import layout, procs
from myriad.engines.local import paths
from myriad.protocol import inputs
from tests.contract import suite
from tests.engines.local_site import (
    ATTEMPT,
    N0,
    N1,
    exit_of,
    file_with_text,
    python,
    small_site,
    start,
    stop,
)

_SAY_ENVIRONMENT = """
import json, os
print(json.dumps({**os.environ, "cwd": os.getcwd(), "group": os.getpgid(0) == os.getpid()}))
"""


def _logged(home: Path) -> list[dict[str, str]]:
    logs = layout.logs_dir(layout.job_dir(home, "job-a"), ATTEMPT)
    return [json.loads(path.read_text()) for path in sorted(logs.glob("rank-*.log"))]


def test_each_process_is_told_its_place(tmp_path: Path) -> None:
    async def run() -> None:
        async with small_site(tmp_path) as (_, watcher):
            launch = python(_SAY_ENVIRONMENT, env={"MINE": "yes", "RANK": "9", "OMP_NUM_THREADS": "3"})
            assert (await exit_of(watcher, start(launch, nodes=(N1, N0), chips=0b11))).code == 0
            await watcher.next(inputs.MemberExited, node=N0)

    asyncio.run(run())
    told = _logged(tmp_path)
    assert [one["RANK"] for one in told] == ["0", "1", "2", "3"]
    assert [one["LOCAL_RANK"] for one in told] == ["0", "1", "0", "1"]
    assert [one["MYRIAD_NODE"] for one in told] == ["n1", "n1", "n0", "n0"]
    assert [one["MYRIAD_CHIPS"] for one in told] == ["0", "1", "0", "1"]
    assert [one["GROUP_RANK"] for one in told] == ["0", "0", "1", "1"]
    assert {(one["WORLD_SIZE"], one["LOCAL_WORLD_SIZE"], one["MASTER_ADDR"]) for one in told} == {
        ("4", "2", "127.0.0.1")
    }
    assert len({one["MASTER_PORT"] for one in told}) == 1
    assert {(one["MINE"], one["OMP_NUM_THREADS"], one["MYRIAD_JOB"]) for one in told} == {
        ("yes", "3", "job-a")
    }
    assert {one["cwd"] for one in told} == {str(tmp_path / "jobs/job-a/output")}
    assert all(one["group"] for one in told)
    assert (tmp_path / "jobs/job-a/checkpoints").is_dir()


def test_one_process_for_each_node_holds_all_its_chips(tmp_path: Path) -> None:
    async def run() -> None:
        async with small_site(tmp_path) as (_, watcher):
            launch = python(_SAY_ENVIRONMENT, per_node=True, workdir=str(tmp_path), checkpoint_every_s=7.5)
            await exit_of(watcher, start(launch, nodes=(N0, N1), chips=0b11))
            await watcher.next(inputs.MemberExited, node=N1)

    asyncio.run(run())
    told = _logged(tmp_path)
    assert [(one["RANK"], one["WORLD_SIZE"], one["MYRIAD_CHIPS"]) for one in told] == [
        ("0", "2", "0,1"),
        ("1", "2", "0,1"),
    ]
    assert {(one["cwd"], one["MYRIAD_CHECKPOINT_EVERY_S"]) for one in told} == {(str(tmp_path), "7.5")}


def test_a_program_that_is_not_there_says_so(tmp_path: Path) -> None:
    async def run() -> None:
        async with small_site(tmp_path) as (_, watcher):
            ended = await exit_of(watcher, start(suite.orders.Launch(command=("no-such-program",))))
            assert ended.code == 127
            assert "no-such-program" in ended.detail or "No such file" in ended.detail

    asyncio.run(run())


def test_a_failed_rank_takes_the_others_of_its_node_along_and_is_named(tmp_path: Path) -> None:
    code = """
import os, sys, time
if os.environ["RANK"] == "1":
    print("ValueError: bad data", file=sys.stderr)
    sys.exit(5)
time.sleep(600)
"""

    async def run() -> None:
        async with small_site(tmp_path) as (_, watcher):
            ended = await exit_of(watcher, start(python(code), chips=0b11))
            assert (ended.code, ended.detail) == (5, "rank 1: ValueError: bad data (exit code 5)")

    asyncio.run(run())


def test_a_killed_worker_is_reported_with_its_signal(tmp_path: Path) -> None:
    async def run() -> None:
        async with small_site(tmp_path) as (_, watcher):
            ended = await exit_of(watcher, start(python("import os; os.kill(os.getpid(), 9)")))
            assert (ended.code, "Killed" in ended.detail) == (-signal.SIGKILL, True)

    asyncio.run(run())


def test_grace_lets_a_process_end_itself_and_only_so_long(tmp_path: Path) -> None:
    code = """
import os, signal, sys, time
def bye(*_):
    print("saved", flush=True)
    if os.environ["MYRIAD_NODE"] == "n0":
        sys.exit(0)
signal.signal(signal.SIGTERM, bye)
print("ready", flush=True)
while True:
    time.sleep(600)
"""

    async def run() -> None:
        async with small_site(tmp_path) as (_, watcher):
            watcher.engine.obey(start(python(code), nodes=(N0, N1), chips=0b11))
            await watcher.each(inputs.MemberStarted, [N0, N1])
            logs = [layout.log_file(tmp_path / f"jobs/job-a/logs/{ATTEMPT}", rank) for rank in range(4)]
            for log in logs:
                assert await file_with_text(log) == "ready\n"
            watcher.engine.obey(stop(N0, grace_s=600))
            await watcher.next(inputs.MemberGone, node=N0)  # long before its grace is over
            assert [log.read_text() for log in logs] == ["ready\nsaved\n"] * 2 + ["ready\n"] * 2
            watcher.engine.obey(stop(N1, grace_s=0.3))
            await watcher.next(inputs.MemberGone, node=N1)  # SIGTERM does not end these
            assert not watcher.all(inputs.MemberExited)

    asyncio.run(run())


_FAMILY = """
import os, subprocess, sys, time
child = subprocess.Popen(["sleep", "600"], start_new_session=True)
other = subprocess.Popen(["sh", "-c", "sleep 600 & echo $!; wait"], stdout=subprocess.PIPE, text=True)
print(child.pid, other.pid, other.stdout.readline().strip(), flush=True)
"""


def test_stop_reaches_children_that_left_for_a_session_of_their_own(tmp_path: Path) -> None:
    async def run() -> None:
        async with small_site(tmp_path) as (_, watcher):
            watcher.engine.obey(start(python(_FAMILY + "time.sleep(600)")))
            log = layout.log_file(tmp_path / f"jobs/job-a/logs/{ATTEMPT}", 0)
            family = [int(word) for word in (await file_with_text(log)).split()]
            assert all(procs.find(pid) for pid in family)
            watcher.engine.obey(stop())
            await watcher.next(inputs.MemberGone)
            assert not any(procs.find(pid) for pid in family)

    asyncio.run(run())


def test_an_attempt_is_over_only_when_its_children_are(tmp_path: Path) -> None:
    async def run() -> None:
        async with small_site(tmp_path) as (_, watcher):
            ended = await exit_of(watcher, start(python(_FAMILY)))
            log = layout.log_file(tmp_path / f"jobs/job-a/logs/{ATTEMPT}", 0)
            assert ended.code == 0
            assert not any(procs.find(int(word)) for word in log.read_text().split())

    asyncio.run(run())


def test_a_node_that_dies_takes_its_workers_along_and_repair_the_rest(tmp_path: Path) -> None:
    async def run() -> None:
        async with small_site(tmp_path) as (driver, watcher):
            watcher.engine.obey(start(python(_FAMILY + "time.sleep(600)")))
            log = layout.log_file(tmp_path / f"jobs/job-a/logs/{ATTEMPT}", 0)
            family = [int(word) for word in (await file_with_text(log)).split()]
            worker = procs.find(family[1])
            assert worker is not None
            driver.kill_node(N0)
            signalled = await watcher.next(inputs.NodeSignalled, node=N0, healthy=False)
            await suite.eventually(lambda: procs.find(worker.parent) is None)
            watcher.engine.obey(suite.orders.RepairNode(node=N0, instance=signalled.instance))
            await watcher.next(inputs.NodeFenced, node=N0)
            assert not any(procs.find(pid) for pid in family)

    asyncio.run(run())


def test_nothing_that_a_worker_says_hurts_the_node(tmp_path: Path) -> None:
    code = r"""
import json, os, socket
channel = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
channel.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
channel.connect(os.environ["MYRIAD_REPORT"])
attempt = os.environ["MYRIAD_ATTEMPT"]
def say(**body):
    channel.send(json.dumps({"attempt": attempt, "rank": 0} | body).encode())
channel.send(b"")
channel.send(b"\xff\x00 nonsense")
channel.send(b"[" * 60000)
channel.send(b"{}" + b" " * 100000)
say(kind="progress", step=-1)
say(kind="progress", step=2**70)
say(kind="progress", step="many")
say(kind="dance", step=1)
say(kind="progress", step=1, attempt="job-b.7")
say(kind="resumed", step=0)
say(kind="progress", step=1, tokens=10, loss=float("nan"), step_s=float("inf"), flops=1e400)
for step in range(2, 502):
    say(kind="progress", step=step, tokens=10, loss=1.0, step_s=0.001, flops=2.0)
say(kind="progress", step=502, tokens=10, rank=1)
say(kind="checkpoint", step=501, path="/c", bytes=1)
say(kind="failed", text="it was me" + "!" * 5000)
raise SystemExit(4)
"""

    async def run() -> None:
        async with small_site(tmp_path) as (_, watcher):
            ended = await exit_of(watcher, start(python(code)))
            assert ended.detail.startswith("rank 0: it was me!!!") and len(ended.detail) < 2100
            steps = watcher.all(inputs.StepsReported)
            assert (sum(one.tokens for one in steps), sum(one.flops for one in steps)) == (5010, 1000.0)
            assert len(steps) < 20  # summed up
            kinds = [type(one) for one in watcher.heard if getattr(one, "attempt", "") == ATTEMPT]
            saved = kinds.index(inputs.CheckpointReported)
            assert inputs.StepsReported not in kinds[saved:]  # progress is told before what follows it
            spoken = [one.text for one in watcher.all(inputs.WorkerSpoke)]
            assert spoken[0] == "loss is nan at step 1"
            assert not watcher.all(inputs.NodeSignalled, healthy=False)
            assert "reports dropped" in paths.agent_log(tmp_path, N0).read_text()

    asyncio.run(run())


def test_every_attempt_meets_at_a_port_of_its_own(tmp_path: Path) -> None:
    async def run() -> None:
        async with small_site(tmp_path) as (_, watcher):
            ports = set()
            for number in range(1, 6):
                order = start(python(_SAY_ENVIRONMENT))
                attempt = suite.AttemptId(f"job-a.{number}")
                watcher.engine.obey(
                    suite.orders.StartGang(
                        attempt=attempt, job=order.job, members=order.members, launch=order.launch
                    )
                )
                await watcher.next(inputs.MemberExited, attempt=attempt)
                log = layout.log_file(tmp_path / f"jobs/job-a/logs/{attempt}", 0)
                ports.add(json.loads(log.read_text())["MASTER_PORT"])
            assert len(ports) == 5

    asyncio.run(run())


def test_a_recipe_is_refused_in_its_own_words(tmp_path: Path) -> None:
    async def run() -> None:
        async with small_site(tmp_path) as (_, watcher):
            launch = suite.orders.Launch(
                recipe="serve", config={"model": "/nowhere", "name": "x", "wrong": 1}
            )
            ended = await exit_of(watcher, start(launch))
            assert (ended.code, "wrong" in ended.detail) == (2, True), ended
            spoken = watcher.all(inputs.WorkerSpoke)
            assert spoken and spoken[-1].fatal and "wrong" in spoken[-1].text

    asyncio.run(run())


def test_folders_that_cannot_be_made_fail_the_attempt_and_not_the_node(tmp_path: Path) -> None:
    async def run() -> None:
        async with small_site(tmp_path) as (_, watcher):
            (tmp_path / "jobs").mkdir()
            (tmp_path / "jobs/job-a").write_text("in the way")
            ended = await exit_of(watcher, start(python("pass")))
            assert ended.code == 126 and os.strerror(20) in ended.detail
            assert not watcher.all(inputs.NodeSignalled, healthy=False)

    asyncio.run(run())
