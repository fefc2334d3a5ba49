"""Checkpoints in the memory of the gang: each rank's shard on its own node, and a copy on a partner node.

Training stands still only while a rank copies its shard into a file in memory. A thread then sends it to the
partner, over a group of its own. The next one begins only when every rank has said, in the all-reduce that a
step has anyway, that it is idle: so the one before is whole on both nodes whenever a new one is under way,
a node holds at most two steps, and a node that is lost with its partner alive costs only the steps since.
"""

import mmap
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import distributed

from myriad import worker
from myriad.worker import environment, memory
from myriad.worker.recipes.pretrain.shards import Table
from myriad.worker.recipes.pretrain.state import State

#: One message between two ranks.
_MESSAGE_BYTES = 1 << 30


class Mirrored(NamedTuple):
    """A checkpoint that is whole on every node and its partner."""

    step: int
    bytes: int
    stall_s: float  # how long training stood still for it, here
    write_s: float


class Mirror:
    """The part of one rank. All ranks of the gang make one, and call the same methods at the same steps."""

    def __init__(self, place: environment.Placement, folder: Path | None, shift: int, layout: str) -> None:
        self._place, self._folder, self._layout = place, folder, layout
        self._attempt = environment.attempt()
        # Of its own: a thread's messages must not mix with the training's.
        self._group = distributed.new_group(backend="gloo")
        told: list[Any] = [None] * place.world_size
        mine = (place.node_rank, memory.held(folder) if folder else [])
        distributed.all_gather_object(told, mine, group=self._group)
        self._nodes: list[int] = [node for node, _ in told]
        self._partners = partners(self._nodes, shift)
        #: What the gang can put together, and of newer steps how many shards are lost.
        self.found, self.lost = memory.newest_whole([shards for _, shards in told], layout)
        self._worker = ThreadPoolExecutor(1)
        self._task: Future[None] | None = None
        self._broken = folder is None
        #: Why none can be made any more, until it is told.
        self._problem = "" if folder else "MYRIAD_MEMORY_DIR is not set on this node"
        #: What is free for the next step, and what holds steps, the oldest first.
        self._free: _Buffers | None = None
        self._used: list[_Buffers] = []
        self._growing = False
        self._begun: Mirrored | None = None
        self._began = 0.0

    @property
    def busy(self) -> bool:
        """Is a copy under way, or can none be made?"""
        return self._broken or (self._task is not None and not self._task.done())

    def load(self, state: State) -> None:
        """Fill the state from what `found` says, for a gang of any size."""
        assert self.found is not None
        with torch.no_grad():
            _Loader(self._place.rank, self._nodes, self._group, self.found, self._folder).fill(state)
        state.step = self.found.saved.step

    def prepare(self, state: State, *, keep: bool) -> None:
        """Get ready for the first `save`, in the background. Of earlier ones only what was found is kept."""
        self._table = Table(list(state.tensors().values()))
        kept = self.found.saved if keep and self.found else None
        self._run(lambda folder: self._make_room(folder, 0, kept))

    def save(self, state: State) -> None:
        """Copy this rank's shard; returns when training may change it. Only when no rank was `busy`."""
        self._began = time.monotonic()
        buffers, self._free = self._free, None
        assert buffers is not None
        self._used.append(buffers)
        locals_ = [tensor.to_local().detach() for tensor in state.tensors().values()]
        torch._foreach_copy_(self._views(buffers), locals_)
        if state.device.type == "cuda":
            torch.cuda.synchronize()
        step = state.step  # as it is now: the thread may have its turn when training is further
        self._begun = Mirrored(step, self._table.bytes, time.monotonic() - self._began, 0.0)
        self._run(lambda folder: self._replicate(folder, step, buffers))

    def settle(self) -> Mirrored | None:
        """Call when no rank was `busy`: what was begun last is whole now; None if that was known."""
        begun, self._begun = self._begun, None
        self._growing = False
        if begun is not None and len(self._used) == 2:
            self._free = self._used.pop(0)
            self._free.to_drafts()
        elif begun is not None:
            self._growing = True
            self._run(lambda folder: self._make_room(folder, 1, None))
        return begun

    @property
    def has_room(self) -> bool:
        """After `settle`: can `save` follow at once? The same on every rank."""
        return not self._growing

    def complain(self) -> None:
        """Say once that there are no more of them. Called between steps: a peer that is gone tells itself."""
        problem, self._problem = self._problem, ""
        if problem:
            worker.warn(f"no more checkpoints in memory: {problem}")

    def wait(self) -> None:
        """Return when nothing is under way."""
        if self._task is not None:
            self._task.result()

    def forget(self) -> None:
        """The run is over on every rank: free the memory."""
        if self._folder is not None:
            memory.forget(self._folder)

    # ---- in the background -----------------------------------------------------------------------

    def _run(self, work: Callable[[Path], None]) -> None:
        folder = self._folder
        if self._broken or folder is None:
            return

        def guarded() -> None:
            try:
                work(folder)
            except (OSError, RuntimeError) as error:
                # The run is worth more than its copies: it goes on with those on storage.
                self._broken, self._problem = True, str(error)

        self._task = self._worker.submit(guarded)

    def _make_room(self, folder: Path, number: int, keep: memory.Saved | None) -> None:
        """Have the files for one step more."""
        folder.mkdir(parents=True, exist_ok=True)
        memory.forget_others(folder, self._attempt, keep)
        self._free = _Buffers(folder, self._holdings(), self._place.rank, number, self._attempt)

    def _holdings(self) -> dict[int, int]:
        """Of which ranks this one keeps shards, its own first, and how large they are."""
        rank, world = self._place.rank, self._place.world_size
        senders = [r for r, partner in enumerate(self._partners) if partner == rank]
        return {r: self._table.shard_bytes(world, r) for r in (rank, *senders)}

    def _views(self, buffers: "_Buffers") -> list[Any]:
        own = buffers.files[self._place.rank]
        return self._table.views(own.bytes, self._place.world_size, self._place.rank)

    def _replicate(self, folder: Path, step: int, buffers: "_Buffers") -> None:
        rank, world = self._place.rank, self._place.world_size
        saved = memory.Saved(step, self._attempt, world, self._layout)
        own = buffers.files[rank]
        own.rename(memory.file_of(folder, memory.Shard(saved, rank)))
        works = []
        partner = self._partners[rank]
        if partner is not None:
            works += [distributed.isend(m, partner, self._group) for m in _messages(own.bytes)]
        for sender, file in buffers.files.items():
            if sender != rank:
                works += [distributed.irecv(m, sender, self._group) for m in _messages(file.bytes)]
        for work in works:
            work.wait()
        for sender, file in buffers.files.items():
            if sender != rank:
                file.rename(memory.file_of(folder, memory.Shard(saved, sender)))
        assert self._begun is not None
        self._begun = self._begun._replace(write_s=time.monotonic() - self._began)


def partners(nodes: list[int], shift: int) -> list[int | None]:
    """For each rank the one that keeps its copy: the same chip of the node `shift` further on, counted round.

    `nodes` tells each rank's node. None where that is the rank's own node: a gang of one has no partner.
    """
    ranks: dict[int, list[int]] = {}
    for rank, node in enumerate(nodes):
        ranks.setdefault(node, []).append(rank)
    order = sorted(ranks)
    next_to = {node: order[(place + shift) % len(order)] for place, node in enumerate(order)}
    found: list[int | None] = []
    for rank, node in enumerate(nodes):
        other = next_to[node]
        chip = ranks[node].index(rank) % len(ranks[other])
        found.append(None if other == node else ranks[other][chip])
    return found


class _File:
    """A file in memory, mapped: what is copied into it is written."""

    def __init__(self, path: Path, size: int) -> None:
        self.path, self.draft = path, path
        with path.open("w+b") as file:
            # Room for all of it now: a page that cannot be had later would end the process.
            os.posix_fallocate(file.fileno(), 0, max(size, 1))
            self._map = mmap.mmap(file.fileno(), max(size, 1))
        self.bytes = torch.frombuffer(self._map, dtype=torch.uint8)[:size]

    def rename(self, path: Path) -> None:
        self.path = self.path.rename(path)


class _Buffers:
    """The files of one step on one rank: its own shard, and those it keeps for others."""

    def __init__(self, folder: Path, sizes: dict[int, int], rank: int, number: int, attempt: str) -> None:
        self.files: dict[int, _File] = {}
        for k, (owner, size) in enumerate(sizes.items()):
            draft = memory.draft_of(folder, rank, number * len(sizes) + k, attempt)
            self.files[owner] = _File(draft, size)

    def to_drafts(self) -> None:
        for file in self.files.values():
            file.rename(file.draft)


class _Loader:
    """Puts a rank's state together from shards on its own node and on others."""

    def __init__(
        self, rank: int, nodes: list[int], group: Any, whole: memory.Whole, folder: Path | None
    ) -> None:
        self._rank, self._nodes, self._group = rank, nodes, group
        self._whole, self._folder = whole, folder
        self._old, self._new = whole.saved.of, len(nodes)
        self._shards: dict[int, Any] = {}

    def fill(self, state: State) -> None:
        tensors = list(state.tensors().values())
        self._table = table = Table(tensors)
        works, sent, awaited = [], [], []
        for rank in range(self._new):
            for number in table.sources(self._old, self._new, rank):
                reader = self._reader(rank, number)
                if reader == self._rank != rank:
                    sent.append(self._packed(number, rank))
                    works += [distributed.isend(m, rank, self._group) for m in _messages(sent[-1])]
                elif rank == self._rank != reader:
                    data = torch.empty(self._size(number), dtype=torch.uint8)
                    awaited.append((number, data))
                    works += [distributed.irecv(m, reader, self._group) for m in _messages(data)]
        mine = [tensor.to_local().detach() for tensor in tensors]
        for number in table.sources(self._old, self._new, self._rank):
            if self._reader(self._rank, number) == self._rank:
                self._place(mine, number, self._packed(number, self._rank))
        for work in works:
            work.wait()
        for number, data in awaited:
            self._place(mine, number, data)

    def _reader(self, rank: int, number: int) -> int:
        """Who reads a shard for a rank: itself if its node has it, else one of those that can, in turn."""
        holders = self._whole.holders[number]
        return rank if rank in holders else holders[rank % len(holders)]

    def _size(self, number: int) -> int:
        pieces = self._table.pieces((self._old, number), (self._new, self._rank))
        return sum(self._table.piece_bytes(piece) for piece in pieces)

    def _packed(self, number: int, rank: int) -> Any:
        """What a rank needs of a shard on this node, piece after piece."""
        if number not in self._shards:
            self._shards[number] = self._read(number)
        if self._old == self._new:
            return self._shards[number]
        views = self._table.views(self._shards[number], self._old, number)
        pieces = self._table.pieces((self._old, number), (self._new, rank))
        rows = [views[piece.tensor][piece.old].reshape(-1).view(torch.uint8) for piece in pieces]
        return torch.cat(rows) if rows else torch.empty(0, dtype=torch.uint8)

    def _read(self, number: int) -> Any:
        assert self._folder is not None
        path = memory.file_of(self._folder, memory.Shard(self._whole.saved, number))
        size = self._table.shard_bytes(self._old, number)
        try:
            with path.open("rb") as file:
                mapped = mmap.mmap(file.fileno(), max(size, 1), access=mmap.ACCESS_COPY)
        except (OSError, ValueError):
            # So that the next attempt takes the partner's copy, or storage, and does not fail as this one.
            path.unlink(missing_ok=True)
            raise
        return torch.frombuffer(mapped, dtype=torch.uint8)[:size]

    def _place(self, mine: list[Any], number: int, data: Any) -> None:
        at = 0
        for piece in self._table.pieces((self._old, number), (self._new, self._rank)):
            size = self._table.piece_bytes(piece)
            mine[piece.tensor][piece.new].copy_(self._table.typed(piece, data[at : at + size]))
            at += size


def _messages(data: Any) -> Iterator[Any]:
    yield from (data[at : at + _MESSAGE_BYTES] for at in range(0, len(data), _MESSAGE_BYTES))
