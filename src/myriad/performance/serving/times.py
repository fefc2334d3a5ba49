"""How long one step of an engine takes: prompt tokens, running sequences, or both at once.

Between `shapes` and `load`. A layer is matrix products (each a smooth roofline of arithmetic and of the
bytes it moves: Williams et al., 2009), attention, passes over the hidden state, and messages by alpha-beta
(all-reduce on a ring: Thakur et al., 2005). Host launches run beside the chip, the rest of the host in
series. Every function takes arrays of any shapes that broadcast together. Calibrated by
tools/calibrate_serving.py.
"""

from typing import Final, NamedTuple

import numpy as np

from myriad.performance.serving.machine import ServingMachine
from myriad.performance.serving.shapes import Floats, Matrix, ServingLayouts, Shape, distinct_experts

#: How sharply one limit takes over from another; higher is closer to the plain maximum. Chosen, not fitted:
#: 3 to 8 change the error over the calibration rows by less than half a point.
_ROOFLINE_KNEE: Final = 4.0
_HOST_KNEE: Final = 8.0
#: Bytes of one number of the hidden state.
_ACTIVATION_BYTES: Final = 2.0


class Step(NamedTuple):
    """Seconds of one step: in all, and by cause. The causes sum to the total."""

    total_s: Floats
    gemm_s: Floats  # matrix products, experts among them
    attention_s: Floats
    memory_s: Floats  # norms, residuals and kin; gaps between kernels
    tp_s: Floats  # all-reduces
    ep_s: Floats  # all-to-alls
    pp_s: Floats  # hops between stages
    host_s: Floats  # not hidden behind the chip


def prefill(
    shape: Shape, machine: ServingMachine, layout: ServingLayouts, *, prompt: object, batch: object = 1
) -> Floats:
    """Seconds to read `batch` prompts of `prompt` tokens each and make their first tokens, in one step."""
    return step(shape, machine, layout, prompt=prompt, prompts=batch, running=0.0, context=0.0).total_s


def decode(
    shape: Shape, machine: ServingMachine, layout: ServingLayouts, *, batch: object, context: object
) -> Floats:
    """Seconds of one step of `batch` sequences with `context` tokens each behind them, on average."""
    return step(shape, machine, layout, prompt=0.0, prompts=0.0, running=batch, context=context).total_s


def step(
    shape: Shape,
    machine: ServingMachine,
    layout: ServingLayouts,
    *,
    prompt: object,
    prompts: object,
    running: object,
    context: object,
    before: object = 0.0,
    ending: object = None,
) -> Step:
    """Seconds of one step of one lane; all lanes of a replica are taken to do the same.

    `prompts` prompts of which `prompt` tokens each are read now, with `before` tokens read earlier
    (chunks); `ending` of them end and make their first token (None: all). `running` sequences make one
    token each over `context`.
    """
    prompt, prompts, running, context, before = np.broadcast_arrays(
        *(np.asarray(value, np.float64) for value in (prompt, prompts, running, context, before))
    )
    reading = prompt * prompts
    tokens = reading + running
    heads = running + (prompts if ending is None else np.asarray(ending, np.float64))
    gemm = _dense(shape, machine, layout, tokens) + _experts(shape, machine, layout, tokens)
    gemm = gemm + _product(machine, shape.head, layout.tp, heads, shape, 2.0)
    attention = _attention(shape, machine, layout, reading, prompt, before, running, context)
    moved = machine.passes * tokens * shape.hidden * _ACTIVATION_BYTES
    rest = shape.layers * (moved / _memory(machine) + machine.kernel_gap_s)
    tp, ep, pp = _messages(shape, machine, layout, tokens)
    chip = gemm + attention + rest + tp + ep + pp
    some = reading > 0
    launch = np.where(some, machine.prefill_launch_s, machine.decode_launch_s) * shape.layers
    serial = machine.step_s + some * machine.prefill_step_s + machine.sequence_s * (running + prompts)
    total = _knee(machine.host_factor * launch, chip, _HOST_KNEE) + machine.host_factor * serial
    total = total / np.where(some, machine.prefill_clock, 1.0)
    parts = np.broadcast_arrays(total, gemm, attention, rest, tp, ep, pp, total - chip)
    return Step(*parts)


def transfer(shape: Shape, machine: ServingMachine, layout: ServingLayouts, prompt: object) -> Floats:
    """Seconds to send a prompt's keys and values to another replica over the NICs, each chip its part."""
    split = np.minimum(layout.tp, shape.kv_heads)
    sent = np.asarray(prompt, np.float64) * shape.kv_bytes * shape.layers / layout.pp / split
    # with keys and values copied on every chip, each sends its part of the one copy
    sent = sent * split / layout.tp
    return np.asarray(machine.nic_latency_s + sent / (machine.nic_bytes_per_s * machine.nic_share))


def _knee(one: Floats, other: Floats, sharpness: float) -> Floats:
    """A smooth maximum; without under- or overflow."""
    most = np.maximum(np.maximum(one, other), 1e-30)
    less = np.minimum(one, other) / most
    return np.asarray(most * (1.0 + less**sharpness) ** (1.0 / sharpness))


def _memory(machine: ServingMachine) -> float:
    return machine.memory_bytes_per_s * machine.memory_share


def _product(
    machine: ServingMachine,
    matrix: Matrix,
    tp: Floats,
    tokens: Floats,
    shape: Shape,
    size: float,
    *,
    copies: Floats | float = 1.0,
) -> Floats:
    """All layers' products with one matrix (`copies` of it: distinct experts), `size` bytes a weight."""
    split = tp if matrix.sliced else 1.0
    arithmetic = 2.0 * tokens * matrix.inner * matrix.outer / split + machine.gemm_half_flop
    precision = shape.weight_precision if size == shape.weight_bytes else "bf16"
    compute = arithmetic / machine.product_flops(precision)
    weights = copies * size * matrix.inner * matrix.outer / split
    moved = weights + _ACTIVATION_BYTES * tokens * (matrix.inner + matrix.outer / split)
    return np.asarray(matrix.layers * (tokens > 0) * _knee(compute, moved / _memory(machine), _ROOFLINE_KNEE))


def _dense(shape: Shape, machine: ServingMachine, layout: ServingLayouts, tokens: Floats) -> Floats:
    found: Floats = np.zeros(())
    for matrix in shape.matrices:
        found = found + _product(machine, matrix, layout.tp, tokens, shape, shape.weight_bytes)
    return found


def _experts(shape: Shape, machine: ServingMachine, layout: ServingLayouts, tokens: Floats) -> Floats:
    """Routed experts: every copy of the attention sends its tokens; only experts that get one are read."""
    spread = layout.ep > 1
    touched = distinct_experts(shape.experts, shape.top_k, layout.copies * tokens)
    uneven = np.where(spread, machine.expert_imbalance, 1.0)
    visits = layout.copies * tokens * shape.top_k / np.where(spread, layout.ep, 1.0) * uneven
    held = np.where(spread, shape.experts / layout.ep, shape.experts)
    copies = np.minimum(held, touched / np.where(spread, layout.ep, 1.0) * uneven)
    split = np.where(spread, 1.0, layout.tp)
    found: Floats = np.zeros(())
    for matrix in shape.expert:
        found = found + _product(machine, matrix, split, visits, shape, shape.weight_bytes, copies=copies)
    return found


def _attention(
    shape: Shape,
    machine: ServingMachine,
    layout: ServingLayouts,
    reading: Floats,
    prompt: Floats,
    before: Floats,
    running: Floats,
    context: Floats,
) -> Floats:
    """Prompt tokens: causal FLOP. Running sequences: bytes of their keys and values, or their FLOP."""
    peak = machine.flops["bf16"] * machine.attention_share * layout.tp
    pairs = reading * (before + prompt / 2.0)
    causal = 2.0 * shape.heads * shape.prefill_width * pairs / peak
    split = np.minimum(layout.tp, shape.kv_heads)
    again = 1.0 + (min(shape.kv_group, shape.heads) - 1.0) * machine.kv_reread_share * (shape.kv_heads > 1)
    read = running * context * shape.kv_bytes / split * again / _memory(machine)
    arithmetic = 2.0 * shape.heads * shape.decode_width * running * context / peak
    return np.asarray(shape.layers * (causal + _knee(arithmetic, read, _ROOFLINE_KNEE)))


def _messages(
    shape: Shape, machine: ServingMachine, layout: ServingLayouts, tokens: Floats
) -> tuple[Floats, Floats, Floats]:
    """All-reduces within tp, all-to-alls among ep, hops between stages."""
    hidden = tokens * shape.hidden * _ACTIVATION_BYTES
    nic = machine.nic_bytes_per_s * machine.nic_share
    inside = layout.tp <= machine.scale_up_domain
    share = np.where(
        hidden >= machine.large_message_bytes, machine.large_message_share, machine.scale_up_share
    )
    link = np.where(inside, machine.scale_up_bytes_per_s * share, nic)
    alpha = np.where(inside, machine.scale_up_latency_s, machine.nic_latency_s)
    ring = 2.0 * (layout.tp - 1.0) / layout.tp
    reduce = np.log2(layout.tp) * alpha + ring * hidden / link
    moe_layers = shape.expert[0].layers if shape.expert else 0
    spread = (layout.ep > 1) & (moe_layers > 0)
    tp = (2.0 * shape.layers - np.where(spread, moe_layers, 0)) * reduce
    # each chip of a copy sends its part of the tokens, once to every chip with an expert for them
    sent = hidden / layout.tp * np.minimum(shape.top_k, layout.ep)
    far = np.maximum(0.0, 1.0 - machine.scale_up_domain / layout.ep)
    near = np.minimum(1.0, machine.scale_up_domain / layout.ep) - 1.0 / layout.ep
    slowest = np.maximum(
        sent * near / (machine.scale_up_bytes_per_s * machine.scale_up_share), sent * far / nic
    )
    first = np.where(far > 0, machine.nic_latency_s, machine.scale_up_latency_s)
    ep = np.where(spread, 2.0 * moe_layers * (first + slowest), 0.0)
    pp = (layout.pp - 1.0) * (machine.nic_latency_s + hidden / layout.tp / nic)
    return np.asarray(tp), np.asarray(ep), np.asarray(pp)
