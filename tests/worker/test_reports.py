"""Reports never hurt the work they tell of, and carry what the contract says."""

import json
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from myriad import worker
from myriad.worker import reports


@pytest.fixture
def agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> socket.socket:
    path = tmp_path / "agent.sock"
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    listener.bind(str(path))
    listener.settimeout(20)
    monkeypatch.setenv("MYRIAD_REPORT", str(path))
    monkeypatch.setenv("MYRIAD_ATTEMPT", "job-1.2")
    monkeypatch.setenv("RANK", "3")
    return listener


def received(agent: socket.socket) -> dict[str, object]:
    found: dict[str, object] = json.loads(agent.recv(65536))
    return found


def test_every_report_names_its_attempt_and_rank(agent: socket.socket) -> None:
    head = {"attempt": "job-1.2", "rank": 3}
    with agent:
        worker.report(step=4, tokens=2048, loss=3.5)
        assert received(agent) == head | {"kind": "progress", "step": 4, "tokens": 2048, "loss": 3.5}
        worker.pace(step=4, compute_s=0.25)
        assert received(agent) == head | {"kind": "pace", "step": 4, "compute_s": 0.25}
        worker.resumed(40)
        assert received(agent) == head | {"kind": "resumed", "step": 40}
        worker.checkpoint_saved(step=50, path="/c/step-50", bytes=9, stall_s=0.1, write_s=1, request="r")
        assert received(agent) == head | {
            "kind": "checkpoint",
            "step": 50,
            "path": "/c/step-50",
            "bytes": 9,
            "stall_s": 0.1,
            "write_s": 1,
            "request": "r",
            "tier": "storage",
        }
        worker.failed("no\nroom")
        assert received(agent) == head | {"kind": "failed", "text": "no room"}
        worker.warn("x" * 1_000_000)
        assert received(agent)["text"] == "x" * 2000


class _Clock:
    """Stands in for `time`: nothing but a sleep makes it go on."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def monotonic(self) -> float:
        return self.now_s

    def sleep(self, pause_s: float) -> None:
        self.now_s += pause_s


def test_a_full_queue_drops_progress_at_once_and_holds_nothing_back_for_ever(
    agent: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = _Clock()
    monkeypatch.setattr(reports, "time", clock)
    with agent:
        for step in range(1000):
            worker.report(step=step)
        assert clock.now_s == 0
        worker.resumed(1)
        assert 10 <= clock.now_s < 11


def test_an_agent_that_had_no_turn_for_a_while_hears_all_that_recovery_depends_on(
    agent: socket.socket,
) -> None:
    def train() -> None:
        for step in range(1000):
            worker.report(step=step)
        worker.resumed(1)
        worker.checkpoint_saved(step=1000, path="/c/step-1000", request="leave")
        worker.failed("no room")

    with agent:
        rank = threading.Thread(target=train)
        rank.start()
        time.sleep(1)
        heard = []
        while "failed" not in heard:
            heard.append(received(agent)["kind"])
        rank.join()
    assert [kind for kind in heard if kind != "progress"] == ["resumed", "checkpoint", "failed"]


def test_without_an_agent_everything_does_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for value in ("", str(tmp_path / "nobody.sock"), str(tmp_path / ("long" * 100))):
        monkeypatch.setenv("MYRIAD_REPORT", value)
        worker.report(step=1)
        worker.failed("nobody hears")
    for name in ("MYRIAD_CHECKPOINT_DIR", "MYRIAD_OUTPUT_DIR", "MYRIAD_REQUESTS"):
        monkeypatch.delenv(name, raising=False)
    assert worker.checkpoint_dir() is None
    assert worker.output_dir() is None
    assert worker.should_checkpoint() is None


def test_a_request_is_seen_until_it_is_answered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MYRIAD_REQUESTS", str(tmp_path / "request"))
    assert worker.should_checkpoint() is None
    (tmp_path / "request").write_text("drain-7\n")
    assert worker.should_checkpoint() == "drain-7"
    assert worker.should_checkpoint() == "drain-7"
    worker.checkpoint_saved(step=1, path=tmp_path, request="drain-7")
    assert worker.should_checkpoint() is None
    (tmp_path / "request").write_text("drain-8")
    assert worker.should_checkpoint() == "drain-8"


def test_importing_the_public_part_is_light() -> None:
    code = "import sys, myriad.worker; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
