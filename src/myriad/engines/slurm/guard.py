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


class Guard:
    """The member's end of the line."""

    def __init__(self, lease_s: float) -> None:
        member = os.getpid()
        ear, self._mouth = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            os.close(self._mouth)
            _watch(ear, member, lease_s)
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


def _watch(ear: int, member: int, lease_s: float) -> NoReturn:
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
    everybody = procs.table()
    doomed = procs.with_descendants([p for p in everybody if p.pid == member], everybody)
    for process in doomed:
        if process.pid != os.getpid():
            procs.send(process.pid, signal.SIGKILL)
    os._exit(0)
