"""What Linux knows about processes: who lives, who belongs together, and how to end them for certain.

A node here is a session: every process of it carries the session of its agent, or the agent's marker
in its environment (programs may leave the session), or descends from one that does.
"""

import contextlib
import ctypes
import os
import signal
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

#: The variable that marks every process of an attempt: `<instance>/<attempt>`.
MEMBER = "MYRIAD_MEMBER"

_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36
_libc = ctypes.CDLL(None, use_errno=True)


class Process(NamedTuple):
    """One line of the process table."""

    pid: int
    parent: int
    group: int
    session: int
    started: int  # clock ticks since boot: with the pid it names a process for ever


def die_with(parent: int) -> None:
    """Let the kernel kill this process when `parent`, which forked it, dies."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it died before we asked
        os._exit(128 + signal.SIGKILL)


def reap() -> list[tuple[int, int]]:
    """Children that have ended: pid and wait status of each, once."""
    ended: list[tuple[int, int]] = []
    with contextlib.suppress(ChildProcessError):
        while (found := os.waitpid(-1, os.WNOHANG))[0]:
            ended.append(found)
    return ended


def adopt_orphans() -> None:
    """Become the parent of descendants whose own parent dies, so that none gets out of sight."""
    _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def boot() -> str:
    """Names this boot of the machine: pids of another one mean nothing."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def find(pid: int) -> Process | None:
    """The process of that id; None when there is none, or only its remains (a zombie)."""
    try:
        file = os.open(f"/proc/{pid}/stat", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        text = os.read(file, 4096)
    except OSError:
        return None
    finally:
        os.close(file)
    # the name of the program, in brackets, may itself hold brackets and blanks
    rest = text[text.rindex(b")") + 2 :].split()
    if rest[0] in (b"Z", b"X"):
        return None
    return Process(pid, int(rest[1]), int(rest[2]), int(rest[3]), int(rest[19]))


def table() -> list[Process]:
    """Every living process of the machine but this one."""
    own = os.getpid()
    pids = [int(name) for name in os.listdir("/proc") if name.isdigit()]
    return [found for pid in pids if pid != own and (found := find(pid))]


def has_children() -> bool:
    """Whether this process has any, zombies included: of one that adopts orphans, any descendant."""
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def alive(pid: int, started: int) -> bool:
    """Does that very process live?"""
    found = find(pid)
    return found is not None and found.started == started


def marked(pid: int, marker: str, *, prefix: bool = False) -> bool:
    """Was the program started with MYRIAD_MEMBER=`marker` (or something that begins so)?"""
    wanted = f"\0{MEMBER}={marker}".encode() + (b"" if prefix else b"\0")
    return wanted in b"\0" + _read(pid, "environ")


def environment(pid: int) -> list[str]:
    """The variables a program was started with; forks keep those of their parent."""
    return _read(pid, "environ").decode(errors="replace").split("\0")


def arguments(pid: int) -> list[str]:
    """The command line; forks keep that of their parent."""
    return _read(pid, "cmdline").decode(errors="replace").split("\0")[:-1]


def with_descendants(roots: Iterable[Process], everybody: list[Process]) -> list[Process]:
    """The roots and all that descends from them."""
    kept = {process.pid: process for process in roots}
    grown = True
    while grown:
        young = [p for p in everybody if p.parent in kept and p.pid not in kept]
        kept.update((p.pid, p) for p in young)
        grown = bool(young)
    return list(kept.values())


def of_incarnation(agent: int, started: int, instance: str) -> list[Process]:
    """All that lives of one incarnation of a node: agent, workers, and whatever those started."""
    everybody = table()
    # A session's number is not given away while anybody is in it; if its leader is a stranger, the
    # session is one too.
    leader = find(agent)
    ours = leader is None or leader.started == started
    roots = [
        p
        for p in everybody
        if (ours and p.session == agent and p.started >= started)
        or marked(p.pid, f"{instance}/", prefix=True)
    ]
    return with_descendants(roots, everybody)


def kill_until_none(who: Callable[[], list[Process]], patience_s: float = 10.0) -> bool:
    """SIGKILL whoever is found until nobody is; False when some, stuck in the kernel, outlive us."""
    give_up_at = time.monotonic() + patience_s
    while found := who():
        for process in found:
            send(process.pid, signal.SIGKILL)
        if time.monotonic() > give_up_at:
            return False
        time.sleep(0.002)
    return True


def send(pid: int, number: int) -> None:
    """A signal, to a process that may be gone."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)


def _read(pid: int, name: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes()
    except OSError:
        return b""
