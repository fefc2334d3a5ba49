"""One average layer on one micro-batch, split by cause: what a pipeline stage is made of.

Depends only on how a layer is cut (TP, CP, EP, micro-batch, recompute, ...), not on how many there are, so
the planner evaluates it once for each distinct cut. Layers with experts and dense ones are averaged by
their numbers.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from myriad.performance import collectives, kernels
from myriad.performance.columns import Column, total
from myriad.performance.kernels import ELEMENT_BYTES
from myriad.performance.layouts import Layouts, Recompute
from myriad.performance.machine import Machine
from myriad.performance.work import Work

_Product = Callable[[Column, Column, Column], Column]


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """Seconds of one layer on one micro-batch, forward and backward, each cause of shape (n,)."""

    forward: dict[str, Column]
    backward: dict[str, Column]
    #: Forward seconds that the backward pass repeats.
    recompute: Column
    #: Seconds of the weight-gradient half of the products, which zero-bubble schedules move about.
    weight_gradient: Column
    #: Weights that one chip holds before sharding: replicated over DP x CP, and those of experts.
    dense_weights: Column
    expert_weights: Column

    @property
    def forward_s(self) -> Column:
        """All causes, forward."""
        return total(self.forward.values())

    @property
    def backward_s(self) -> Column:
        """All causes and the recomputation, backward."""
        return total([*self.backward.values(), self.recompute])


def cost(work: Work, machine: Machine, layouts: Layouts) -> Layer:
    """The layer of `work` under each layout."""
    tokens = layouts.micro_batch * work.sequence / layouts.cp
    outer = np.where(layouts.sequence_parallel, tokens / layouts.tp, tokens)
    attention_f, attention_b = _attention_s(work, machine, layouts)
    inner, moved = _moved_elements(work, layouts, tokens)
    streaming = kernels.moved_s(
        machine, machine.outer_passes * outer * work.hidden + machine.inner_passes * inner + moved
    )
    products = _products_s(work, machine, layouts, tokens)
    tp = _tensor_exchange_s(work, machine, layouts, tokens)
    cp_f, cp_b = _context_exchange_s(work, machine, layouts, (attention_f, attention_b))
    ep_f, ep_b = _expert_exchange_s(work, machine, layouts, tokens, products + attention_f)
    host = machine.layer_s + _sparse_share(work) * machine.expert_layer_s
    host_f = _waiting_s(products + attention_f + streaming + tp + cp_f + ep_f, host)
    host_b = _waiting_s(2 * products + attention_b + 2 * streaming + tp + cp_b + ep_b, 2 * host)
    forward = {
        "gemm": products,
        "attention": attention_f,
        "memory_bound": streaming,
        "host": host_f,
        "tp": tp,
        "cp": cp_f,
        "ep": ep_f,
    }
    backward = {
        "gemm": 2 * products,
        "attention": attention_b,
        "memory_bound": 2 * streaming,
        "host": host_b,
        "tp": tp,
        "cp": cp_b,
        "ep": ep_b,
    }
    dense, expert = _weights(work, layouts)
    return Layer(
        forward=forward,
        backward=backward,
        recompute=_recompute_s(machine, layouts, forward),
        weight_gradient=products,
        dense_weights=dense,
        expert_weights=expert,
    )


def _waiting_s(busy: Column, host: Column) -> Column:
    """Seconds that a chip waits for its host: launches run ahead of kernels, so the longer of both counts.

    A smooth maximum, sqrt(b^2 + h^2) - b, since layers are not all alike.
    """
    return np.hypot(busy, host) - busy


def _sparse_share(work: Work) -> Column:
    """Share of the layers that have experts."""
    return work.moe_layers / work.layers


def _products_s(work: Work, machine: Machine, layouts: Layouts, tokens: Column) -> Column:
    """Forward matrix products of one layer."""
    tp, fp8, hidden = layouts.tp, layouts.fp8, work.hidden

    def product(m: Column, k: Column, n: Column) -> Column:
        return kernels.gemm_s(machine, m, k, n, fp8)

    queries = work.heads * work.qk_dim
    direct = product(tokens, hidden, (queries + work.kv_heads * (work.qk_dim + work.v_dim)) / tp)
    attention = direct
    if np.any(work.kv_rank > 0):
        down = product(tokens, hidden, work.q_rank + work.kv_rank + work.rope_dim)
        up = product(tokens, np.where(work.q_rank > 0, work.q_rank, hidden), queries / tp)
        up = up + product(tokens, work.kv_rank, work.heads * (work.qk_dim - work.rope_dim + work.v_dim) / tp)
        attention = np.where(work.kv_rank > 0, down + up, direct)
    attention = attention + product(tokens, work.heads * work.v_dim / tp, hidden)
    feed = _mlp_s(work, product, tokens, work.ffn / tp)
    if np.any(work.moe_layers > 0):
        # experts are whole on a chip; the tokens of TP ranks are split among them
        local = work.experts / layouts.ep
        routed = tokens / tp * work.top_k / local
        sparse = local * _mlp_s(work, product, routed, work.expert_ffn) / machine.grouped_share
        sparse = sparse + _mlp_s(work, product, tokens, work.shared_ffn / tp)
        sparse = sparse + product(tokens / tp, hidden, work.experts)
        share = _sparse_share(work)
        feed = np.where(share > 0, (1 - share) * feed + share * sparse, feed)
    return attention + feed


def _mlp_s(work: Work, product: _Product, tokens: Column, width: Column) -> Column:
    up = product(tokens, work.hidden, work.ffn_inputs * width)
    return up + product(tokens, width, work.hidden)


def _attention_s(work: Work, machine: Machine, layouts: Layouts) -> tuple[Column, Column]:
    """Scores, softmax and values of one layer: forward and backward."""
    heads = work.heads / layouts.tp
    scores = layouts.micro_batch * heads * work.sequence * work.sequence / layouts.cp
    flops = 2 * scores * (work.qk_dim + work.v_dim)
    fused = kernels.fused_attention_s(machine, flops)
    plain = kernels.plain_attention_s(machine, flops, scores)
    backward = fused * kernels.FLASH_BACKWARD / kernels.FLASH_BACKWARD_SHARE
    return np.where(layouts.flash, fused, plain), np.where(layouts.flash, backward, 2 * plain)


def _moved_elements(work: Work, layouts: Layouts, tokens: Column) -> tuple[Column, Column]:
    """Elements inside the tensor-parallel region, and those of routing tokens to experts and back."""
    share = _sparse_share(work)
    width = (work.ffn_inputs + 1) * work.ffn / layouts.tp * (1 - share)
    routed = work.top_k / layouts.tp * work.expert_ffn + work.shared_ffn / layouts.tp
    width = width + share * (work.ffn_inputs + 1) * routed
    width = width + (work.heads * work.qk_dim + work.kv_heads * (work.qk_dim + work.v_dim)) / layouts.tp
    # permute, unpermute and weigh: read and written once each
    routing = share * 6 * work.top_k * tokens / layouts.tp * work.hidden
    return tokens * width, routing


def _tensor_exchange_s(work: Work, machine: Machine, layouts: Layouts, tokens: Column) -> Column:
    """Exposed TP exchange of one pass: two all-reduces, or with sequence parallelism their two halves.

    Source: Shoeybi et al. (2019) and Korthikanti et al. (2022). A layer with experts exchanges around
    attention only.
    """
    size = tokens * work.hidden * ELEMENT_BYTES
    one = collectives.all_reduce_s(machine, size, layouts.tp, np.ones(()))
    hidden = np.where(layouts.overlap, machine.tp_overlap_share, 0.0)
    exposed: Column = (2 - _sparse_share(work)) * one * (1 - hidden)
    return exposed


def _context_exchange_s(
    work: Work, machine: Machine, layouts: Layouts, attention: tuple[Column, Column]
) -> tuple[Column, Column]:
    """Exposed exchange of keys and values around the ring of CP ranks, behind attention (Liu et al. 2023)."""
    width = work.kv_heads * (work.qk_dim + work.v_dim) / layouts.tp
    size = layouts.micro_batch * work.sequence * width * ELEMENT_BYTES
    ring = collectives.gather_s(machine, size, layouts.cp, layouts.tp)
    forward, backward = attention
    hidden = np.where(layouts.overlap, machine.cp_overlap_share, 0.0)
    return np.maximum(ring - hidden * forward, 0.0), np.maximum(2 * ring - hidden * backward, 0.0)


def _expert_exchange_s(
    work: Work, machine: Machine, layouts: Layouts, tokens: Column, computing: Column
) -> tuple[Column, Column]:
    """Exposed dispatch and combine, forward and backward: what a share of the layer's computing cannot
    hide.
    """
    if not np.any(work.moe_layers > 0):
        return np.zeros(tokens.shape), np.zeros(tokens.shape)
    size = tokens / layouts.tp * work.top_k * work.hidden * ELEMENT_BYTES
    one = collectives.all_to_all_s(machine, size, layouts.ep, work.top_k, machine.ep_dedup)
    window = np.where(layouts.overlap, machine.ep_overlap_share, 0.0) * computing
    share = _sparse_share(work)
    return share * np.maximum(2 * one - window, 0.0), share * np.maximum(2 * one - 2 * window, 0.0)


def _recompute_s(machine: Machine, layouts: Layouts, forward: dict[str, Column]) -> Column:
    """Forward seconds that the backward pass repeats: all, or the cheap parts (Korthikanti et al., 2022)."""
    whole = total(forward.values()) * machine.recompute_share
    # selective: what moves memory, unfused scores, and a share of the products where the stack does so
    part = forward["memory_bound"] + machine.selective_share * forward["gemm"]
    part = part + np.where(layouts.flash, 0.0, forward["attention"])
    chosen = np.where(layouts.recompute == Recompute.SELECTIVE, part, 0.0)
    return np.where(layouts.recompute == Recompute.FULL, whole, chosen)


def _weights(work: Work, layouts: Layouts) -> tuple[Column, Column]:
    """Weights of one average layer on one chip: those outside experts, and those of experts."""
    share = _sparse_share(work)
    matrices = (work.ffn_inputs + 1) * work.hidden
    split = work.attention_parameters - work.latent_parameters
    split = split + matrices * ((1 - share) * work.ffn + share * work.shared_ffn)
    whole = work.latent_parameters + share * work.hidden * work.experts + 2 * work.hidden
    expert = share * matrices * work.expert_ffn * work.experts / layouts.ep
    return split / layouts.tp + whole, np.broadcast_to(expert, layouts.tp.shape)
