"""The step time and the memory of training under each layout.

`predict` is one pass over columns: layers (compressed to distinct cuts), stages, the pipeline, exchange among
data-parallel ranks, the optimizer, memory.
"""

from dataclasses import dataclass, fields
from typing import Final

import numpy as np
from numpy.typing import NDArray

from myriad.performance import collectives, exchange, kernels, memory, stages
from myriad.performance import layer as layers
from myriad.performance.columns import Column, Flags, total
from myriad.performance.exchange import Owners
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
#: 16-bit values moved for each logit: 32 bits written, and read by maximum, sum, loss, gradient and cast.
_LOGIT_PASSES: Final = 12.0
#: Layouts from which on compressing pays.
_WORTH_IT: Final = 256
#: Chips up to which nothing straggles: most nodes of published runs have as many.
_ONE_NODE: Final = 8.0
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
    who = exchange.owners(machine, layouts)
    seconds = _pipeline_s(work, machine, layouts, layer, parts, who)
    seconds["dp"] = seconds["dp"] + exchange.gradients_s(work, machine, layouts, layer, parts, who)
    seconds["optimizer"] = exchange.optimizer_s(work, machine, layouts, layer, parts, who)
    seconds["host"] = seconds["host"] + machine.step_s
    whole = total(seconds.values())
    doublings = np.log2(np.maximum(layouts.chips / _ONE_NODE, 1.0))
    seconds["straggle"] = whole * machine.straggle_share * doublings
    kinds = memory.peak_bytes(work, machine, layouts, layer, parts)
    return Prediction(
        step_s=whole + seconds["straggle"],
        seconds={cause: seconds[cause] for cause in CAUSES},
        peak_bytes=total(kinds.values()),
        memory=kinds,
        model_flops=np.broadcast_to(work.model_flops, whole.shape),
    )


def _layer_of(work: Work, machine: Machine, layouts: Layouts) -> Layer:
    """The layer under each layout, once for each distinct cut where work and machine are the same for all."""
    uniform = work.layers.ndim == 0 and machine.flops.ndim == 0
    if not uniform or len(layouts) < _WORTH_IT:
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


def _distinct(columns: "list[Column | Flags]") -> "tuple[NDArray[np.intp], NDArray[np.intp]]":
    """Positions of one entry of each distinct combination, and for every entry which combination it has.

    Columns hold whole numbers: together they are the digits of one integer, sorted once.
    """
    code = np.zeros(columns[0].shape, dtype=np.int64)
    for values in columns:
        low, high = int(values.min()), int(values.max())
        if high > low:
            code = code * (high - low + 1) + (values.astype(np.int64) - low)
    _, first, inverse = np.unique(code, return_index=True, return_inverse=True)
    return first, inverse


def _pipeline_s(
    work: Work, machine: Machine, layouts: Layouts, layer: Layer, parts: Stages, who: Owners
) -> dict[str, Column]:
    """All micro-batches through the fullest stage by cause, hand-overs, and the bubble before and after.

    The bubble is (pp - 1) times F + B + W over vpp for 1F1B (Narayanan et al., 2021), F + B - W for ZB-H1 and
    F + B - 2W for ZB-H2 (Qi et al., 2024), where B is the input half and W the weight half of backward.
    """
    fsdp, edge = exchange.sharded_s(work, machine, layouts, layer, who)
    piped = layouts.pp > 1
    per_stage = parts.layers * parts.micro_batches
    seconds = {cause: per_stage * (layer.forward[cause] + layer.backward[cause]) for cause in layer.forward}
    seconds["recompute"] = per_stage * layer.recompute
    seconds["dp"] = per_stage * fsdp + parts.micro_batches * edge
    whole = layer.forward_s + layer.backward_s + fsdp
    stage_s = parts.layers * whole
    # the last stage has the head: where it is the slowest, everybody waits for it
    last_s = parts.last_layers * whole + _head_s(work, machine, layouts)
    seconds["gemm"] = seconds["gemm"] + np.maximum(last_s - stage_s, 0.0) * parts.micro_batches
    size = layouts.micro_batch * work.sequence / layouts.cp * work.hidden * ELEMENT_BYTES / layouts.tp
    send = collectives.send_s(machine, size, layouts.tp * layouts.cp * layouts.dp) + machine.pipeline_s
    seconds["pp"] = np.where(piped, 2 * layouts.vpp * send * parts.micro_batches, 0.0)
    moved = parts.layers * layer.weight_gradient
    idle = np.where(layouts.schedule == Schedule.ZERO_BUBBLE, np.maximum(stage_s - 2 * moved, 0.0), stage_s)
    idle = np.where(layouts.schedule == Schedule.ZERO_BUBBLE_2, np.maximum(stage_s - 3 * moved, 0.0), idle)
    seconds["bubble"] = np.where(piped, (layouts.pp - 1) * (idle / layouts.vpp + 2 * send), 0.0)
    return seconds


def _head_s(work: Work, machine: Machine, layouts: Layouts) -> Column:
    """Logits and loss of one micro-batch, forward and backward."""
    tokens = layouts.micro_batch * work.sequence / layouts.cp
    width = work.vocab / layouts.tp
    product = kernels.gemm_s(machine, tokens, work.hidden, width, np.zeros((), dtype=bool))
    return 3 * product + kernels.moved_s(machine, _LOGIT_PASSES * tokens * width)
