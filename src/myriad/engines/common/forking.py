"""How a child process comes to life: forked in a group of its own, it becomes a command or runs a recipe.

Only the standard library, because on a cluster the program that forks starts anew for every gang.
"""

import contextlib
import importlib
import os
import signal
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NoReturn

from myriad.engines.common import procs

#: What the system's own recipes run as; a name and not an import, because engines and worker are strangers.
WORKER = "myriad.worker.run"

#: Measured: spin barriers and trimming malloc cost factors on busy cores. A user's `env` may change these.
DEFAULTS: Mapping[str, str] = {
    "OMP_NUM_THREADS": "1",
    "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1",
    "MALLOC_MMAP_THRESHOLD_": str(2**31),
    "MALLOC_TRIM_THRESHOLD_": str(2**32),
    "PYTHONUNBUFFERED": "1",
}


def fork(output: Path, release: Callable[[], None], become: Callable[[], NoReturn]) -> int:
    """A child in its own process group that dies with us and writes to `output`; its pid. Raises OSError."""
    parent = os.getpid()
    out = os.open(output, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        pid = os.fork()
        if pid:
            _lead_group(pid)
            return pid
    finally:
        if os.getpid() == parent:
            os.close(out)
    try:
        procs.die_with(parent)
        _lead_group(0)
        _reset_signals()
        os.dup2(out, 1)
        os.dup2(out, 2)
        os.close(out)
        release()
        become()
    except BaseException as error:  # noqa: BLE001 - a child must never return into the agent's loop
        os.write(2, f"myriad: cannot start: {error}\n".encode())
    finally:
        os._exit(127)


def execute(command: tuple[str, ...], env: Mapping[str, str]) -> NoReturn:
    """Replace this child by a program; never a shell. Raises OSError."""
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # Python ignores it, programs expect it
    os.execvpe(command[0], command, env)


def run_recipe(argv: list[str], env: Mapping[str, str]) -> NoReturn:
    """Run a recipe of the worker package in this child. Raises whatever importing it raises."""
    os.environ.clear()
    os.environ.update(env)
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    importlib.import_module(WORKER).exit_with(argv)
    raise AssertionError("exit_with returned")


def _lead_group(pid: int) -> None:
    """Done by parent and child both, so that neither can be too late."""
    with contextlib.suppress(PermissionError, ProcessLookupError):  # another program already, or gone
        os.setpgid(pid, 0)


def _reset_signals() -> None:
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
