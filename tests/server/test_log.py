"""The log is one event a line, in two forms; the service manager hears when the server is ready and alive."""

import asyncio
import contextlib
import io
import json
import logging
import re
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from myriad.protocol import inputs
from myriad.server import log, told
from myriad.server.notify import Manager, Pulse
from tests.server.harness import Server, wait_for


@pytest.fixture(autouse=True)
def _as_it_was() -> Iterator[None]:
    yield
    log.use("text")
    root = logging.getLogger()
    for handler in [one for one in root.handlers if type(one).__name__ == "_Bridge"]:
        root.removeHandler(handler)


def test_people_read_a_stamped_line_and_the_rest_of_an_event_is_indented() -> None:
    out = io.StringIO()
    log.use("text", out)
    log.info("start", "test is open", seq=1)
    log.error("broken", "cannot go on\nstory")
    first, second, third = out.getvalue().splitlines()
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d myriad: test is open", first)
    assert second.endswith("myriad: cannot go on") and third == "    story"
    assert log.spoken(out.getvalue()) == "cannot go on\n    story"
    assert log.spoken("Traceback\nboom") is None


def test_programs_read_one_object_a_line() -> None:
    out = io.StringIO()
    log.use("json", out)
    log.warning("slow-commit", "took\nlong", seconds=1.5)
    logging.getLogger("aiohttp.server").error("Error handling %s", "a request")
    one, other = (json.loads(line) for line in out.getvalue().splitlines())
    assert one["level"] == "warning" and one["event"] == "slow-commit" and one["fields"] == {"seconds": 1.5}
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", one["time"])
    assert other["event"] == "library" and other["fields"]["logger"] == "aiohttp.server"


def test_events_that_come_in_masses_are_told_once_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    out, now = io.StringIO(), [100.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    log.use("text", out)
    for _ in range(50):
        refused = inputs.MemberExited(at=1, attempt="a.1", node="n0", code=126, detail="no such port")  # type: ignore[arg-type]
        told.by_body(refused)
    now[0] += 2
    told.by_body(refused)
    lines = out.getvalue().splitlines()
    assert len(lines) == 2 and "refuses to start a.1 on n0" in lines[0] and "49 more" in lines[1]


def test_the_manager_is_told_once_ready_and_while_the_loop_turns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import os

    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard:
        heard.bind(str(tmp_path / "notify"))
        heard.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        monkeypatch.setenv("WATCHDOG_USEC", "1500000")
        manager = Manager()
        assert "NOTIFY_SOCKET" not in os.environ, "children do not speak in our name"
        manager.ready("open")
        assert heard.recv(100) == b"READY=1\nSTATUS=open"

        async def beat() -> Pulse:
            pulse = Pulse(manager)
            task = asyncio.create_task(pulse.beat())
            while (
                pulse.lag.count < 3
            ):  # in three beats of 0.25 s it is told once at least: that is due every 0.5 s
                await asyncio.sleep(0.01)
            task.cancel()
            return pulse

        assert asyncio.run(beat()).lag.count >= 3
        assert heard.recv(100) == b"WATCHDOG=1"
    manager.ready("nobody hears it, and nothing happens")


def _listen(heard: socket.socket, said: list[str]) -> None:
    """Keep the queue empty, as a manager does: whoever finds it full is not heard."""
    with contextlib.suppress(TimeoutError):
        while "STOPPING=1" not in said:
            said.append(heard.recv(1000).decode())


def test_a_server_tells_its_manager_and_logs_its_life(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard:
        heard.bind(str(tmp_path / "notify"))
        heard.settimeout(60)
        said: list[str] = []
        listener = threading.Thread(target=_listen, args=(heard, said), daemon=True)
        listener.start()
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
            patch.setenv("WATCHDOG_USEC", "600000")
            server = Server(tmp_path / "home", "--engine", "memory", "--log-format", "json").start()
        try:
            # it may turn for long before it is ready
            wait_for(lambda: any(one != "WATCHDOG=1" for one in said))
            ready = next(at for at, one in enumerate(said) if one != "WATCHDOG=1")
            assert said[ready].startswith("READY=1\nSTATUS=") and server.url in said[ready]
            wait_for(lambda: len(said) > ready + 1)
            assert server.stop() == 0
            listener.join()
            assert set(said[ready + 1 : -1]) == {"WATCHDOG=1"} and said[-1] == "STOPPING=1"
        finally:
            server.end()
    events = [json.loads(line) for line in server.said().splitlines()]
    assert [one["event"] for one in events if one["event"] in ("start", "stop")] == ["start", "stop"]
    start, stop = (one for one in events if one["event"] in ("start", "stop"))
    assert start["fields"]["version"] and start["fields"]["journal"] == str(tmp_path / "home/journal.db")
    assert "SIGTERM" in stop["text"]
