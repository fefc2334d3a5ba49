"""The memory of nodes, which here is folders: gone with the incarnation, and with jobs that left the node.

A job that ends well frees its own, and that of one that was cancelled is abandoned. One that was stopped may
come back for what it left, so it is kept for a while; one that nobody brings back must not hold it for ever.
"""

import contextlib
import shutil
import time
from collections.abc import Collection
from pathlib import Path

from myriad.engines.local import paths

#: So long a job that was stopped finds its memory again.
IDLE_S = 600.0
SWEEP_EVERY_S = 60.0
_ASIDE = ".aside-"


def forget_incarnation(home: Path, node: str, instance: str) -> None:
    """The node died, and its memory with it."""
    with contextlib.suppress(OSError):  # a folder that is not ours to use is none of ours to remove
        shutil.rmtree(paths.memory_dir(home, node, instance), ignore_errors=True)


def forget_all(home: Path) -> None:
    """Nothing of the home is left."""
    with contextlib.suppress(OSError):
        shutil.rmtree(paths.memory_root(home), ignore_errors=True)


def abandon(home: Path, node: str, instance: str, job: str) -> None:
    """The job never comes back: what it has here goes with the next sweep."""
    with contextlib.suppress(OSError):  # it has nothing, or the sweep finds it idle some time
        _renamed(paths.memory_dir(home, node, instance) / job)


def put_aside(home: Path, node: str, instance: str, running: Collection[str]) -> list[Path]:
    """What is to be removed on a node, under names that no job uses: other incarnations, and idle jobs."""
    try:
        mine = paths.memory_dir(home, node, instance)
        others = [path for path in mine.parent.iterdir() if path != mine]
        left = [path for path in mine.iterdir() if path.name not in running] if mine.is_dir() else []
        oldest = time.time() - IDLE_S
        idle = [path for path in left if path.name.startswith(_ASIDE) or path.stat().st_mtime < oldest]
        return others + [_renamed(path) for path in idle]
    except OSError:
        return []


def _renamed(path: Path) -> Path:
    return path if path.name.startswith(_ASIDE) else path.rename(path.with_name(_ASIDE + path.name))
