"""The member's guard: a small child that ends everything when the member dies or loses touch.

The control plane takes a node for empty once it has seen no sign of life of a member for longer than the
lease. That is only true because of this process: it hears from the member after every sign of life that
reached the shared folder, and kills when that stops, whatever the member itself is stuck in.

Only the standard library: members import it.
"""

import os
import select
import signal
import time
from typing import NoReturn

from myriad.engines.common import procs

_PATIENCE_S = 10.0


class Guard:
    """The member's end of the line. The guard is no child of it: all its children are the gang's."""

    def __init__(self, lease_s: float, marker: str) -> None:
        """`marker` is in the environment of every rank; forks of the member itself carry Slurm's."""
        member = os.getpid()
        ear, self._mouth = os.pipe()
        child = os.fork()
        if child == 0:
            if os.fork():
                os._exit(0)
            os.close(self._mouth)
            _watch(ear, member, lease_s, marker)
        os.waitpid(child, 0)
        os.close(ear)

    def alive(self) -> None:
        """A sign of life has reached the shared folder."""
        self._say(b"a\n")

    def started(self, pid: int) -> None:
        """This process leads a group of ours."""
        self._say(f"{pid}\n".encode())

    def done(self) -> None:
        """Nothing is left to guard."""
        self._say(b"d\n")
        os.close(self._mouth)

    def release(self) -> None:
        """In a forked child: let go."""
        os.close(self._mouth)

    def _say(self, text: bytes) -> None:
        try:
            os.write(self._mouth, text)
        except OSError:  # a guard that died cannot vouch for us
            os._exit(128 + signal.SIGKILL)


def _watch(ear: int, member: int, lease_s: float, marker: str) -> NoReturn:
    # a group of its own, and deaf to what Slurm sends a step at its end: it must be the last to go
    os.setpgid(0, 0)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    groups: list[int] = []
    heard = b""
    deadline = time.monotonic() + lease_s
    while True:
        ready, _, _ = select.select([ear], [], [], max(0.0, deadline - time.monotonic()))
        if not ready:
            break
        data = os.read(ear, 4096)
        if not data:
            break
        *lines, heard = (heard + data).split(b"\n")
        if b"d" in lines:
            os._exit(0)
        groups += [int(line) for line in lines if line.isdigit()]
        if b"a" in lines:
            deadline = time.monotonic() + lease_s
    procs.send(member, signal.SIGSTOP)  # it must not start another while we look
    for group in groups:
        procs.send(-group, signal.SIGKILL)
    procs.kill_until_none(lambda: _left(member, marker), _PATIENCE_S)
    os._exit(0)


def _left(member: int, marker: str) -> list[procs.Process]:
    """All that lives of the member's part: itself, what descends from it, and what has its marks."""
    everybody, own = procs.table(), _marks(os.getpid())
    roots = [p for p in everybody if p.pid == member or procs.marked(p.pid, marker)]
    if own:
        roots += [p for p in everybody if _marks(p.pid) == own]
    return procs.with_descendants(roots, everybody)


def _marks(pid: int) -> frozenset[str]:
    """Which step of which Slurm job on which node the process was started in."""
    names = ("SLURM_JOB_ID=", "SLURM_STEP_ID=", "SLURMD_NODENAME=")
    found = frozenset(line for line in procs.environment(pid) if line.startswith(names))
    return found if len(found) == len(names) else frozenset()
