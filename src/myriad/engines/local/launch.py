"""How one process of an attempt comes to life: its environment, and what the forked child does.

The agent forks; the child becomes a command by exec, or runs a recipe in the interpreter it
inherited, in which torch is imported already.
"""

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple, NoReturn

from myriad.engines.common import forking, layout, procs, ranks
from myriad.engines.local import paths, wire

#: The program that agents and workers are forks of.
ZYGOTE = "myriad.engines.local.zygote"


class Place(NamedTuple):
    """Where the agent that starts processes is."""

    home: Path
    node: str
    instance: str


def processes(place: Place, start: wire.Start, inherited: Mapping[str, str]) -> list[ranks.Planned]:
    """The processes of the attempt on this node, by rank."""
    owner = layout.owner_dir(place.home, start.job, start.service)
    here = ranks.Here(
        chips=ranks.indices(start.chips),
        group_rank=start.group_rank,
        group_size=start.group_size,
        first_rank=start.first_rank,
        world_size=start.world_size,
    )
    logs = layout.logs_dir(owner, start.attempt)
    return ranks.planned(here, start.launch, _of_attempt(place, start, owner), logs, inherited)


def _of_attempt(place: Place, start: wire.Start, owner: Path) -> dict[str, str]:
    env = ranks.owned(owner, start.attempt, place.node, job=start.job, service=start.service)
    env |= {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(start.master_port),
        "MYRIAD_REPORT": str(paths.socket(place.home, place.node, "report")),
        "MYRIAD_REQUESTS": str(paths.requests_file(place.home, place.node, start.attempt)),
        procs.MEMBER: f"{place.instance}/{start.attempt}",
    }
    if start.job:
        env["MYRIAD_MEMORY_DIR"] = str(_memory(place) / start.job)
    if start.service:
        env["MYRIAD_SERVICE_PORT"] = str(start.service_port)
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


def start_process(
    place: Place, start: wire.Start, planned: ranks.Planned, release: Callable[[], None]
) -> int:
    """Fork one process in a group of its own; its pid. Raises OSError."""
    owner = layout.owner_dir(place.home, start.job, start.service)
    launch = start.launch

    def become() -> NoReturn:
        os.chdir(launch.workdir or owner / "output")
        if launch.command:
            forking.execute(launch.command, planned.env)
        logs = layout.logs_dir(owner, start.attempt)
        forking.run_recipe([launch.recipe, "--config", str(_config_file(logs))], planned.env)

    return forking.fork(planned.log, release, become)


def _config_file(logs: Path) -> Path:
    return logs / "config.json"
