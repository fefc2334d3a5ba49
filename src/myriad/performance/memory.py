"""Peak memory of the fullest chip, split by kind.

Sources: ZeRO (Rajbhandari et al., 2020) for states; Korthikanti et al. (2022, section 4) for activations,
with the
terms of fused attention, gated and grouped layers counted the same way, tensor by tensor.
"""

from typing import Final

import numpy as np

from myriad.performance.columns import Column
from myriad.performance.kernels import ELEMENT_BYTES
from myriad.performance.layer import Layer
from myriad.performance.layouts import Layouts, Recompute, Schedule
from myriad.performance.stages import Stages
from myriad.performance.work import Work

#: Master weight and two Adam moments in 32 bits.
OPTIMIZER_BYTES: Final = 12.0
#: 32-bit logits, their softmax and gradient, for each entry of the vocabulary. Derived from Megatron-LM's
#: fused loss.
LOGIT_BYTES: Final = 10.0
#: Context, communication buffers and workspaces. Estimated: 1 GiB, NCCL's default channels included.
BUFFER_BYTES: Final = 1.0 * 2**30


def peak_bytes(
    work: Work, layouts: Layouts, layer: Layer, stages: Stages, gradient_bytes: Column
) -> dict[str, Column]:
    """Bytes of the fullest chip by kind: weights, gradients, optimizer, activations, buffers; shape (n,)."""
    # the first stage holds the most micro-batches, and the embedding
    edge = work.vocab * work.hidden / layouts.tp * np.where((layouts.pp > 1) | (work.tied > 0), 1.0, 2.0)
    dense = stages.layers * layer.dense_weights + edge
    expert = stages.layers * layer.expert_weights
    sharded = np.maximum(layouts.sharded, 1.0)
    replicas = np.maximum(sharded * layouts.tp / layouts.ep, 1.0)

    def kept(stage: int) -> Column:
        """Weights of which this chip keeps the state, when ZeRO reaches `stage`."""
        split = layouts.zero >= stage
        return np.where(split, dense / sharded + expert / replicas, dense + expert)

    gathered = np.where(layouts.zero >= 3, 2 * (layer.dense_weights + layer.expert_weights), 0.0)
    activations = _activations_bytes(work, layouts, stages)
    return {
        "weights": ELEMENT_BYTES * (kept(3) + gathered),
        "gradients": gradient_bytes * kept(2),
        "optimizer": OPTIMIZER_BYTES * kept(1),
        "activations": activations,
        "buffers": np.full(layouts.tp.shape, BUFFER_BYTES),
    }


def layer_activation_bytes(work: Work, layouts: Layouts) -> tuple[Column, Column]:
    """Of one layer and micro-batch: what is kept for the backward pass, and the whole of it."""
    tokens = layouts.micro_batch * work.sequence / layouts.cp
    outer = np.where(layouts.sequence_parallel, tokens / layouts.tp, tokens)
    share = work.moe_layers / work.layers
    # inputs and outputs of two norms, residual masks
    around = ELEMENT_BYTES * 5 * outer * work.hidden
    heads = work.heads * (work.qk_dim + work.v_dim) + work.kv_heads * (work.qk_dim + work.v_dim)
    dense = (work.ffn_inputs + 1) * work.ffn * (1 - share)
    routed = (work.ffn_inputs + 1) * (
        work.top_k * work.expert_ffn + work.shared_ffn
    ) + 2 * work.top_k * work.hidden
    inside = ELEMENT_BYTES * tokens / layouts.tp * (heads + dense + share * routed)
    # softmax input and output in 16 bits, a mask of one byte
    scores = 5 * layouts.micro_batch * work.heads / layouts.tp * work.sequence * work.sequence / layouts.cp
    scores = np.where(layouts.flash, 0.0, scores)
    whole = around + inside + scores
    selective = np.where(layouts.recompute == Recompute.SELECTIVE, 0.75 * around + inside, whole)
    kept = np.where(layouts.recompute == Recompute.FULL, ELEMENT_BYTES * outer * work.hidden, selective)
    return kept, whole


def _activations_bytes(work: Work, layouts: Layouts, stages: Stages) -> Column:
    """All micro-batches in flight on the first stage, and the logits where one stage has everything."""
    kept, whole = layer_activation_bytes(work, layouts)
    flight = np.minimum(stages.micro_batches, layouts.pp)
    # interleaving keeps one more warm-up round of chunks (Korthikanti et al., 2022, appendix C)
    flight = flight * np.where(layouts.vpp > 1, 1 + (layouts.pp - 1) / (layouts.pp * layouts.vpp), 1.0)
    flight = flight * np.where(layouts.schedule == Schedule.ZERO_BUBBLE_2, 2.0, 1.0)
    stored = kept * stages.layers * np.maximum(flight, 1.0)
    working = np.where(layouts.recompute == Recompute.FULL, whole, 0.0)
    tokens = layouts.micro_batch * work.sequence / layouts.cp
    logits = np.where(layouts.pp > 1, 0.0, LOGIT_BYTES * tokens * work.vocab / layouts.tp)
    return stored + np.maximum(working, logits)
