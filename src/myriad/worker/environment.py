"""The contract between an engine and the processes it starts: environment variables, read when asked.

Read at each call and never kept: a process forked from a preloaded parent gets its environment only
after this module was imported.
"""

import os
from pathlib import Path

import msgspec


class Placement(msgspec.Struct, frozen=True, kw_only=True):
    """Which process of which gang this is, as torchrun says it."""

    rank: int
    world_size: int
    #: The rank among the processes of this node: the chip to use.
    local_rank: int
    #: Which node of the gang this process is on.
    node_rank: int = 0


def placement() -> Placement:
    """This process's place in its gang; alone in a gang of one when nobody said."""
    return Placement(
        rank=int(os.environ.get("RANK", "0")),
        world_size=int(os.environ.get("WORLD_SIZE", "1")),
        local_rank=int(os.environ.get("LOCAL_RANK", "0")),
        node_rank=int(os.environ.get("GROUP_RANK", "0")),
    )


def attempt() -> str:
    """The attempt's id, which every report carries."""
    return os.environ.get("MYRIAD_ATTEMPT", "")


def checkpoint_dir() -> Path | None:
    """The job's checkpoint folder, shared by its nodes; None outside Myriad."""
    return _path("MYRIAD_CHECKPOINT_DIR")


def output_dir() -> Path | None:
    """The job's folder for results, shared by its nodes; None outside Myriad."""
    return _path("MYRIAD_OUTPUT_DIR")


def report_socket() -> Path | None:
    """Where the node's agent listens for reports."""
    return _path("MYRIAD_REPORT")


def request_file() -> Path | None:
    """The file whose existence asks for a checkpoint."""
    return _path("MYRIAD_REQUESTS")


def checkpoint_every_s() -> float | None:
    """The cadence advised for this job, in seconds, if there is an advice."""
    return _seconds("MYRIAD_CHECKPOINT_EVERY_S")


def memory_dir() -> Path | None:
    """This node's folder in memory for the job, which the node's death empties; None where there is none."""
    return _path("MYRIAD_MEMORY_DIR")


def memory_every_s() -> float | None:
    """The cadence of checkpoints in memory advised for this job, in seconds, if there is an advice."""
    return _seconds("MYRIAD_MEMORY_EVERY_S")


def memory_shift() -> int:
    """How many nodes further on a node's shards are copied to."""
    return int(os.environ.get("MYRIAD_MEMORY_SHIFT", "1"))


def resume_step() -> int | None:
    """The latest step that may be loaded, when newer checkpoints are not to be trusted; 0: from scratch."""
    text = os.environ.get("MYRIAD_RESUME_STEP", "")
    return int(text) if text else None


def service_port() -> int | None:
    """The port a service must bind on this node."""
    text = os.environ.get("MYRIAD_SERVICE_PORT", "")
    return int(text) if text else None


def _seconds(name: str) -> float | None:
    text = os.environ.get(name, "")
    return float(text) if text else None


def _path(name: str) -> Path | None:
    text = os.environ.get(name, "")
    return Path(text) if text else None
