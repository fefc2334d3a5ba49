"""Layouts as columns: how a training step is spread over chips. One entry is one layout.

Order of ranks, innermost first: TP, CP, DP, PP (Megatron-LM). Expert parallelism reuses the ranks of
TP x CP x DP: experts are spread over `ep` of them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from enum import IntEnum
from typing import Self

import numpy as np
from numpy.typing import NDArray

from myriad.performance.columns import Column, Flags


class Recompute(IntEnum):
    """What the backward pass computes again instead of reading it from memory."""

    NONE = 0
    SELECTIVE = 1
    FULL = 2


class Schedule(IntEnum):
    """Order of micro-batches in a pipeline; 1F1B with vpp > 1 is the interleaved one."""

    ONE_F_ONE_B = 0
    #: ZB-H1 and ZB-H2 of Qi et al. (ICLR 2024): memory of 1F1B, and up to twice that.
    ZERO_BUBBLE = 1
    ZERO_BUBBLE_2 = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Layouts:
    """Columns of shape (n,)."""

    tp: Column
    cp: Column
    pp: Column
    #: Virtual stages (model chunks) a pipeline rank holds.
    vpp: Column
    dp: Column
    ep: Column
    #: Sequences of one micro-batch on one data-parallel rank.
    micro_batch: Column
    #: ZeRO stage: 0 none, 1 optimizer, 2 and gradients, 3 and weights (FSDP).
    zero: Column
    #: Ranks of DP x CP that share the sharded state; 0 means all of them.
    shard: Column
    recompute: Column
    schedule: Column
    sequence_parallel: Flags
    #: Fused attention that keeps no scores.
    flash: Flags
    #: Communication behind computation, as far as the stack can.
    overlap: Flags
    #: Matrix products in 8-bit floats.
    fp8: Flags

    @classmethod
    def of(cls, columns: Mapping[str, object]) -> Self:
        """Layouts from columns or single values; what is not named takes the plain choice.

        Raises ValueError when columns differ in length.
        """
        plain: dict[str, object] = dict.fromkeys(
            ("tp", "cp", "pp", "vpp", "dp", "ep", "micro_batch", "zero"), 1
        )
        plain |= {"shard": 0, "recompute": 0, "schedule": 0}
        plain |= {"sequence_parallel": False, "flash": True, "overlap": True, "fp8": False}
        merged = plain | dict(columns)
        kinds = {field.name: bool if "Flags" in str(field.type) else float for field in fields(cls)}
        arrays = [np.atleast_1d(np.asarray(merged[name], dtype=kind)) for name, kind in kinds.items()]
        return cls(**dict(zip(kinds, np.broadcast_arrays(*arrays), strict=True)))

    def __len__(self) -> int:
        return int(self.tp.shape[0])

    def take(self, index: "NDArray[np.intp] | slice") -> Self:
        """Some of the layouts, by position."""
        return type(self)(**{field.name: getattr(self, field.name)[index] for field in fields(self)})

    @property
    def chips(self) -> Column:
        """Chips of each layout."""
        return self.tp * self.cp * self.pp * self.dp

    @property
    def sharded(self) -> Column:
        """Ranks that share the optimizer state."""
        whole = self.dp * self.cp
        return np.where(self.shard > 0, np.minimum(self.shard, whole), whole)
