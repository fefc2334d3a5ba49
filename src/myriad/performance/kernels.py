"""How long one kernel runs: matrix products, attention, and operations that only move memory.

Each is a rate times an amount; the rates are shares of a chip's peaks (`Machine`). Bytes are those of
16-bit values.
"""

from typing import Final

import numpy as np

from myriad.performance.columns import Column, Flags
from myriad.performance.machine import Machine

#: Bytes of an activation or weight element in 16-bit training.
ELEMENT_BYTES: Final = 2.0
#: FLOPs of the backward pass of fused attention over those of its forward pass: five products instead of two
#: (Dao, FlashAttention-2, 2023, section 3.1).
FLASH_BACKWARD: Final = 2.5
#: Share of the forward rate that its backward pass reaches: measured by its authors at 0.75 to 0.9 (the
#: same paper, fig. 5).
FLASH_BACKWARD_SHARE: Final = 0.85


def gemm_s(machine: Machine, m: Column, k: Column, n: Column, fp8: Flags) -> Column:
    """An (m, k) by (k, n) product: 2mkn FLOPs at a rate that halves when a dimension falls to `gemm_half`.

    The rate is the asymptotic one over (1 + half/m)(1 + half/k)(1 + half/n): tiles at the edges and short
    accumulations are what small products lose.
    """
    half = machine.gemm_half
    rate = np.where(fp8, machine.fp8_flops * machine.fp8_share, machine.flops * machine.gemm_share)
    # (m + half)(k + half)(n + half) is mkn times the loss
    time = 2 * (m + half) * (k + half) * (n + half) / rate
    return np.where((m > 0) & (k > 0) & (n > 0), time, 0.0)


def fused_attention_s(machine: Machine, flops: Column) -> Column:
    """Forward pass of attention that keeps its scores on the chip, causal: half of `flops` is left out."""
    return flops / 2 / (machine.flops * machine.attention_share)


def plain_attention_s(machine: Machine, flops: Column, scores: Column) -> Column:
    """Forward pass of attention as two products with a softmax between them; `scores` elements go through
    memory.
    """
    products = flops / (machine.flops * machine.gemm_share)
    return products + moved_s(machine, scores * machine.score_passes)


def moved_s(machine: Machine, elements: Column) -> Column:
    """Move 16-bit elements through memory once."""
    return elements * ELEMENT_BYTES / (machine.memory_bytes_per_s * machine.memory_share)
