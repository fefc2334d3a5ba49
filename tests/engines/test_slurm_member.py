"""The member on a node, without Slurm around it: it starts, hears, stops, and leaves nothing behind."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from myriad.engines.common import layout, procs
from myriad.engines.slurm.spool import Spool, write_json
from myriad.protocol.orders import Launch

ATTEMPT, NODE = "job-a.1", "n0"
#: Says its pid, and that of a grandchild in a session of its own, then waits to be ended.
_FAMILY = """
import os, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(600)"], start_new_session=True)
print(os.getpid(), child.pid, flush=True)
time.sleep(600)
"""


class Node:
    """One node of a shared folder."""

    def __init__(self, data: Path) -> None:
        self.data, self.files = data, Spool(data)
        self.files.prepare()
        self.owner = layout.job_dir(data, "job-a")
        self.logs = layout.logs_dir(self.owner, ATTEMPT)
        self.started: list[subprocess.Popen[bytes]] = []

    def plan(self, code: str, *, lease_s: float = 30.0, chips: int = 1, **more: Any) -> None:
        self.files.of(ATTEMPT).mkdir(parents=True, exist_ok=True)
        launch = Launch(command=("python", "-S", "-c", code), **more)
        tree = {
            "attempt": ATTEMPT, "job": "job-a", "service": "", "tenant": "acme", "owner": str(self.owner),
            "memory": str(self.data / "memory"), "lease_s": lease_s, "whole": False,
            "launch": {name: getattr(launch, name) for name in launch.__struct_fields__},
            "members": [
                {"node": NODE, "chips": list(range(chips)), "instance": "n0.0", "address": "127.0.0.1"}
            ],
        }  # fmt: skip
        write_json(self.files.plan(ATTEMPT), tree)

    def start(self) -> subprocess.Popen[bytes]:
        argv = [sys.executable, "-m", "myriad.engines.slurm.member", str(self.data), ATTEMPT]
        member = subprocess.Popen(argv, env=os.environ | {"SLURMD_NODENAME": NODE}, stderr=subprocess.PIPE)
        self.started.append(member)
        return member

    def said(self) -> list[dict[str, Any]]:
        with contextlib.suppress(FileNotFoundError):
            return [json.loads(line) for line in self.files.log(ATTEMPT, NODE).read_text().splitlines()]
        return []

    def kinds(self) -> list[str]:
        return [line["type"] for line in self.said()]

    def family(self) -> list[int]:
        """Pids that a rank of _FAMILY printed."""
        wait_for(lambda: layout.log_file(self.logs, 0).exists() and self._words())
        return [int(word) for word in self._words()]

    def _words(self) -> list[str]:
        return layout.log_file(self.logs, 0).read_text().split()


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    made = Node(tmp_path)
    yield made
    for member in made.started:
        member.kill()
        member.communicate()


def wait_for(holds: Callable[[], object], patience_s: float = 20.0) -> None:
    give_up_at = time.monotonic() + patience_s
    while not holds():
        assert time.monotonic() < give_up_at
        time.sleep(0.02)


def lives(pid: int) -> bool:
    return procs.find(pid) is not None


def test_ranks_know_their_place_and_their_worst_code_is_told(node: Node) -> None:
    node.plan(
        "import os, sys, time; rank = os.environ['RANK']\n"
        "print(rank, os.environ['WORLD_SIZE'], os.environ['MYRIAD_CHIPS'], os.environ['MYRIAD_NODE'], "
        "os.environ['OWN'], flush=True)\n"
        "if rank == '0': open('printed', 'w'); sys.exit(0)\n"
        "while not os.path.exists('printed'): time.sleep(0.01)\n"
        "sys.exit(3)",
        chips=2,
        env={"OWN": "mine"},
    )
    assert node.start().wait(20) == 3
    assert node.kinds() == ["MemberStarted", "MemberExited"]
    last = node.said()[-1]
    assert last["code"] == 3 and last["detail"].startswith("rank 1: 1 2 1 n0 mine (exit code 3)")
    assert layout.log_file(node.logs, 0).read_text().split() == ["0", "2", "0", "n0", "mine"]


def test_what_workers_report_is_written_down_in_the_protocols_words(node: Node) -> None:
    node.plan(
        "import json, os, socket\n"
        "channel = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)\n"
        "for step in (1, 2, 3):\n"
        "    body = {'kind': 'progress', 'attempt': 'job-a.1', 'step': step, 'tokens': 10, 'step_s': 0.1}\n"
        "    channel.sendto(json.dumps(body).encode(), os.environ['MYRIAD_REPORT'])\n"
    )
    assert node.start().wait(20) == 0
    steps = [line for line in node.said() if line["type"] == "StepsReported"]
    assert steps[-1]["step"] == 3 and sum(line["tokens"] for line in steps) == 30
    assert node.kinds()[-1] == "MemberExited"


def test_a_stop_ends_all_that_descends_from_the_ranks(node: Node) -> None:
    node.plan(_FAMILY)
    member = node.start()
    family = node.family()
    write_json(node.files.stop_files(ATTEMPT, NODE)[0], {"grace_s": 0.0})
    member.wait(20)
    assert node.kinds() == ["MemberStarted", "MemberGone"]
    assert not any(lives(pid) for pid in family)


def test_a_stop_of_this_node_alone_is_obeyed_too_even_if_it_comes_first(node: Node) -> None:
    node.plan("open('started', 'w')")
    write_json(node.files.stop_files(ATTEMPT, NODE)[1], {"grace_s": 0.0})
    node.start().wait(20)
    assert node.kinds()[-1] == "MemberGone"
    assert not (node.owner / "output" / "started").exists()


def test_with_grace_ranks_may_end_their_own_way(node: Node) -> None:
    node.plan(
        "import signal, sys, time\n"
        "def saved(*_): print('saved', flush=True); sys.exit(0)\n"
        "signal.signal(signal.SIGTERM, saved); print('ready', flush=True); time.sleep(600)\n"
    )
    member = node.start()
    log = layout.log_file(node.logs, 0)
    wait_for(lambda: log.exists() and "ready" in log.read_text())
    write_json(node.files.stop_files(ATTEMPT, NODE)[0], {"grace_s": 20.0})
    member.wait(15)
    assert "saved" in log.read_text() and node.kinds()[-1] == "MemberGone"


def test_what_slurm_ends_is_told_as_that(node: Node) -> None:
    node.plan(_FAMILY)
    member = node.start()
    family = node.family()
    member.send_signal(signal.SIGTERM)
    member.wait(20)
    assert node.kinds() == ["MemberStarted", "EndedBySlurm"]
    assert not any(lives(pid) for pid in family)


def test_nothing_outlives_a_member_that_is_killed(node: Node) -> None:
    node.plan(_FAMILY)
    member = node.start()
    family = node.family()
    member.kill()
    member.wait()
    wait_for(lambda: not any(lives(pid) for pid in family))
    assert node.kinds() == ["MemberStarted"]


def test_a_member_that_cannot_give_signs_of_life_is_ended_within_its_lease(node: Node) -> None:
    node.plan(_FAMILY, lease_s=1.0)
    member = node.start()
    family = node.family()
    stopped_at = time.monotonic()
    member.send_signal(signal.SIGSTOP)
    wait_for(lambda: not any(lives(pid) for pid in family))
    assert member.wait(5) == -signal.SIGKILL
    # a machine that is busy makes it later, but never before a lease has passed since the last sign
    assert time.monotonic() - stopped_at > 0.5


def test_what_was_stopped_as_a_whole_for_longer_than_its_lease_does_not_go_on(node: Node) -> None:
    """As by Slurm's suspend: the guard too, and what the member does first is to give a sign of life."""
    node.plan(_FAMILY, lease_s=1.0)
    member = node.start()
    family = node.family()
    ours = [p.pid for p in procs.table() if str(node.data) in procs.arguments(p.pid)]
    (guard,) = [pid for pid in ours if pid != member.pid]
    for pid in (guard, member.pid):
        os.kill(pid, signal.SIGSTOP)
    time.sleep(1.5)
    os.kill(member.pid, signal.SIGCONT)
    time.sleep(0.3)  # the sign is there before the guard looks
    os.kill(guard, signal.SIGCONT)
    assert member.wait(5) == -signal.SIGKILL
    wait_for(lambda: not any(lives(pid) for pid in family))


def test_memory_of_jobs_that_nobody_brought_back_is_freed_and_of_those_that_may_come_is_not(
    node: Node,
) -> None:
    here = node.data / "memory" / NODE
    idle, fresh, dead = here / "n0.0" / "job-old", here / "n0.0" / "job-new", here / "n0.-1" / "job-a"
    for folder in (idle, fresh, dead):
        folder.mkdir(parents=True)
        (folder / "copy").write_bytes(b"x")
    os.utime(idle, (1, 1))
    node.plan("pass")
    assert node.start().wait(20) == 0
    assert not idle.exists() and fresh.exists() and not dead.parent.exists()


def test_it_begins_once(node: Node) -> None:
    node.plan("pass")
    assert node.start().wait(20) == 0
    before = node.said()
    again = node.start()
    assert again.wait(20) == 1 and again.stderr
    assert b"was started on n0 before" in again.stderr.read()
    assert node.said() == before
