"""The processes an attempt has on one node: their ranks and environments, as torchrun and Myriad say them.

Only the standard library: see forking.
"""

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

from myriad.engines.common import forking, layout


class Launch(Protocol):
    """What of `protocol.orders.Launch` is told to processes."""

    @property
    def env(self) -> dict[str, str]:
        """Variables of the user."""
        ...

    @property
    def per_node(self) -> bool:
        """One process for each node, not for each chip."""
        ...

    @property
    def checkpoint_every_s(self) -> float:
        """Advice."""
        ...

    @property
    def memory_every_s(self) -> float:
        """Advice."""
        ...

    @property
    def memory_shift(self) -> int:
        """Whose memory keeps copies."""
        ...

    @property
    def resume_step(self) -> int:
        """The latest step that may be loaded."""
        ...


class Here(NamedTuple):
    """Where in its gang the node stands, and what it holds."""

    chips: Sequence[int]
    group_rank: int
    group_size: int
    first_rank: int
    world_size: int


class Planned(NamedTuple):
    """One process that an attempt has on this node."""

    rank: int
    env: dict[str, str]
    log: Path


def indices(mask: int) -> list[int]:
    """The chips of a bit mask."""
    return [k for k in range(mask.bit_length()) if mask >> k & 1]


def planned(
    here: Here, launch: Launch, own: Mapping[str, str], logs: Path, inherited: Mapping[str, str]
) -> list[Planned]:
    """The processes on this node, by rank; `own` is what the engine itself tells them."""
    base = {name: value for name, value in inherited.items() if not name.startswith("MYRIAD_")}
    # `python` of a command is the one Myriad runs with, unless the user says otherwise
    base["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{base.get('PATH', os.defpath)}"
    base |= {**forking.DEFAULTS, **launch.env, **_gang(here), **_advice(launch), **own}
    chips = [str(k) for k in here.chips]
    held = [",".join(chips)] if launch.per_node else chips
    found: list[Planned] = []
    for local_rank, names in enumerate(held):
        rank = here.first_rank + local_rank
        of_rank = {
            "RANK": str(rank),
            "LOCAL_RANK": str(local_rank),
            "LOCAL_WORLD_SIZE": str(len(held)),
            "MYRIAD_CHIPS": names,
        }
        found.append(Planned(rank, base | of_rank, layout.log_file(logs, rank)))
    return found


def owned(owner: Path, attempt: str, node: str, *, job: str, service: str) -> dict[str, str]:
    """Whose process it is, and where it leaves what it makes."""
    env = {"MYRIAD_ATTEMPT": attempt, "MYRIAD_NODE": node, "MYRIAD_OUTPUT_DIR": str(owner / "output")}
    if job:
        env |= {"MYRIAD_JOB": job, "MYRIAD_CHECKPOINT_DIR": str(owner / "checkpoints")}
    if service:
        env["MYRIAD_SERVICE"] = service
    return env


def _gang(here: Here) -> dict[str, str]:
    return {
        "WORLD_SIZE": str(here.world_size),
        "GROUP_RANK": str(here.group_rank),
        "GROUP_WORLD_SIZE": str(here.group_size),
    }


def _advice(launch: Launch) -> dict[str, str]:
    env = {"MYRIAD_MEMORY_SHIFT": str(launch.memory_shift)}
    if launch.checkpoint_every_s > 0:
        env["MYRIAD_CHECKPOINT_EVERY_S"] = str(launch.checkpoint_every_s)
    if launch.resume_step >= 0:
        env["MYRIAD_RESUME_STEP"] = str(launch.resume_step)
    if launch.memory_every_s > 0:
        env["MYRIAD_MEMORY_EVERY_S"] = str(launch.memory_every_s)
    return env
