"""What data-parallel ranks say to each other: weights and gradients, under each stage of ZeRO.

Between `layer` and `training`. Dense weights are shared by DP x CP ranks, TP apart; those of an expert only
by the ranks that hold the same expert. Source: Rajbhandari et al. (2020); ZeRO-2 is FSDP's SHARD_GRAD_OP.
"""

from typing import Final, NamedTuple

import numpy as np

from myriad.performance import collectives, kernels
from myriad.performance.collectives import Ring
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
    """Ranks that share the state of a weight, and the rings they exchange on; columns of shape (n,)."""

    dense: Column  # shards of a dense weight
    experts: Column  # shards of an expert's
    shards: Ring  # of those that share a dense weight
    replicas: Ring  # of those that hold the same shard (hybrid sharding)
    ranks: Ring  # of all that hold a dense weight
    same_experts: Ring  # of those that share an expert

    def reduce_s(self, dense_bytes: Column) -> Column:
        """Scatter among shards, and all-reduce of the shards among replicas."""
        return self.shards.gather_s(dense_bytes) + self.replicas.all_reduce_s(dense_bytes / self.dense)

    def experts_s(self, expert_bytes: Column) -> Column:
        """Gather or scatter of experts' weights; nothing where a model has none."""
        return np.where(expert_bytes > 0, self.same_experts.gather_s(expert_bytes), 0.0)


def owners(machine: Machine, layouts: Layouts) -> Owners:
    """Who shares what under each layout, whatever the stage of ZeRO."""
    ranks, stride = layouts.dp * layouts.cp, layouts.tp
    sharded = np.maximum(layouts.sharded, 1.0)
    experts = np.maximum(sharded * layouts.tp / layouts.ep, 1.0)
    shards = collectives.ring(machine, sharded, stride)
    alone = np.zeros(())
    hybrid = bool(np.any(sharded < ranks))
    return Owners(
        dense=sharded,
        experts=experts,
        shards=shards,
        replicas=collectives.ring(machine, ranks / sharded, stride * sharded)
        if hybrid
        else Ring(alone, alone),
        ranks=collectives.ring(machine, ranks, stride) if hybrid else shards,
        same_experts=collectives.ring(machine, experts, layouts.ep),
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


def sharded_s(
    work: Work, machine: Machine, layouts: Layouts, layer: Layer, who: Owners
) -> tuple[Column, Column]:
    """Exposed exchange in each micro-batch under ZeRO-2 and 3 (FSDP): of one layer, and of the embedding.

    Weights are gathered before the forward pass, and under ZeRO-3 again before the backward pass; gradients
    are scattered after it. What hides behind computing still slows it, by contention. The embedding hides
    behind nothing: its gather comes first and its scatter last.
    """
    used = every_micro_batch(layouts)
    grads = machine.reduce_bytes
    gather = who.shards.gather_s(layer.dense_weights * ELEMENT_BYTES)
    scatter = who.reduce_s(layer.dense_weights * grads)
    if np.any(work.moe_layers > 0):
        gather = gather + who.experts_s(layer.expert_weights * ELEMENT_BYTES)
        scatter = scatter + who.experts_s(layer.expert_weights * grads)

    def exposed(sent: Column, computing: Column) -> Column:
        window = np.where(layouts.overlap, machine.fsdp_overlap_share * computing, 0.0)
        shared = np.minimum(sent, window)
        return sent - shared + machine.fsdp_contention_share * shared

    forward = exposed(gather, layer.forward_s)
    backward = exposed(scatter + np.where(layouts.zero >= 3, gather, 0.0), layer.backward_s)
    embedding = work.vocab * work.hidden / layouts.tp
    edge = who.shards.gather_s(embedding * ELEMENT_BYTES) + who.reduce_s(embedding * grads)
    return np.where(used, forward + backward, 0.0), np.where(used, edge, 0.0)


def gradients_s(
    work: Work, machine: Machine, layouts: Layouts, layer: Layer, parts: Stages, who: Owners
) -> Column:
    """Exposed exchange once a step.

    ZeRO-0 reduces gradients; ZeRO-1 scatters them and gathers weights, within groups where it shards within
    groups. Behind the last backward pass hides what the stack overlaps.
    """
    dense = parts.layers * layer.dense_weights + edge_weights(work, layouts)
    grads, weights = machine.reduce_bytes, ELEMENT_BYTES
    gather = who.shards.gather_s(dense * weights) + machine.shard_latency_s * (who.dense - 1)
    whole = layouts.zero == 0
    exchange = np.where(whole, who.ranks.all_reduce_s(dense * grads), who.reduce_s(dense * grads) + gather)
    if np.any(work.moe_layers > 0):
        expert = parts.layers * layer.expert_weights * np.where(whole, 2 * grads, grads + weights)
        exchange = exchange + who.experts_s(expert)
    window = parts.layers * layer.backward_s / layouts.vpp
    hidden = np.where(layouts.overlap, np.minimum(exchange * machine.dp_overlap_share, window), 0.0)
    return np.where(every_micro_batch(layouts), 0.0, exchange - hidden)


def optimizer_s(
    work: Work, machine: Machine, layouts: Layouts, layer: Layer, parts: Stages, who: Owners
) -> Column:
    """Adam over the weights whose state a chip owns: bound by memory."""
    dense = parts.layers * layer.dense_weights + edge_weights(work, layouts)
    expert = parts.layers * layer.expert_weights
    owned = np.where(layouts.zero >= 1, dense / who.dense + expert / who.experts, dense + expert)
    copied = np.where(layouts.zero <= 1, _COPIES * ELEMENT_BYTES * (dense + expert), 0.0)
    return kernels.moved_s(machine, (owned * _ADAM_BYTES + copied) / ELEMENT_BYTES)
