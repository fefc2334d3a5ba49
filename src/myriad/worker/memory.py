"""Shards of checkpoints in the memory of nodes: their names, and which step is whole. Files alone, no torch.

Each node of a job has a folder in memory that dies with the node. A file in it is one rank's shard of one
step, its own or a copy for a partner; it gets its name only when every byte is there. A step is whole when
the nodes of a gang hold all its shards between them, whoever wrote them.
"""

import re
import shutil
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

_SHARD = re.compile(r"step-(\d{8,})\.(\d+)-of-(\d+)\.([0-9a-f]{8})\.(.*)")
_DRAFT = re.compile(r"draft-(\d+-\d+)\.(.*)")


class Saved(NamedTuple):
    """One checkpoint: shards of different ones never mix, not even of the same step."""

    step: int
    #: The attempt that wrote it; it never runs a second time.
    attempt: str
    #: How many shards it has.
    of: int
    #: Names the model whose state it is.
    layout: str


class Shard(NamedTuple):
    """One file: shard `number` of a checkpoint."""

    saved: Saved
    number: int


class Whole(NamedTuple):
    """A checkpoint of which every shard is at hand."""

    saved: Saved
    #: For each shard the ranks that can read it.
    holders: tuple[tuple[int, ...], ...]


def file_of(folder: Path, shard: Shard) -> Path:
    """Where a shard lies once it is complete."""
    step, attempt, of, layout = shard.saved
    return folder / f"step-{step:08d}.{shard.number}-of-{of}.{layout}.{attempt}"


def draft_of(folder: Path, rank: int, number: int, attempt: str) -> Path:
    """Where a rank of an attempt fills a file that has no name yet."""
    return folder / f"draft-{rank}-{number}.{attempt}"


def held(folder: Path) -> list[Shard]:
    """The shards in a folder; none when it is not there."""
    return [shard for _, shard, _ in _entries(folder) if shard]


def newest_whole(held_by: Sequence[Collection[Shard]], layout: str) -> tuple[Whole | None, dict[int, int]]:
    """The newest checkpoint that ranks can put together, and of each newer step how many shards are lost.

    `held_by` lists for each rank what its node holds.
    """
    holders: dict[Saved, dict[int, list[int]]] = {}
    for rank, shards in enumerate(held_by):
        for saved, number in shards:
            if saved.layout == layout:
                holders.setdefault(saved, {}).setdefault(number, []).append(rank)
    lost: dict[int, int] = {}
    for saved in sorted(holders, reverse=True):
        found = holders[saved]
        if len(found) == saved.of:
            return Whole(saved, tuple(tuple(found[number]) for number in range(saved.of))), lost
        lost[saved.step] = saved.of - len(found)
    return None, lost


def forget_others(folder: Path, attempt: str, keep: Saved | None) -> None:
    """Remove what earlier attempts left, but for the checkpoint `keep`."""
    for path, shard, writer in _entries(folder):
        if writer != attempt and (shard is None or shard.saved != keep):
            path.unlink(missing_ok=True)


def forget(folder: Path) -> None:
    """The job is over: free its memory on this node."""
    shutil.rmtree(folder, ignore_errors=True)


def _entries(folder: Path) -> Iterator[tuple[Path, Shard | None, str]]:
    """Each file of ours, what it is once it has its name, and the attempt that wrote it."""
    for path in folder.iterdir() if folder.is_dir() else ():
        if match := _SHARD.fullmatch(path.name):
            step, number, of, layout, attempt = match.groups()
            yield path, Shard(Saved(int(step), attempt, int(of), layout), int(number)), attempt
        elif match := _DRAFT.fullmatch(path.name):
            yield path, None, match[2]
