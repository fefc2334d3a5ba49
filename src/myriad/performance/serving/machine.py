"""The plain numbers that the serving formulas read, taken from a chip, a fabric and a serving stack.

Lowest module of the package. A number is looked for in the stack under the chip's alias, title or
architecture (`hopper.gemm_share`: calibrated for this pair), then in the stack, then among the parameters
of the chip.
"""

from dataclasses import dataclass
from typing import Final, Literal

from myriad.catalog.chips import Chip
from myriad.catalog.fabrics import Fabric
from myriad.catalog.figures import Figure
from myriad.catalog.stacks import Stack
from myriad.kernel.errors import UserError, near

#: Which end of every figure: the value itself, or the end that makes all slower or all faster.
End = Literal["value", "worst", "best"]
#: Parameters of a stack for which less is faster; of all others more is faster.
_COSTS: Final = ("_s", "_flop", "passes", "reread_share", "host_factor", "imbalance", "workspace_bytes")
#: Every serving stack says these; status, source and interval with each, in catalog/stacks.
STACK_PARAMETERS: Final = (
    "prefill_launch_s",
    "decode_launch_s",
    "kernel_gap_s",
    "step_s",
    "prefill_step_s",
    "sequence_s",
    "host_factor",
    "passes",
    "kv_reread_share",
    "large_message_bytes",
    "large_message_share",
    "expert_imbalance",
    "memory_use_share",
    "workspace_bytes",
    "chunk_tokens",
    "sequences",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServingMachine:
    """One chip with its links and software. SI units, one direction, one chip."""

    #: Peak FLOP/s by precision; "bf16" is always there.
    flops: dict[str, float]
    memory_bytes: float
    memory_bytes_per_s: float
    scale_up_bytes_per_s: float
    scale_up_domain: float
    nic_bytes_per_s: float
    #: Shares of the peaks (products by precision), and the work of one matrix product that costs as much as
    #: half of it.
    gemm_share: float
    fp8_share: float
    fp4_share: float
    gemm_half_flop: float
    memory_share: float
    attention_share: float
    scale_up_share: float
    scale_up_latency_s: float
    nic_share: float
    nic_latency_s: float
    #: Time of the host to launch one layer, in a step with prompt tokens and in one without; runs beside
    #: the chip.
    prefill_launch_s: float
    decode_launch_s: float
    #: Time of the chip between the kernels of one layer.
    kernel_gap_s: float
    #: Time of the host for each step, more for each step with prompt tokens, and for each sequence in it;
    #: in series.
    step_s: float
    prefill_step_s: float
    sequence_s: float
    #: How many times slower the host is than that of the chip the stack was calibrated on.
    host_factor: float
    #: How often norms, residuals and kin move the hidden state through memory in one layer.
    passes: float
    #: 0: heads that share keys and values read them once; 1: each head reads its own copy.
    kv_reread_share: float
    #: All-reduces from this size on reach only `large_message_share` of the scale-up link.
    large_message_bytes: float
    large_message_share: float
    #: Load of the busiest chip over the mean, among chips with different experts.
    expert_imbalance: float
    #: Memory the engine may fill, and what of it activations and communication take.
    memory_use_share: float
    workspace_bytes: float
    #: Tokens of one step with chunked prefill; 0: whole prompts, before any decode step.
    chunk_tokens: float
    #: Sequences that one engine runs at once.
    sequences: float
    #: Clock in prefill over the chip's own: below 1 under a power cap. Decode draws less and keeps its clock.
    prefill_clock: float = 1.0

    def product_flops(self, precision: str) -> float:
        """FLOP/s of a large product of weights of this precision; in bf16 without the hardware for it."""
        if precision not in self.flops:
            precision = "bf16"
        narrow = {"fp8": self.fp8_share, "int8": self.fp8_share, "fp4": self.fp4_share}
        share = narrow.get(precision, self.gemm_share)
        return self.flops[precision] * share


def machine_of(chip: Chip, fabric: Fabric | None, stack: Stack, end: End = "value") -> ServingMachine:
    """The numbers at one end of all figures' intervals together.

    Raises UserError when the stack is no serving stack. `fabric` None: the chip's own NIC. "worst" and
    "best" are corners: outer bounds, wider than 80 %.
    """
    own = chip.parameters

    def cost(figure: Figure) -> float:
        return _at(figure, _flip(end))

    def parameter(name: str, fallback: Figure | None = None) -> float:
        figure = _calibrated(chip, stack, name) or fallback
        assert figure is not None, name
        return cost(figure) if name.endswith(_COSTS) else _at(figure, end)

    _check(stack)
    level = fabric.levels[0] if fabric else None
    domain = (fabric and fabric.scale_up_domain) or chip.scale_up_domain
    link = (fabric and fabric.scale_up_bytes_per_s) or chip.scale_up_bytes_per_s
    flops = {str(name): _at(figure, end) for name, figure in chip.flops.items()}
    flops.setdefault("bf16", _at(chip.training_flops, end))
    return ServingMachine(
        flops=flops,
        memory_bytes=_at(chip.memory_bytes, end),
        memory_bytes_per_s=_at(chip.memory_bytes_per_s, end),
        scale_up_bytes_per_s=_at(link, end),
        scale_up_domain=_at(domain, end),
        nic_bytes_per_s=_at(level.bytes_per_s if level else chip.nic_bytes_per_s, end),
        gemm_share=parameter("gemm_share", own.gemm_share),
        fp8_share=parameter("fp8_share", own.fp8_share),
        fp4_share=parameter("fp4_share", own.fp4_share),
        gemm_half_flop=parameter("gemm_half_flop", own.gemm_half_flop),
        memory_share=parameter("memory_share", own.memory_share),
        attention_share=parameter("attention_share", own.attention_share),
        scale_up_share=parameter("scale_up_share", own.scale_up_share),
        scale_up_latency_s=parameter("scale_up_latency_s", own.scale_up_latency_s),
        nic_share=parameter("nic_share", own.nic_share),
        nic_latency_s=parameter("nic_latency_s", own.nic_latency_s)
        + (cost(level.latency_s) if level else 0.0),
        **{name: parameter(name) for name in STACK_PARAMETERS},
    )


def has_interval(chip: Chip) -> bool:
    """Whether a figure of the hardware itself (not an efficiency) is known only as a range."""
    hardware = (chip.memory_bytes_per_s, chip.training_flops, chip.scale_up_bytes_per_s, chip.nic_bytes_per_s)
    return any(figure.low is not None or figure.high is not None for figure in hardware)


def _check(stack: Stack) -> None:
    for name in STACK_PARAMETERS:
        if name not in stack.parameters:
            remedy = f"It lacks {name}. " + near("vllm", ("vllm-2023", "vllm-2025"))
            raise UserError("is not a serving stack", field="stack", value=stack.title, remedy=remedy)


def _calibrated(chip: Chip, stack: Stack, name: str) -> Figure | None:
    for whose in names(chip):
        if figure := stack.parameters.get(f"{whose}.{name}"):
            return figure
    return stack.parameters.get(name)


def names(chip: Chip) -> tuple[str, ...]:
    """What a stack may call the chip before a point, closest first."""
    return (*chip.aliases, chip.title, chip.architecture)


def _flip(end: End) -> End:
    return {"value": "value", "worst": "best", "best": "worst"}[end]  # type: ignore[return-value]


def _at(figure: Figure, end: End) -> float:
    bound = {"value": None, "worst": figure.low, "best": figure.high}[end]
    return figure.value if bound is None else bound
