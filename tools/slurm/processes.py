"""Processes of a cluster: found by pid file, by environment and by open log file, and ended.

A slurmstepd outlives its slurmd and has overwritten its own environment with its title, but it holds the log
file of its node open; what it runs has the node's name in its environment or descends from it.
"""

import os
import signal
import time
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from itertools import chain
from pathlib import Path

POLL_S = 0.02
#: In the order in which they end: each has until then what it needs to write down the last of what it knows.
DAEMONS = (("slurmctld", "slurmd"), ("slurmdbd",), ("mariadbd", "munged"))


def from_file(path: Path) -> int:
    """The live process that a pid file names; 0 if there is none."""
    try:
        pid = int(path.read_text())
    except (OSError, ValueError):
        return 0
    return pid if alive(pid) else 0


def alive(pid: int) -> bool:
    """Whether the process exists and is not a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in ("Z", "X")
    except OSError:
        return False


def _others() -> Iterator[int]:
    """All processes but this one."""
    for name in os.listdir("/proc"):
        if name.isdigit() and int(name) != os.getpid():
            yield int(name)


def environment(pid: int) -> dict[str, str]:
    """What the process was started with; empty if that cannot be read."""
    try:
        raw = Path(f"/proc/{pid}/environ").read_bytes().decode(errors="replace")
    except OSError:
        return {}
    return dict(pair.split("=", 1) for pair in raw.split("\0") if "=" in pair)


def _open_files(pid: int) -> set[str]:
    found: set[str] = set()
    with suppress(OSError):
        for name in os.listdir(f"/proc/{pid}/fd"):
            with suppress(OSError):
                found.add(os.readlink(f"/proc/{pid}/fd/{name}"))
    return found


def _name(pid: int) -> str:
    """First word of its command line, or of the title that it gave itself."""
    try:
        first = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0", 1)[0].decode(errors="replace")
    except OSError:
        return ""
    return Path(first.split(": ")[0]).name


def daemons(folder: Path, *names: str) -> list[int]:
    """Those of the cluster in the folder (none named: all), whatever became of their pid files."""
    conf, wanted = str(folder / "slurm.conf"), names or tuple(chain(*DAEMONS))
    return [pid for pid in _others() if _name(pid) in wanted and environment(pid).get("SLURM_CONF") == conf]


def of_nodes(folder: Path, nodes: Collection[str] = ()) -> list[int]:
    """slurmstepd, tasks and what they started, on these nodes (none named: any) of the folder's cluster."""
    conf, logs = str(folder / "slurm.conf"), [f"{folder}/log/{node}.log" for node in nodes]
    found = []
    for pid in _others():
        # a slurmstepd is a fork of its slurmd, under that name for a moment
        if _name(pid) in ("slurmstepd", "slurmd"):
            held = _open_files(pid)
            if held.intersection(logs) if nodes else any(file.startswith(f"{folder}/log/") for file in held):
                found.append(pid)
            continue
        given = environment(pid)
        node = given.get("SLURMD_NODENAME", "")
        if node and given.get("SLURM_CONF") == conf and (node in nodes or not nodes):
            found.append(pid)
    masters = set(daemons(folder))
    return [pid for pid in children(found, masters) if pid not in masters]


def children(pids: Iterable[int], but: Collection[int] = ()) -> list[int]:
    """These processes and all that descend from them, not looking below some."""
    parents: dict[int, list[int]] = {}
    for pid in _others():
        with suppress(OSError, ValueError, IndexError):
            fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
            parents.setdefault(int(fields[1]), []).append(pid)
    found, todo = set(), [pid for pid in pids if pid not in but]
    while todo:
        pid = todo.pop()
        if pid not in found:
            found.add(pid)
            todo += parents.get(pid, [])
    return sorted(found)


def kill(pids: Iterable[int]) -> None:
    """SIGKILL, and wait until all are gone."""
    todo = list(pids)
    for pid in todo:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    wait_gone(todo, 10.0)


def end(pids: Iterable[int], patience_s: float) -> None:
    """SIGTERM, and SIGKILL for what is still there after so long."""
    todo = list(pids)
    for pid in todo:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
    kill(wait_gone(todo, patience_s))


def wait_gone(pids: Iterable[int], patience_s: float) -> list[int]:
    """Those still there when patience ends."""
    give_up_at = time.monotonic() + patience_s
    left = [pid for pid in pids if alive(pid)]
    while left and time.monotonic() < give_up_at:
        time.sleep(POLL_S)
        left = [pid for pid in left if alive(pid)]
    return left
