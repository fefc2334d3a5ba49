"""Real server processes on loopback, each in a home of its own, and small words to talk to them."""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Self

import httpx

from myriad.engines.local import nursery

ROOT = Path(__file__).parent.parent.parent


class Answer:
    """One HTTP answer."""

    def __init__(self, response: httpx.Response) -> None:
        self.status, self.headers, self.text = response.status_code, response.headers, response.text

    @property
    def tree(self) -> Any:
        """The JSON in it."""
        return json.loads(self.text)


class Clients:
    """Threads that ask without pause for as long as the `with` block lasts: each does `run` until `over`."""

    def __init__(self, count: int) -> None:
        self.over = threading.Event()
        self._threads = [threading.Thread(target=self.run, args=(number,)) for number in range(count)]

    def run(self, number: int) -> None:
        raise NotImplementedError

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        for thread in self._threads:
            thread.join()


class Server:
    """One home, with a control plane that may be killed and started again."""

    def __init__(self, home: Path, *options: str, env: Mapping[str, str] | None = None) -> None:
        self.home, self.options = home, options
        self.python = sys.executable
        #: Of the process; the test's own unless given.
        self.env = env
        self.process: subprocess.Popen[bytes] | None = None
        self.url = self.gateway = self.key = ""
        self.tenant_keys: dict[str, str] = {}
        # plain HTTP: nothing to verify, and loading certificates takes longer than all else
        self.client = httpx.Client(timeout=30, trust_env=False, verify=False)

    def start(self, patience_s: float = 30.0) -> "Server":
        """Start the control plane and wait until it answers."""
        context = self.home / "context.json"
        before = context.stat().st_mtime_ns if context.exists() else 0
        self.process = self.spawn(*self.options)

        def answers() -> bool:
            assert self.process and self.process.poll() is None, self.said()
            return context.exists() and context.stat().st_mtime_ns > before

        wait_for(answers, self.said, patience_s)
        found = json.loads(context.read_text())
        self.url, self.gateway, self.key = found["api_url"], found["gateway_url"], found["key"]
        return self

    def spawn(self, *options: str) -> subprocess.Popen[bytes]:
        """A server process of this home, with whatever options."""
        self.home.mkdir(parents=True, exist_ok=True)
        argv = [self.python, "-m", "myriad.server", "--home", str(self.home), "--no-preload"]
        if "--port" not in options:
            argv += ["--port", "0"]
        if "--gateway-port" not in options:
            argv += ["--gateway-port", "0"]
        with (self.home / "server.log").open("ab") as log:
            return subprocess.Popen([*argv, *options], stdout=log, stderr=log, cwd=ROOT, env=self.env)

    def said(self) -> str:
        """What the server wrote."""
        return (self.home / "server.log").read_text()

    def kill(self) -> None:
        """SIGKILL the control plane, and it alone."""
        assert self.process
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self) -> int:
        """SIGTERM the control plane; its exit code."""
        assert self.process
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(20)

    def end(self) -> None:
        """Leave nothing of the home running."""
        self.client.close()
        if self.process and self.process.poll() is None:
            self.kill()
        asyncio.run(nursery.end_all(self.home))

    def ask(self, method: str, path: str, body: Any = None, *, key: str | None = None, **more: Any) -> Answer:
        """One request; paths are below /api/v1 unless they begin with two slashes."""
        url = self.url + (path[1:] if path.startswith("//") else f"/api/v1{path}")
        bearer = self.key if key is None else key
        headers = {"Authorization": f"Bearer {bearer}"} if bearer else {}
        headers |= more.pop("headers", {})
        return Answer(self.client.request(method, url, json=body, headers=headers, **more))

    def get(self, path: str, **more: Any) -> Any:
        """The JSON of a GET that must succeed."""
        answer = self.ask("GET", path, **more)
        assert answer.status == 200, answer.text
        return answer.tree

    def post(self, path: str, body: Any = None, **more: Any) -> Any:
        """The JSON of a POST that must succeed."""
        answer = self.ask("POST", path, body, **more)
        assert answer.status in (200, 201), answer.text
        return answer.tree

    def tenant(self, name: str = "acme", chips: int = 6) -> str:
        """Create a tenant, unless it is there; its key."""
        if name not in self.tenant_keys:
            spec = {"name": name, "quota": {"chips": chips}}
            self.tenant_keys |= self.post("/tenants", {"tenants": [spec]})["keys"]
        return self.tenant_keys[name]

    def submit(self, spec: dict[str, Any], **more: Any) -> str:
        """Submit a job; its id."""
        return str(self.post("/jobs", {"spec": spec}, **more)["job"]["job"])

    def job(self, job: str) -> Any:
        """The job's view."""
        return self.get(f"/jobs/{job}")

    def wait_ready(self, nodes: int = 6, patience_s: float = 90.0) -> None:
        """Wait until so many nodes are in service."""
        useful = ("ready", "spare", "allocated")
        wait_for(
            lambda: sum(self.get("/site")["nodes_by_state"].get(word, 0) for word in useful) >= nodes,
            lambda: str(self.get("/site")["nodes_by_state"]),
            patience_s,
        )

    def wait_state(self, job: str, *states: str, patience_s: float = 30.0) -> Any:
        """Wait until the job is in one of these states."""
        wait_for(lambda: self.job(job)["state"] in states, lambda: f"{job} is {self.job(job)}", patience_s)
        return self.job(job)

    def journal(self) -> list[dict[str, Any]]:
        """Every entry."""
        return list(self.get("/journal?limit=10000")["entries"])


def command(*argv: str, name: str = "job", nodes: int = 1, **more: Any) -> dict[str, Any]:
    """A job that runs a command."""
    return {"name": name, "tenant": "acme", "nodes": nodes, "command": list(argv), **more}


def python(code: str, **more: Any) -> dict[str, Any]:
    """A job that runs some Python."""
    return command("python", "-S", "-c", code, **more)


def wait_for(
    holds: Callable[[], bool], story: Callable[[], str] = lambda: "", patience_s: float = 30.0
) -> None:
    """Poll until something holds: for what the API offers no event for."""
    give_up_at = time.monotonic() + patience_s
    while not holds():
        assert time.monotonic() < give_up_at, f"not in {patience_s} s {story()}"
        time.sleep(0.02)


@contextlib.contextmanager
def running(home: Path, *options: str) -> Iterator[Server]:
    """A server for as long as the block lasts."""
    server = Server(home, *options)
    try:
        yield server.start()
    finally:
        server.end()


def members_of(home: Path) -> list[int]:
    """Processes of gangs of this home that live now, agents and zygote not among them."""
    needle = os.fsencode(str(home / "nodes"))
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with contextlib.suppress(OSError):
                environ = (folder / "environ").read_bytes()
                if needle in environ and b"MYRIAD_ATTEMPT=" in environ:
                    found.append(int(folder.name))
    return found
