"""How one process of an attempt comes to life: its environment, and what the forked child does.

The agent forks; the child becomes a command by exec, or runs a recipe in the interpreter it
inherited, in which torch is imported already.
"""

import contextlib
import importlib
import json
import os
import signal
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple, NoReturn

from myriad.engines.common import layout, procs
from myriad.engines.local import paths, wire

#: What the system's own recipes run as; a name and not an import, because engines and worker are strangers.
WORKER = "myriad.worker.run"

#: The program that agents and workers are forks of.
ZYGOTE = "myriad.engines.local.zygote"

#: Measured: spin barriers and trimming malloc cost factors on busy cores. A user's `env` may change these.
DEFAULTS: Mapping[str, str] = {
    "OMP_NUM_THREADS": "1",
    "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1",
    "MALLOC_MMAP_THRESHOLD_": str(2**31),
    "MALLOC_TRIM_THRESHOLD_": str(2**32),
    "PYTHONUNBUFFERED": "1",
}


class Place(NamedTuple):
    """Where the agent that starts processes is."""

    home: Path
    node: str
    instance: str


class Planned(NamedTuple):
    """One process that an attempt has on this node."""

    rank: int
    env: dict[str, str]
    log: Path


def processes(place: Place, start: wire.Start, inherited: Mapping[str, str]) -> list[Planned]:
    """The processes of the attempt on this node, by rank."""
    chips = [str(k) for k in range(start.chips.bit_length()) if start.chips >> k & 1]
    per_process = [",".join(chips)] if start.launch.per_node else chips
    owner = layout.owner_dir(place.home, start.job, start.service)
    base = {name: value for name, value in inherited.items() if not name.startswith("MYRIAD_")}
    # `python` of a command is the one Myriad runs with, unless the user says otherwise
    base["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{base.get('PATH', os.defpath)}"
    base |= {**DEFAULTS, **start.launch.env, **_of_attempt(place, start, owner)}
    found: list[Planned] = []
    for local_rank, held in enumerate(per_process):
        rank = start.first_rank + local_rank
        own = {
            "RANK": str(rank),
            "LOCAL_RANK": str(local_rank),
            "LOCAL_WORLD_SIZE": str(len(per_process)),
            "MYRIAD_CHIPS": held,
        }
        log = layout.log_file(layout.logs_dir(owner, start.attempt), rank)
        found.append(Planned(rank, base | own, log))
    return found


def _of_attempt(place: Place, start: wire.Start, owner: Path) -> dict[str, str]:
    env = {
        "WORLD_SIZE": str(start.world_size),
        "GROUP_RANK": str(start.group_rank),
        "GROUP_WORLD_SIZE": str(start.group_size),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(start.master_port),
        "MYRIAD_ATTEMPT": start.attempt,
        "MYRIAD_NODE": place.node,
        "MYRIAD_OUTPUT_DIR": str(owner / "output"),
        "MYRIAD_REPORT": str(paths.socket(place.home, place.node, "report")),
        "MYRIAD_REQUESTS": str(paths.requests_file(place.home, place.node, start.attempt)),
        procs.MEMBER: f"{place.instance}/{start.attempt}",
    }
    if start.job:
        env["MYRIAD_JOB"] = start.job
        env["MYRIAD_CHECKPOINT_DIR"] = str(owner / "checkpoints")
        env["MYRIAD_MEMORY_DIR"] = str(_memory(place) / start.job)
        env["MYRIAD_MEMORY_SHIFT"] = str(start.launch.memory_shift)
    if start.service:
        env["MYRIAD_SERVICE"] = start.service
        env["MYRIAD_SERVICE_PORT"] = str(start.service_port)
    if start.launch.checkpoint_every_s > 0:
        env["MYRIAD_CHECKPOINT_EVERY_S"] = str(start.launch.checkpoint_every_s)
    if start.launch.resume_step >= 0:
        env["MYRIAD_RESUME_STEP"] = str(start.launch.resume_step)
    if start.launch.memory_every_s > 0:
        env["MYRIAD_MEMORY_EVERY_S"] = str(start.launch.memory_every_s)
    return env


def prepare(place: Place, start: wire.Start) -> None:
    """Make the folders and the recipe's configuration file. Raises OSError."""
    owner = layout.owner_dir(place.home, start.job, start.service)
    logs = layout.logs_dir(owner, start.attempt)
    folders = [logs, owner / "output", paths.requests_file(place.home, place.node, start.attempt).parent]
    folders += [owner / "checkpoints", _memory(place)] if start.job else []
    for folder in folders:
        folder.mkdir(parents=True, exist_ok=True)
    if start.launch.recipe:
        own = logs / f".config-{place.node}"
        own.write_text(json.dumps(start.launch.config))
        own.replace(_config_file(logs))


def _memory(place: Place) -> Path:
    return paths.memory_dir(place.home, place.node, place.instance)


def start_process(place: Place, start: wire.Start, planned: Planned, release: Callable[[], None]) -> int:
    """Fork one process in a group of its own; its pid. Raises OSError."""
    owner = layout.owner_dir(place.home, start.job, start.service)
    launch = start.launch

    def become() -> NoReturn:
        os.chdir(launch.workdir or owner / "output")
        if launch.command:
            execute(launch.command, planned.env)
        logs = layout.logs_dir(owner, start.attempt)
        run_recipe([launch.recipe, "--config", str(_config_file(logs))], planned.env)

    return fork(planned.log, release, become)


def _config_file(logs: Path) -> Path:
    return logs / "config.json"


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
