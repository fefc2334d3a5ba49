"""A control plane that stands still, or is away, over real processes: nobody is late for it."""

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

from tests.server.harness import Server, python, running, wait_for

_STOP_S, _STILL_S = 8, 12
_POLICY = f"recover: {{stop_timeout: {_STOP_S}s, stop_grace: 1s}}\n"
_SLEEPS = "import time; time.sleep(600)"


@contextlib.contextmanager
def _impatient(home: Path) -> Iterator[Server]:
    """A control plane that fences soon, all its nodes in service."""
    home.mkdir()
    (home / "policy.yaml").write_text(_POLICY)
    with running(home) as server:
        server.wait_ready()
        yield server


def _stopping(server: Server) -> str:
    """A job whose gang was just told to stop."""
    server.tenant()
    job = server.submit(python(_SLEEPS, nodes=2))
    server.wait_state(job, "running")
    server.post(f"/jobs/{job}/cancel")
    return job


def _nobody_is_blamed(server: Server, job: str) -> None:
    server.wait_state(job, "cancelled")
    lost = [fact for entry in server.journal() for fact in entry["facts"] if fact["type"] == "NodeLost"]
    assert not lost
    wait_for(lambda: {one["state"] for one in server.get("/nodes")} <= {"ready", "spare"})


def test_who_stood_still_gives_everybody_time(tmp_path: Path) -> None:
    """Answers lie unread when it wakes, and timers are due before it has read them."""
    with _impatient(tmp_path / "home") as server:
        job = _stopping(server)
        assert server.process
        os.kill(server.process.pid, signal.SIGSTOP)
        time.sleep(_STILL_S)
        os.kill(server.process.pid, signal.SIGCONT)
        _nobody_is_blamed(server, job)


def test_who_was_away_gives_everybody_time(tmp_path: Path) -> None:
    with _impatient(tmp_path / "home") as server:
        job = _stopping(server)
        server.kill()
        time.sleep(_STILL_S)
        server.start()
        _nobody_is_blamed(server, job)
