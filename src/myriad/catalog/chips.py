"""Chips as data: files of `chips/`, each number with its status and source.

Read by everything that asks how fast, how large or how hungry an accelerator is; `performance` turns it into
the numbers of its formulas.
"""

from typing import Final, Literal

import msgspec

from myriad.catalog import files
from myriad.catalog.figures import Figure
from myriad.kernel.errors import UserError, near

Precision = Literal["bf16", "fp16", "fp8", "fp4", "int8", "fp32"]
#: What a training step multiplies in, the first that a chip has.
_TRAINING: Final[tuple[Precision, ...]] = ("bf16", "fp16", "fp32")


class Parameters(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How much of its peaks a chip gives: the few numbers of the performance model that belong to it."""

    #: Share of peak FLOP/s that a very large matrix product reaches; the same for products in 8 and 4 bits.
    gemm_share: Figure
    fp8_share: Figure
    fp4_share: Figure
    #: Length of a dimension at which a product reaches half of that; in serving, its work in FLOP.
    gemm_half: Figure
    gemm_half_flop: Figure
    #: Share of memory bandwidth that kernels which only move data reach.
    memory_share: Figure
    #: Share of peak FLOP/s of fused attention, forward, by the maker's own kernels; by others, by their name.
    attention_share: Figure
    kernel_shares: dict[str, Figure] = {}
    #: Share of `scale_up_bytes_per_s` that a large collective reaches, and its latency for each step.
    scale_up_share: Figure
    scale_up_latency_s: Figure
    #: Likewise for the network between nodes.
    nic_share: Figure
    nic_latency_s: Figure

    def attention(self, kernel: str) -> Figure:
        """Share of peak FLOP/s of a fused attention kernel; the maker's where this one is not known."""
        return self.kernel_shares.get(kernel, self.attention_share)


class Architecture(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A family of chips that give the same shares of their peaks: files of `architectures/`."""

    title: str
    aliases: tuple[str, ...] = ()
    #: Names of the software that trains on it, and of that made for models with experts, the usual first:
    #: what the choice among them does is told where nobody makes it.
    stacks: tuple[str, ...] = ("reference",)
    expert_stacks: tuple[str, ...] = ()
    parameters: Parameters


class Chip(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One kind of accelerator. SI units; bandwidths are of one chip in one direction."""

    title: str
    aliases: tuple[str, ...] = ()
    #: Name of a shipped architecture whose parameters the chip shares; a chip of a new one gives its own.
    architecture: str = ""
    own_parameters: Parameters | None = msgspec.field(default=None, name="parameters")
    #: Names of the fabric it usually hangs on and of the software that usually trains on it, where nobody
    #: says otherwise; without a fabric its own network ports are taken, on switches that block nothing.
    fabric: str = ""
    stack: str = "reference"
    chips_per_node: Figure
    memory_bytes: Figure
    memory_bytes_per_s: Figure
    #: Dense peak FLOP/s by precision; a precision the hardware lacks is absent.
    flops: dict[Precision, Figure]
    scale_up_bytes_per_s: Figure
    #: Chips that the scale-up links join.
    scale_up_domain: Figure
    #: Share of the node's network that belongs to the chip; the fabric of a site may say otherwise.
    nic_bytes_per_s: Figure
    power_w: Figure
    #: Share of `training_flops` that a training step reaches, until a run has been observed.
    training_share: Figure

    @property
    def parameters(self) -> Parameters:
        """Its own, or those of its architecture."""
        if self.own_parameters is not None:
            return self.own_parameters
        return files.shipped("architecture", self.architecture, Architecture).parameters

    @property
    def family(self) -> Architecture | None:
        """Its architecture, if it is one of those shipped."""
        if self.architecture not in files.shipped_names("architecture"):
            return None
        return files.shipped("architecture", self.architecture, Architecture)

    def peak(self, precision: str) -> Figure:
        """Dense peak FLOP/s. Raises UserError when the hardware lacks the precision."""
        for name, figure in self.flops.items():
            if name == precision:
                return figure
        remedy = "It has " + ", ".join(self.flops)
        raise UserError(
            f"is not a precision of {self.title}", field="precision", value=precision, remedy=remedy
        )

    @property
    def training_precision(self) -> Precision:
        """bf16; fp16 or fp32 on a chip without it."""
        return next(name for name in _TRAINING if name in self.flops)

    @property
    def training_flops(self) -> Figure:
        """Dense peak FLOP/s at `training_precision`: what MFU is measured against."""
        return self.flops[self.training_precision]

    def __post_init__(self) -> None:
        known = files.shipped_names("architecture")
        if self.own_parameters is None and self.architecture not in known:
            raise ValueError("architecture must be one of " + ", ".join(known) + ", or give parameters")
        if not any(name in self.flops for name in _TRAINING):
            raise ValueError("flops must give one of " + ", ".join(_TRAINING))


def named(name: str) -> Chip:
    """A shipped chip by name. Raises UserError with near misses."""
    known = files.shipped_names("chip")
    if name not in known:
        raise UserError("is not in the catalogue", field="chip", value=name, remedy=near(name, known))
    return files.shipped("chip", name, Chip)
