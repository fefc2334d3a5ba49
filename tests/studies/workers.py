"""What stands in for simulations: functions that fresh processes import by name."""

import json
import os
import signal
import time
from pathlib import Path

import msgspec

from myriad.kernel.errors import UserError
from myriad.kernel.rng import Stream
from myriad.studies.seeds import Finding
from myriad.studies.sweeps import Ran


def stand_in(task: bytes) -> bytes:
    """A result that depends on the task only. Dies once, as a killed worker does, if the task says where to
    leave a mark of it; leaves a mark of the Ray node where it was begun if it says where."""
    given = json.loads(task)
    if marks := given.get("marks"):
        _mark(Path(marks), f"{given['seed']}-{given['spares']}")
    if mark := given.get("die"):
        _die_once(Path(mark))
    stream = Stream(given["seed"], str(given.get("spares", 0)))
    figures = {"goodput": 0.9 + 0.01 * given.get("spares", 0) + stream.uniform(0, 0.01)}
    return msgspec.json.encode(Ran(digest=f"{stream.integer(0, 1 << 30):08x}", figures=figures, broken=[]))


#: The task that takes for ever where it is first begun.
STUCK = "12-1"


def _mark(folder: Path, name: str) -> None:
    import ray

    here = f"{name}@{ray.get_runtime_context().get_node_id()}"
    first = not any(path.name.startswith(f"{name}@") for path in folder.iterdir())
    (folder / here).touch()
    time.sleep(60 if first and name == STUCK else 0.1)


def _die_once(mark: Path) -> None:
    try:
        mark.touch(exist_ok=False)
    except FileExistsError:
        return
    os.kill(os.getpid(), signal.SIGKILL)


def refuse(task: bytes) -> bytes:
    """A task that its user got wrong."""
    raise UserError("is wrong", field="task", value=task.decode())


def always_die(_task: bytes) -> bytes:
    """A task that kills whoever does it."""
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


def check(task: bytes) -> bytes:
    """A check that fails at every seventh seed."""
    seed = int(task)
    return msgspec.json.encode(Finding(seed=seed, problem="it broke" if seed % 7 == 0 else ""))
