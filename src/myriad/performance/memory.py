"""Peak memory of the fullest chip, split by kind.

Tensor by tensor, after ZeRO (Rajbhandari et al., 2020) for states and Korthikanti et al. (2022, section 4)
for activations. Two stages of a pipeline are counted, and the fuller one is told: the first has the embedding
and the most micro-batches in flight, the last has the head and the logits. What a software stack keeps of
each tensor is in its parameters (`Machine`).
"""

from typing import Final, NamedTuple

import numpy as np

from myriad.performance.columns import Column, total
from myriad.performance.kernels import ELEMENT_BYTES
from myriad.performance.layer import Layer
from myriad.performance.layouts import Layouts, Recompute, Schedule
from myriad.performance.machine import Machine
from myriad.performance.stages import Stages
from myriad.performance.work import Work

#: Master weight and two Adam moments in 32 bits.
OPTIMIZER_BYTES: Final = 12.0
#: Of a score of unfused attention: softmax and its dropout in 16 bits, a mask of one byte (Korthikanti et
#: al., 2022, section 4.1).
SCORE_BYTES: Final = 5.0
#: Layers whose weights FSDP holds whole: the one at work, and the next one.
GATHERED_LAYERS: Final = 2.0
#: Vocabularies are padded to a multiple of this on each rank (Megatron-LM).
_PAD: Final = 128.0


class Kept(NamedTuple):
    """Activations of one layer and micro-batch on one chip, bytes; shape (n,)."""

    stored: Column  # from the forward to the backward pass
    working: Column  # besides, while this layer runs backward


class _State(NamedTuple):
    """Bytes of one kind: of each layer of a stage, and what does not depend on their number."""

    layer: Column
    fixed: Column


def peak_bytes(
    work: Work, machine: Machine, layouts: Layouts, layer: Layer, stages: Stages
) -> dict[str, Column]:
    """Bytes of the fullest chip by kind, each of shape (n,).

    Kinds: weights, gradients, optimizer, activations, logits, buffers. Of `layer` only the weights are read.
    """
    kept = layer_kept(work, machine, layouts)
    states = _states(work, machine, layouts, layer)
    first, last = _edge_layers(work, machine, layouts, stages)
    first_flight, last_flight = _in_flight(layouts, stages)
    logits = machine.logit_bytes * _tokens(work, layouts) * work.vocab / layouts.tp
    # where embedding and head count as layers the second stage has one more, and one micro-batch less in
    # flight
    of_second = stages.layers * np.maximum(first_flight - 1, 0.0)
    of_first = kept.stored * np.maximum(first * first_flight, of_second) + kept.working
    # the logits are gone when the last layer starts its backward pass
    of_last = kept.stored * last * last_flight + np.maximum(kept.working - logits, 0.0)
    more = (last - first) * total(state.layer for state in states.values())
    fuller = more + of_last + logits > of_first
    layers = np.where(fuller, last, first)
    kinds = {kind: state.layer * layers + state.fixed for kind, state in states.items()}
    kinds["activations"] = np.where(fuller, of_last, of_first)
    kinds["logits"] = np.where(fuller, logits, 0.0)
    moving = kinds["activations"] + kinds["logits"]
    kinds["buffers"] = machine.buffer_bytes + machine.fragmentation_share * moving
    return kinds


def _edge_layers(work: Work, machine: Machine, layouts: Layouts, stages: Stages) -> tuple[Column, Column]:
    """Layers of the first and the last stage.

    Where the stack counts the head as layers, each stage takes layers until it has passed its part of the
    sum (nanotron).
    """
    head = work.vocab * work.hidden
    parts = (work.layers + work.layers * head / (work.matmul_parameters - head)) / layouts.pp
    counted = (machine.head_counted > 0) & (layouts.pp > 1)
    first = np.where(counted, np.minimum(np.floor(parts) + 1, work.layers), stages.first_layers)
    before = np.minimum(np.floor(parts * (layouts.pp - 1)) + 1, work.layers)
    return first, np.where(counted, work.layers - before, stages.last_layers)


def _tokens(work: Work, layouts: Layouts) -> Column:
    """Tokens of a micro-batch on one chip, before TP."""
    return layouts.micro_batch * work.sequence / layouts.cp


def _states(work: Work, machine: Machine, layouts: Layouts, layer: Layer) -> dict[str, _State]:
    """Weights, gradients and optimizer of a stage that has an embedding or a head, or both.

    FSDP shards 32-bit weights, and keeps in 16 bits only what is gathered: two layers, embedding and head. In
    a pipeline it would gather for every micro-batch, so there weights and summed gradients stay whole
    (torchtitan, reshard_after_forward).
    """
    one, piped = layer.dense_weights + layer.expert_weights, layouts.pp > 1
    edge = np.ceil(work.vocab / (_PAD * layouts.tp)) * _PAD * work.hidden
    # one stage has both ends, and one copy of them where they are tied
    edge = edge * np.where(piped, 1.0, 2.0 - work.tied)
    sharded = np.maximum(layouts.sharded, 1.0)
    replicas = np.maximum(sharded * layouts.tp / layouts.ep, 1.0)
    own, own_edge = layer.dense_weights / sharded + layer.expert_weights / replicas, edge / sharded
    sharding = np.where(layouts.zero >= 1, own, one), np.where(layouts.zero >= 1, own_edge, edge)
    # whole weights and gradients, shards of gradients, and what passes through of the layer at work
    gathering = (layouts.zero >= 3) & ~piped
    scattering = (layouts.zero >= 2) & ~piped
    summed = np.where(scattering, 0.0, 1.0)
    shards = np.where(layouts.zero >= 2, 1.0, 0.0)
    passing = np.where(scattering, machine.reduce_bytes * one, 0.0)
    return {
        "weights": _State(
            ELEMENT_BYTES * np.where(gathering, 0.0, one),
            ELEMENT_BYTES * (edge + np.where(gathering, GATHERED_LAYERS * one, 0.0)),
        ),
        "gradients": _State(
            machine.gradient_bytes * (summed * one + shards * own),
            machine.gradient_bytes * (summed * edge + shards * own_edge) + passing,
        ),
        "optimizer": _State(OPTIMIZER_BYTES * sharding[0], OPTIMIZER_BYTES * sharding[1]),
    }


def _in_flight(layouts: Layouts, stages: Stages) -> tuple[Column, Column]:
    """Micro-batches of which the first and the last stage keep activations.

    1F1B: pp and 1. Interleaved: (pp - 1) / vpp more on the first (Korthikanti et al., 2022, appendix C),
    and on the last all chunks but its final one wait for a round. ZB-H2 keeps up to twice as many (Qi et
    al., 2024).
    """
    first = layouts.pp + np.where(layouts.vpp > 1, (layouts.pp - 1) / layouts.vpp, 0.0)
    last = (layouts.pp * (layouts.vpp - 1) + 1) / layouts.vpp
    twice = np.where(layouts.schedule == Schedule.ZERO_BUBBLE_2, 2.0, 1.0)
    return (
        np.minimum(first * twice, stages.micro_batches),
        np.minimum(last * twice, stages.micro_batches),
    )


def layer_kept(work: Work, machine: Machine, layouts: Layouts) -> Kept:
    """Activations of one average layer."""
    tokens = _tokens(work, layouts)
    outer = np.where(layouts.sequence_parallel, tokens / layouts.tp, tokens)
    boundary = ELEMENT_BYTES * outer * work.hidden
    around = machine.outer_kept * boundary + ELEMENT_BYTES * outer * (work.q_rank + work.kv_rank)
    heads = (work.heads + work.kv_heads) * (work.qk_dim + work.v_dim)
    share = work.moe_layers / work.layers
    wide = (1 - share) * work.ffn + share * (work.top_k * work.expert_ffn + work.shared_ffn)
    routed = share * 2 * work.top_k * work.hidden
    slice_bytes = ELEMENT_BYTES * tokens / layouts.tp
    feed = (machine.inner_kept + work.ffn_inputs) * wide
    inside = slice_bytes * (heads + feed + routed)
    scores = layouts.micro_batch * work.heads / layouts.tp * work.sequence * work.sequence / layouts.cp
    scores = np.where(layouts.flash, 0.0, SCORE_BYTES * scores)
    selective = machine.selective_kept_share * (around + inside)
    full = layouts.recompute == Recompute.FULL
    some = layouts.recompute == Recompute.SELECTIVE
    stored = np.where(full, boundary, np.where(some, selective, around + inside + scores))
    again = around + inside + scores - stored
    # gradients of the feed-forward layer, its input gathered over TP and the gradient of that
    flow = slice_bytes * (1 + work.ffn_inputs) * wide + 2 * ELEMENT_BYTES * tokens * work.hidden
    return Kept(stored, np.maximum(again, 0.0) + flow)
