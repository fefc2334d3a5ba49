"""What data-parallel ranks say to each other: weights and gradients, under each stage of ZeRO.

Between `layer` and `training`. Dense weights are shared by DP x CP ranks, TP apart; those of an expert only
by the ranks that hold the same expert. Source: Rajbhandari et al. (2020); ZeRO-2 is FSDP's SHARD_GRAD_OP.
"""

from typing import Final, NamedTuple

import numpy as np

from myriad.performance import collectives, kernels
from myriad.performance.columns import Column, Flags
from myriad.performance.kernels import ELEMENT_BYTES
from myriad.performance.layer import Layer
from myriad.performance.layouts import Layouts
from myriad.performance.machine import Machine
from myriad.performance.stages import Stages
from myriad.performance.work import Work

#: Bytes that Adam moves for each weight it owns: master weight and moments read and written, gradient read.
_ADAM_BYTES: Final = 28.0
#: 16-bit values moved for each weight a chip holds whole: gradient read and cleared, weight written.
_COPIES: Final = 3.0


class Owners(NamedTuple):
    """Ranks that share the state of a weight; each column of shape (n,)."""

    dense: Column  # shards of a dense weight
    experts: Column  # shards of an expert's
    dense_replicas: Column  # groups of shards (hybrid sharding), or 1
    dense_ranks: Column  # all that hold a dense weight
    expert_ranks: Column


def owners(layouts: Layouts) -> Owners:
    """Who shares what under each layout, whatever the stage of ZeRO."""
    ranks = layouts.dp * layouts.cp
    sharded = np.maximum(layouts.sharded, 1.0)
    return Owners(
        dense=sharded,
        experts=np.maximum(sharded * layouts.tp / layouts.ep, 1.0),
        dense_replicas=np.maximum(ranks / sharded, 1.0),
        dense_ranks=ranks,
        expert_ranks=np.maximum(ranks * layouts.tp / layouts.ep, 1.0),
    )


def every_micro_batch(layouts: Layouts) -> Flags:
    """Whether weights and gradients are exchanged in every micro-batch, as FSDP does outside pipelines.

    In a pipeline it keeps weights whole, as `memory` has it, and exchanges once a step like ZeRO-1.
    """
    found: Flags = np.logical_and(layouts.zero >= 2, layouts.pp == 1)
    return found


def edge_weights(work: Work, layouts: Layouts) -> Column:
    """Weights of embedding and head on a chip of a stage that has any: one of them in a pipeline."""
    return work.vocab * work.hidden / layouts.tp * np.where(layouts.pp > 1, 1.0, 2.0 - work.tied)


def sharded_s(work: Work, machine: Machine, layouts: Layouts, layer: Layer) -> tuple[Column, Column]:
    """Exposed exchange in each micro-batch under ZeRO-2 and 3 (FSDP): of one layer, and of the embedding.

    Weights are gathered before the forward pass, and under ZeRO-3 again before the backward pass; gradients
    are scattered after it. What hides behind computing still slows it, by contention. The embedding hides
    behind nothing: its gather comes first and its scatter last.
    """
    who, stride = owners(layouts), layouts.tp
    used = every_micro_batch(layouts)

    def exchange(dense: Column, expert: Column, element_bytes: Column | float) -> Column:
        time = collectives.gather_s(machine, dense * element_bytes, who.dense, stride)
        return time + collectives.gather_s(machine, expert * element_bytes, who.experts, layouts.ep)

    gather = exchange(layer.dense_weights, layer.expert_weights, ELEMENT_BYTES)
    scatter = exchange(layer.dense_weights, layer.expert_weights, machine.reduce_bytes)
    held = layer.dense_weights / who.dense + layer.expert_weights / who.experts
    across = collectives.all_reduce_s(
        machine, held * machine.reduce_bytes, who.dense_replicas, stride * who.dense
    )

    def exposed(sent: Column, computing: Column) -> Column:
        window = np.where(layouts.overlap, machine.fsdp_overlap_share * computing, 0.0)
        shared = np.minimum(sent, window)
        return sent - shared + machine.fsdp_contention_share * shared

    forward = exposed(gather, layer.forward_s)
    backward = exposed(scatter + across + np.where(layouts.zero >= 3, gather, 0.0), layer.backward_s)
    nothing = np.zeros(())
    embedding = work.vocab * work.hidden / layouts.tp
    edge = exchange(embedding, nothing, ELEMENT_BYTES) + exchange(embedding, nothing, machine.reduce_bytes)
    return np.where(used, forward + backward, 0.0), np.where(used, edge, 0.0)


def gradients_s(work: Work, machine: Machine, layouts: Layouts, layer: Layer, parts: Stages) -> Column:
    """Exposed exchange once a step.

    ZeRO-0 reduces gradients; ZeRO-1 scatters them and gathers weights, within groups where it shards within
    groups. Behind the last backward pass hides what the stack overlaps.
    """
    who, stride = owners(layouts), layouts.tp
    dense = parts.layers * layer.dense_weights + edge_weights(work, layouts)
    expert = parts.layers * layer.expert_weights
    grads, weights = machine.reduce_bytes, ELEMENT_BYTES
    scatter = collectives.gather_s(machine, dense * grads, who.dense, stride)
    shards = dense / who.dense * grads
    across = collectives.all_reduce_s(machine, shards, who.dense_replicas, stride * who.dense)
    gather = collectives.gather_s(machine, dense * weights, who.dense, stride)
    gather = gather + machine.shard_latency_s * (who.dense - 1)
    reduced = collectives.all_reduce_s(machine, dense * grads, who.dense_ranks, stride)
    experts = expert * np.where(layouts.zero == 0, 2 * grads, grads + weights)
    exchange = np.where(layouts.zero == 0, reduced, scatter + across + gather)
    exchange = exchange + collectives.gather_s(machine, experts, who.expert_ranks, layouts.ep)
    window = parts.layers * layer.backward_s / layouts.vpp
    hidden = np.where(layouts.overlap, np.minimum(exchange * machine.dp_overlap_share, window), 0.0)
    return np.where(every_micro_batch(layouts), 0.0, exchange - hidden)


def optimizer_s(work: Work, machine: Machine, layouts: Layouts, layer: Layer, parts: Stages) -> Column:
    """Adam over the weights whose state a chip owns: bound by memory."""
    who, split = owners(layouts), layouts.zero >= 1
    dense = parts.layers * layer.dense_weights + edge_weights(work, layouts)
    expert = parts.layers * layer.expert_weights
    owned = np.where(split, dense / who.dense + expert / who.experts, dense + expert)
    copied = np.where(layouts.zero <= 1, _COPIES * ELEMENT_BYTES * (dense + expert), 0.0)
    return kernels.moved_s(machine, (owned * _ADAM_BYTES + copied) / ELEMENT_BYTES)
