"""The world of the local engine: real processes of this machine, plain programs, no torch."""

import os
import signal
import time
from pathlib import Path

from myriad.engines.common import layout, procs
from myriad.engines.local import LocalEngine, nursery
from myriad.fleet import site
from myriad.kernel.ids import AttemptId, NodeId
from myriad.protocol import orders

SITE = site.parse(
    "{name: test, chip: local-cpu, chips_per_node: 1, pods: [{name: p, racks: 1, nodes_per_rack: 3}]}",
    "test site",
)

_BEGIN = """
import json, os, pathlib, socket, sys, time
here = pathlib.Path(os.environ["MYRIAD_OUTPUT_DIR"])
attempt, node, rank = (os.environ[name] for name in ("MYRIAD_ATTEMPT", "MYRIAD_NODE", "RANK"))
with open(here / f"started-{attempt}-{node}", "a") as file:
    file.write(f"{os.getpid()}\\n")
finish = here / f"finish-{attempt}"
"""

_WORK = """
while not finish.exists():
    time.sleep(0.01)
sys.exit(int(sys.argv[1]))
"""

_TALK = """
channel = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
def say(kind, **body):
    body |= {"kind": kind, "attempt": attempt, "rank": int(rank)}
    channel.sendto(json.dumps(body).encode(), os.environ["MYRIAD_REPORT"])
if rank == "0":
    say("resumed", step=0)
    for step in range(1, 6):
        say("progress", step=step, tokens=10, loss=2.5, step_s=0.1, flops=1e6)
requests = pathlib.Path(os.environ["MYRIAD_REQUESTS"])
while not finish.exists():
    if requests.exists():
        say("checkpoint", step=5, path="/c/5", bytes=9, write_s=0.1, request=requests.read_text())
        break
    time.sleep(0.01)
while not finish.exists():
    time.sleep(0.01)
"""


def program(code: str, *arguments: str) -> orders.Launch:
    """A Python program that starts in a moment."""
    return orders.Launch(command=("python", "-S", "-c", _BEGIN + code, *arguments))


class Programs:
    """The same for all engines of real processes: plain programs that leave marks in a folder."""

    def __init__(self, data: Path) -> None:
        self.data = data

    def work(self, code: int = 0) -> orders.Launch:
        return program(_WORK, str(code))

    def talk(self) -> orders.Launch:
        return program(_TALK)

    def finish(self, attempt: AttemptId) -> None:
        self._output.mkdir(parents=True, exist_ok=True)
        (self._output / f"finish-{attempt}").touch()

    def starts(self, attempt: AttemptId, node: NodeId) -> int:
        file = self._output / f"started-{attempt}-{node}"
        return len(file.read_text().splitlines()) if file.exists() else 0

    def runs(self, attempt: AttemptId, node: NodeId) -> bool:
        wanted = {
            f"MYRIAD_OUTPUT_DIR={self._output}",
            f"MYRIAD_ATTEMPT={attempt}",
            f"MYRIAD_NODE={node}",
        }
        return any(wanted <= set(procs.environment(p.pid)) for p in procs.table())

    @property
    def _output(self) -> Path:
        return layout.job_dir(self.data, "job-a") / "output"


class LocalDriver(Programs):
    """Three nodes under one home folder."""

    site = SITE
    can_pause = True

    def __init__(self, home: Path) -> None:
        super().__init__(home)
        self.home = home

    def engine(self) -> LocalEngine:
        return LocalEngine(self.home, self.site, time.time_ns, preload=False, ping_every_s=0.1)

    def kill_node(self, node: NodeId) -> None:
        os.kill(self.record(node).pid, signal.SIGKILL)

    def pause_node(self, node: NodeId) -> None:
        os.kill(self.record(node).pid, signal.SIGSTOP)

    def resume_node(self, node: NodeId) -> None:
        os.kill(self.record(node).pid, signal.SIGCONT)

    async def dispose(self) -> None:
        await nursery.end_all(self.home)
        assert not leftovers(self.home)

    def record(self, node: NodeId) -> nursery.wire.Record:
        return next(one for one in nursery.records(self.home) if one.node == node)


def leftovers(home: Path) -> list[int]:
    """Everything alive that has to do with this home folder."""
    return [
        p.pid
        for p in procs.table()
        if str(home) in "\0".join(procs.arguments(p.pid)) or str(home) in "\0".join(procs.environment(p.pid))
    ]
