"""How the state is cut over ranks, and which pieces of old shards make up a new one. Arithmetic alone.

FSDP2 cuts every tensor along its rows into equal chunks; the last ones are shorter or empty. A shard's file
is its rows of each tensor, one tensor after the other, so every rank knows what every file holds.
"""

import hashlib
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import msgspec
import torch

from myriad.worker.recipes.pretrain import config as recipe

_FORMAT = 1


class Piece(NamedTuple):
    """Rows that an old and a new shard of one tensor share: where they are in either."""

    tensor: int
    old: slice
    new: slice


def layout(model: recipe.Model) -> str:
    """Names a model's state: only shards of the same can be put together."""
    key = msgspec.json.encode([_FORMAT, model])
    return hashlib.blake2b(key, digest_size=4).hexdigest()


def cut(rows: int, of: int, number: int) -> tuple[int, int]:
    """The rows of shard `number`: first, and one past the last."""
    each = -(-rows // of)
    return min(number * each, rows), min((number + 1) * each, rows)


class Table:
    """The tensors of a state by their whole shapes."""

    def __init__(self, tensors: Sequence[Any]) -> None:
        self._shapes = [tuple(tensor.shape) for tensor in tensors]
        self._types = [tensor.dtype for tensor in tensors]
        #: Bytes of the whole state.
        self.bytes = sum(tensor.numel() * tensor.dtype.itemsize for tensor in tensors)

    def shard_bytes(self, of: int, number: int) -> int:
        """The size of a shard's file."""
        cuts = [cut(shape[0], of, number) for shape in self._shapes]
        return sum((stop - start) * self._row_bytes(k) for k, (start, stop) in enumerate(cuts))

    def views(self, file: Any, of: int, number: int) -> list[Any]:
        """The tensors of a shard inside its bytes."""
        found, at = [], 0
        for k, shape in enumerate(self._shapes):
            start, stop = cut(shape[0], of, number)
            size = (stop - start) * self._row_bytes(k)
            found.append(file[at : at + size].view(self._types[k]).view(stop - start, *shape[1:]))
            at += size
        return found

    def sources(self, old: int, new: int, number: int) -> list[int]:
        """Which of `old` shards have rows of shard `number` of `new`."""
        if old == new:
            return [number]
        found: set[int] = set()
        for rows in {shape[0] for shape in self._shapes}:
            start, stop = cut(rows, new, number)
            each = -(-rows // old)
            found.update(range(start // each, -(-stop // each)) if start < stop else ())
        return sorted(found)

    def pieces(self, old: tuple[int, int], new: tuple[int, int]) -> Iterator[Piece]:
        """What the shards `old` and `new` (of, number) share of each tensor."""
        for k, shape in enumerate(self._shapes):
            old_start, old_stop = cut(shape[0], *old)
            new_start, new_stop = cut(shape[0], *new)
            start, stop = max(old_start, new_start), min(old_stop, new_stop)
            if start < stop:
                yield Piece(
                    k, slice(start - old_start, stop - old_start), slice(start - new_start, stop - new_start)
                )

    def piece_bytes(self, piece: Piece) -> int:
        """Its size."""
        return (piece.new.stop - piece.new.start) * self._row_bytes(piece.tensor)

    def typed(self, piece: Piece, data: Any) -> Any:
        """Bytes of a piece as its rows."""
        shape = self._shapes[piece.tensor]
        return data.view(self._types[piece.tensor]).view(piece.new.stop - piece.new.start, *shape[1:])

    def _row_bytes(self, tensor: int) -> int:
        return torch.Size(self._shapes[tensor][1:]).numel() * self._types[tensor].itemsize
