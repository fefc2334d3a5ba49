"""The step time and the memory of training under each layout: layers, then stages, then the whole step.

`predict` is one pass over columns; the parts in order: layer (compressed to distinct cuts), stages,
pipeline, gradient
exchange, optimizer, memory.
"""

from dataclasses import dataclass, fields
from typing import Final

import numpy as np
from numpy.typing import NDArray

from myriad.performance import collectives, kernels, memory, stages
from myriad.performance import layer as layers
from myriad.performance.columns import Column, column, total
from myriad.performance.kernels import ELEMENT_BYTES
from myriad.performance.layer import Layer
from myriad.performance.layouts import Layouts, Schedule
from myriad.performance.machine import Machine
from myriad.performance.stages import Stages
from myriad.performance.work import Work

#: Causes of time, in the order people read them.
CAUSES: Final = (
    "gemm",
    "attention",
    "memory_bound",
    "host",
    "recompute",
    "tp",
    "cp",
    "ep",
    "pp",
    "dp",
    "bubble",
    "optimizer",
    "straggle",
)
KINDS: Final = ("weights", "gradients", "optimizer", "activations", "logits", "buffers")
#: Bytes that Adam moves for each weight it owns: master weight and moments read and written, gradient read.
_ADAM_BYTES: Final = 28.0
#: Columns of a layout that decide what one layer costs.
_CUT: Final = (
    "tp", "cp", "ep", "micro_batch", "recompute", "sequence_parallel", "flash", "overlap", "fp8",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """What was predicted; every column of shape (n,)."""

    step_s: Column
    seconds: dict[str, Column]  # by cause; they sum to step_s
    peak_bytes: Column
    memory: dict[str, Column]  # by kind; they sum to peak_bytes
    model_flops: Column  # of the whole step

    def mfu(self, machine: Machine, layouts: Layouts) -> Column:
        """Share of the 16-bit peak of all chips that model FLOPs reach."""
        return self.model_flops / (self.step_s * layouts.chips * machine.flops)


def predict(work: Work, machine: Machine, layouts: Layouts) -> Prediction:
    """Step time by cause and peak memory by kind. Layouts must be legal (`legality`)."""
    layer = _layer_of(work, machine, layouts)
    parts = stages.split(work, layouts)
    fsdp_f, fsdp_b = _sharded_exchange_s(machine, layouts, layer)
    seconds = _pipeline_s(work, machine, layouts, layer, parts, fsdp_f + fsdp_b)
    seconds["dp"] = seconds["dp"] + _gradient_exchange_s(work, machine, layouts, layer, parts)
    seconds["optimizer"] = _optimizer_s(work, machine, layouts, layer, parts)
    seconds["host"] = seconds["host"] + machine.step_s
    whole = total(seconds.values())
    nodes = np.maximum(layouts.chips / 8.0, 1.0)
    seconds["straggle"] = whole * machine.straggle_share * np.log2(nodes)
    kinds = memory.peak_bytes(work, machine, layouts, layer, parts)
    return Prediction(
        step_s=whole + seconds["straggle"],
        seconds={cause: seconds[cause] for cause in CAUSES},
        peak_bytes=total(kinds.values()),
        memory=kinds,
        model_flops=np.broadcast_to(work.model_flops, whole.shape),
    )


def _layer_of(work: Work, machine: Machine, layouts: Layouts) -> Layer:
    """The layer under each layout; computed once for each distinct cut when work and machine are the same
    for all.
    """
    uniform = work.layers.ndim == 0 and machine.flops.ndim == 0
    if not uniform or len(layouts) < 256:
        return layers.cost(work, machine, layouts)
    first, inverse = _distinct([getattr(layouts, name) for name in _CUT])
    found = layers.cost(work, machine, layouts.take(first))
    return Layer(
        forward={cause: part[inverse] for cause, part in found.forward.items()},
        backward={cause: part[inverse] for cause, part in found.backward.items()},
        **{
            field.name: getattr(found, field.name)[inverse]
            for field in fields(Layer)
            if field.name not in ("forward", "backward")
        },
    )


def _distinct(columns: "list[NDArray[np.generic]]") -> "tuple[NDArray[np.intp], NDArray[np.intp]]":
    """Positions of one entry of each distinct combination, and for every entry which combination it has."""
    code = np.zeros(columns[0].shape, dtype=np.int64)
    for values in columns:
        kinds, place = np.unique(values, return_inverse=True)
        code = code * len(kinds) + place
    _, first, inverse = np.unique(code, return_index=True, return_inverse=True)
    return first, inverse


def _pipeline_s(
    work: Work, machine: Machine, layouts: Layouts, layer: Layer, parts: Stages, fsdp: Column
) -> dict[str, Column]:
    """All micro-batches through the fullest stage by cause, hand-overs, and the bubble before and after.

    Bubble of 1F1B: (pp - 1) / vpp micro-batches (Narayanan et al., 2021); of ZB-H1: (pp - 1)(F + B - W),
    and none for
    ZB-H2 (Qi et al., 2024), where B is the input half and W the weight half of the backward pass.
    """
    per_stage = parts.layers * parts.micro_batches
    seconds = {cause: per_stage * (layer.forward[cause] + layer.backward[cause]) for cause in layer.forward}
    seconds["recompute"] = per_stage * layer.recompute
    seconds["dp"] = per_stage * fsdp
    whole = layer.forward_s + layer.backward_s + fsdp
    head = _head_s(work, machine, layouts)
    stage_s = parts.layers * whole
    # the last stage has the head: where it is the slowest, everybody waits for it
    excess = np.maximum(parts.last_layers * whole + head - stage_s, 0.0)
    seconds["gemm"] = seconds["gemm"] + excess * parts.micro_batches
    size = layouts.micro_batch * work.sequence / layouts.cp * work.hidden * ELEMENT_BYTES / layouts.tp
    send = collectives.send_s(machine, size, layouts.tp * layouts.cp * layouts.dp) + machine.pipeline_s
    piped = layouts.pp > 1
    seconds["pp"] = np.where(piped, 2 * layouts.vpp * send * parts.micro_batches, 0.0)
    idle = stage_s
    # F + B - W, with the whole backward pass B + W
    filled = parts.layers * (whole - 2 * layer.weight_gradient)
    idle = np.where(layouts.schedule == Schedule.ZERO_BUBBLE, np.maximum(filled, 0.0), idle)
    idle = np.where(layouts.schedule == Schedule.ZERO_BUBBLE_2, 0.0, idle)
    seconds["bubble"] = np.where(piped, (layouts.pp - 1) * (idle / layouts.vpp + 2 * send), 0.0)
    return seconds


def _head_s(work: Work, machine: Machine, layouts: Layouts) -> Column:
    """Logits and loss of one micro-batch, forward and backward."""
    tokens = layouts.micro_batch * work.sequence / layouts.cp
    width = work.vocab / layouts.tp
    product = kernels.gemm_s(machine, tokens, work.hidden, width, np.zeros((), dtype=bool))
    # 32-bit logits: written, read by max, sum and gradient
    return 3 * product + kernels.moved_s(machine, 12 * tokens * width)


def _sharded_exchange_s(machine: Machine, layouts: Layouts, layer: Layer) -> tuple[Column, Column]:
    """Exposed exchange of one layer's weights and gradients in each micro-batch under ZeRO-2 and 3 (FSDP).

    Weights are gathered before the forward pass, and under ZeRO-3 again before the backward pass;
    gradients are
    scattered after it. What hides behind computation still slows it by contention.
    """
    sharded, stride = layouts.sharded, layouts.tp
    # experts are on fewer ranks already, and shared by those that hold the same ones
    owners = np.maximum(sharded * layouts.tp / layouts.ep, 1.0)

    def exchange(element_bytes: Column | float) -> Column:
        dense = collectives.gather_s(machine, layer.dense_weights * element_bytes, sharded, stride)
        experts = collectives.gather_s(machine, layer.expert_weights * element_bytes, owners, layouts.ep)
        return dense + experts

    gather, scatter = exchange(ELEMENT_BYTES), exchange(machine.reduce_bytes)
    replicas = layouts.dp * layouts.cp / np.maximum(sharded, 1.0)
    held = layer.dense_weights / np.maximum(sharded, 1.0) + layer.expert_weights / owners
    across = collectives.all_reduce_s(machine, held * machine.reduce_bytes, replicas, stride * sharded)
    forward = np.where(layouts.zero >= 2, gather, 0.0)
    backward = np.where(layouts.zero >= 2, scatter + across, 0.0) + np.where(layouts.zero >= 3, gather, 0.0)

    def exposed(sent: Column, computing: Column) -> Column:
        window = np.where(layouts.overlap, machine.fsdp_overlap_share * computing, 0.0)
        shared = np.minimum(sent, window)
        return sent - shared + machine.fsdp_contention_share * shared

    return exposed(forward, layer.forward_s), exposed(backward, layer.backward_s)


def _gradient_exchange_s(
    work: Work, machine: Machine, layouts: Layouts, layer: Layer, parts: Stages
) -> Column:
    """Exposed all-reduce of gradients, or their scatter and the gather of weights under ZeRO-1, once a
    step.
    """
    edge = work.vocab * work.hidden / layouts.tp
    dense = parts.layers * layer.dense_weights + edge * np.where(layouts.pp > 1, 0.5, 2.0 - work.tied)
    expert = parts.layers * layer.expert_weights
    replicas, stride = layouts.dp * layouts.cp, layouts.tp
    sharded = np.maximum(layouts.sharded, 1.0)
    grads, weights = machine.reduce_bytes, column(ELEMENT_BYTES)
    # ZeRO within groups: scatter inside, all-reduce of the shards across
    scatter = collectives.gather_s(machine, dense * grads, sharded, stride)
    across = collectives.all_reduce_s(
        machine, dense / sharded * grads, np.maximum(replicas / sharded, 1.0), stride * sharded
    )
    gather = collectives.gather_s(machine, dense * weights, sharded, stride) + machine.shard_latency_s * (
        sharded - 1
    )
    owners = np.maximum(replicas * layouts.tp / layouts.ep, 1.0)
    experts = collectives.gather_s(machine, expert * (grads + weights), owners, layouts.ep)
    reduce = collectives.all_reduce_s(machine, dense * grads, replicas, stride)
    exchange = np.where(layouts.zero == 0, reduce, scatter + across + gather) + experts
    window = parts.layers * layer.backward_s / layouts.vpp
    hidden = np.where(layouts.overlap, np.minimum(exchange * machine.dp_overlap_share, window), 0.0)
    return np.where(layouts.zero >= 2, 0.0, exchange - hidden)


def _optimizer_s(work: Work, machine: Machine, layouts: Layouts, layer: Layer, parts: Stages) -> Column:
    """Adam over the weights whose state this chip owns: bound by memory."""
    edge = work.vocab * work.hidden / layouts.tp * np.where(layouts.pp > 1, 0.5, 2.0 - work.tied)
    owned = parts.layers * (layer.dense_weights + layer.expert_weights) + edge
    split = np.where(layouts.zero >= 1, np.maximum(layouts.sharded, 1.0), 1.0)
    moved = owned / split * _ADAM_BYTES + np.where(layouts.zero <= 1, 3 * ELEMENT_BYTES * owned, 0.0)
    return kernels.moved_s(machine, moved / ELEMENT_BYTES)
