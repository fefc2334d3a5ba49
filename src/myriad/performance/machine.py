"""What the formulas read of a chip, a fabric and a software stack: plain columns in SI units."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Final, Literal, NamedTuple

import numpy as np

from myriad.catalog.chips import Chip
from myriad.catalog.fabrics import Fabric
from myriad.catalog.fabrics import Level as Wires
from myriad.catalog.figures import Figure
from myriad.catalog.stacks import Stack
from myriad.performance.columns import Column, column

#: Levels a machine has: the scale-up links and two of the fabric; one that a fabric lacks is never left.
LEVELS: Final = 3
_NEVER: Final = 1e12
#: Which end of the catalogue's intervals is taken: that of a slow machine, the middle, that of a fast one.
End = Literal["slow", "middle", "fast"]
#: Parameters that a stack gives, under their names there.
STACK: Final = (
    "score_passes",
    "outer_passes",
    "inner_passes",
    "layer_s",
    "expert_layer_s",
    "grouped_share",
    "step_s",
    "tp_overlap_share",
    "cp_overlap_share",
    "ep_overlap_share",
    "dp_overlap_share",
    "fsdp_overlap_share",
    "fsdp_contention_share",
    "reduce_bytes",
    "ep_dedup",
    "shard_latency_s",
    "pipeline_s",
    "recompute_share",
    "selective_share",
    "straggle_share",
    "gradient_bytes",
    "logit_bytes",
    "outer_kept",
    "inner_kept",
    "selective_kept_share",
    "fragmentation_share",
    "buffer_bytes",
    "head_counted",
)
#: Numbers that make a machine faster the larger they are; of all others the opposite holds.
_GAINS: Final = frozenset(
    {
        "flops",
        "bytes_per_s",
        "share",
        "ep_dedup",
        "grouped_share",
        "tp_overlap_share",
        "cp_overlap_share",
        "ep_overlap_share",
        "dp_overlap_share",
        "fsdp_overlap_share",
    }
)


class Level(NamedTuple):
    """One level of links, innermost first."""

    chips: Column  # that reach each other over it without going further out
    bytes_per_s: Column  # of one chip, one direction, as collectives reach it
    latency_s: Column  # of one message


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """A chip with its links, and the software that drives it. Every column has shape () or (n,).

    What a `share` is of is named before it. The figures come from the catalogue, with their sources.
    """

    # ---- the chip --------------------------------------------------------------------------------
    flops: Column  # peak dense FLOP/s of 16-bit products
    fp8_flops: Column  # of 8-bit products; equal to flops where the chip has none
    memory_bytes: Column
    memory_bytes_per_s: Column
    gemm_share: Column  # of peak FLOP/s, for products large in all dimensions
    fp8_share: Column  # the same for 8-bit products, casts and scales included
    gemm_half: Column  # dimension at which a product reaches half of that
    attention_share: Column  # of peak FLOP/s, fused attention, forward
    memory_share: Column  # of memory bandwidth, streaming kernels
    levels: tuple[Level, ...]

    # ---- the software stack ----------------------------------------------------------------------
    score_passes: Column  # times unfused attention moves its scores through memory, forward
    outer_passes: Column  # elements moved for each token and hidden unit, norms and residuals, forward
    inner_passes: Column  # the same for each unit inside a tensor-parallel region
    layer_s: Column  # host time and launches of a layer, forward
    expert_layer_s: Column  # further host time of a layer with experts, forward
    grouped_share: Column  # of the rate of single products, for those of many experts in one launch
    step_s: Column  # host time of a step
    tp_overlap_share: Column  # share of TP communication behind products
    cp_overlap_share: Column  # share of attention that hides CP exchange
    ep_overlap_share: Column  # share of a layer's computing that hides EP exchange
    dp_overlap_share: Column  # share of gradient and weight exchange behind the last backward pass
    fsdp_overlap_share: Column  # share of a layer's time that can hide FSDP exchange
    fsdp_contention_share: Column  # share of hidden FSDP exchange that slows the computation
    reduce_bytes: Column  # of one gradient element on the wire
    ep_dedup: Column  # 1: a token crosses to a domain once, whatever experts it has there
    shard_latency_s: Column  # of a ZeRO exchange, for each rank in it
    pipeline_s: Column  # exposed time of one hand-over between stages
    recompute_share: Column  # of the forward pass that full recompute repeats
    selective_share: Column  # of the forward products that selective recompute repeats
    straggle_share: Column  # lost for each doubling of the chips beyond one node

    # ---- its memory ------------------------------------------------------------------------------
    gradient_bytes: Column  # held for one gradient element, with its sum over micro-batches
    logit_bytes: Column  # held for one logit when the loss is computed
    outer_kept: Column  # elements kept for each token and hidden unit, norms and residuals
    inner_kept: Column  # elements kept for each token and feed-forward unit, beside those of its inputs
    selective_kept_share: Column  # of a layer's activations that selective recompute keeps
    fragmentation_share: Column  # lost by the allocator for each byte of activations and logits
    buffer_bytes: Column  # communication buffers and workspaces
    head_counted: Column  # 1: the head counts as layers when stages are cut

    @classmethod
    def of(
        cls, chip: Chip, fabric: Fabric, stack: Stack, *, low_precision: str = "fp8", end: End = "middle"
    ) -> "Machine":
        """A chip in a fabric under a stack, at one end of what the catalogue says they are.

        `low_precision` is what `fp8` layouts multiply in, "fp8" or "fp4"; a chip without it multiplies in
        16 bits.
        """
        own = chip.parameters

        def value(figure: Figure, name: str) -> float:
            return _at(figure, name, end)

        low = next((name for name in (low_precision, "fp8") if name in chip.flops), "")
        low_share = own.fp4_share if low == "fp4" else own.fp8_share
        kernel = own.attention("flash2" if stack.attention == "plain" else stack.attention)
        columns = {
            "flops": value(chip.training_flops, "flops"),
            "fp8_flops": value(chip.peak(low) if low else chip.training_flops, "flops"),
            "memory_bytes": chip.memory_bytes.value,
            "memory_bytes_per_s": value(chip.memory_bytes_per_s, "bytes_per_s"),
            "gemm_share": value(own.gemm_share, "share"),
            "fp8_share": value(low_share if low else own.gemm_share, "share"),
            "gemm_half": value(own.gemm_half, "half"),
            "attention_share": value(kernel, "share"),
            "memory_share": value(own.memory_share, "share"),
        }
        columns |= {name: value(stack.parameters[name], name) for name in STACK}
        domain = fabric.scale_up_domain or chip.scale_up_domain
        inside = fabric.scale_up_bytes_per_s or chip.scale_up_bytes_per_s
        speed = value(inside, "bytes_per_s") * value(own.scale_up_share, "share")
        latency = value(own.scale_up_latency_s, "latency_s")
        levels = [Level(column(domain.value), column(speed), column(latency))]
        levels += [cls.level(chip, level, end) for level in fabric.levels[: LEVELS - 1]]
        while len(levels) < LEVELS:
            levels.append(levels[-1]._replace(chips=column(_NEVER)))
        return cls(**{name: column(number) for name, number in columns.items()}, levels=tuple(levels))

    @staticmethod
    def level(chip: Chip, level: Wires, end: End = "middle") -> Level:
        """One level of a fabric as a chip's collectives reach it."""
        own = chip.parameters
        speed = _at(level.bytes_per_s, "bytes_per_s", end) * _at(own.nic_share, "share", end)
        speed /= _at(level.oversubscription, "oversubscription", end)
        latency = _at(level.latency_s, "latency_s", end) + _at(own.nic_latency_s, "latency_s", end)
        return Level(column(level.chips.value), column(speed), column(latency))

    @classmethod
    def stacked(cls, machines: "Sequence[Machine]") -> "Machine":
        """Many machines as one table, one entry each; they must have as many levels."""
        names = [field.name for field in fields(cls) if field.name != "levels"]
        columns = {name: np.array([float(getattr(one, name)) for one in machines]) for name in names}
        levels = zip(*(one.levels for one in machines), strict=True)
        stacked = tuple(
            Level(*(np.array([float(part) for part in parts]) for parts in zip(*same, strict=True)))
            for same in levels
        )
        return cls(**columns, levels=stacked)


def _at(figure: Figure, name: str, end: End) -> float:
    """A figure at one end of what the catalogue says it is."""
    if end == "middle":
        return figure.value
    bound = figure.high if (end == "fast") == (name in _GAINS) else figure.low
    return figure.value if bound is None else bound
