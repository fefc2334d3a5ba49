"""The member's guard: a small child that ends everything when the member dies or loses touch.

The control plane takes a node for empty once it has seen no sign of life of a member for longer than the
lease. That is only true because of this process: it hears from the member after every sign of life that
reached the shared folder, and kills when that stops, whatever the member itself is stuck in.

A sign counts from before it was given, since a slow file server may show it before it answers. One that
comes more than a lease after the one before is too late, even if nobody was awake meanwhile to see that: the
node, or all of its job, was stopped and goes on.

Only the standard library: members import it.
"""

import os
import select
import signal
import time
from itertools import pairwise
from typing import NoReturn

from myriad.engines.common import procs

_PATIENCE_S = 10.0


def clock() -> float:
    """Seconds that go on while processes are stopped, and while the machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


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

    def alive(self, since: float) -> None:
        """A sign of life has reached the shared folder; it was begun at `since`, by `clock`."""
        self._say(f"a{since!r}\n".encode())

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
    deadline = clock() + lease_s
    while True:
        ready, _, _ = select.select([ear], [], [], max(0.0, deadline - clock()))
        if not ready:
            break
        data = os.read(ear, 4096)
        if not data:
            break
        *lines, heard = (heard + data).split(b"\n")
        if b"d" in lines:
            os._exit(0)
        groups += [int(line) for line in lines if line.isdigit()]
        signs = [float(line[1:]) for line in lines if line.startswith(b"a")]
        if any(later - sooner > lease_s for sooner, later in pairwise([deadline - lease_s, *signs])):
            break
        deadline = lease_s + max([deadline - lease_s, *signs])
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
