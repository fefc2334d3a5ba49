"""What publishers call things, in our terms: software, network, ZeRO, recomputation, schedule.

Read by `published` for every row of a table of runs. One table or one pattern for each word; nothing here
knows a number of a run.
"""

import re
from typing import Final

from myriad.performance.layouts import Recompute, Schedule

#: (pattern of the source, pattern of notes and precision, stack), the first that fits. The publisher's
#: framework.
_STACKS: Final = tuple(
    (re.compile(source), re.compile(notes), stack)
    for source, notes, stack in (
        (r"Hagemann", r"kernel: flash_attention2 \+ RMS", "aleph-alpha-flash2-rms"),
        (r"Hagemann", r"kernel: flash_attention2", "aleph-alpha-flash2"),
        (r"Hagemann", r"kernel: flash_attentionv1", "aleph-alpha-flash1"),
        (r"Hagemann", r"kernel: fused", "aleph-alpha-fused"),
        (r"Hagemann", r"", "aleph-alpha-torch"),
        (r"llm-foundry", r"bf16-pure", "composer-2023"),
        (r"llm-foundry", r"", "composer-2024"),
        (r"Megatron-LM (README H100|examples)", r"", "nemo-2024"),
        (r"vTrain|Korthikanti|Narayanan|Megatron-LM|BigScience|BLOOM", r"", "megatron-2022"),
        (r"Zero Bubble|MegaScale", r"", "megatron-2023"),
        (r"InternEvo", r"", "internevo-2023"),
        (r"torchtitan", r"eager", "torchtitan-eager"),
        (r"torchtitan", r"with AsyncTP", "torchtitan-async-tp"),
        (r"torchtitan|fms-fsdp", r"", "torchtitan-compile"),
        (r"NeMo performance summary|NeMo long|MLPerf Training v[34]", r"", "nemo-2024"),
        (r"MaxText|Pax|tpu-recipes|Levanter|PaLM|gpu-recipes", r"", "xla-2024"),
        (r"MindSpeed", r"", "mindspeed-2024"),
        (r"nanotron|SmolLM", r"", "nanotron-2025"),
        (r"MoE-ModelZoo|Megatron Core MoE|MoE training with Megatron", r"A2A|^$", "megatron-moe-a2a"),
        (
            r"MoE-ModelZoo|Megatron Core MoE|MoE training with Megatron",
            r"1f1b overlap",
            "megatron-moe-overlap",
        ),
        (r"MoE-ModelZoo|Megatron Core MoE|MoE training with Megatron", r"", "megatron-moe"),
        (r"Megatron-Bridge.* 25\.", r"", "megatron-bridge-2025"),
        (r"Megatron-Bridge.* 26\.0[1-5]", r"", "megatron-bridge-2026"),
        (r"Megatron-Bridge", r"", "megatron-bridge-2026-06"),
        (r"dgxc|NeMo", r"", "nemo-2025"),
        (r"Primus", r"", "primus-2025"),
    )
)
#: Where the publisher is not known: what most runs on such chips use.
_BY_CHIP: Final = {
    "TPU": "xla-2024",
    "Ascend": "mindspeed-2024",
    "MI": "primus-2025",
    "GB": "megatron-bridge-2026",
    "B200": "megatron-bridge-2026",
    "B300": "megatron-bridge-2026",
}
_FSDP: Final = re.compile(r"FSDP|ZeRO-3|HSDP")


def stack_of(source: str, notes: str, zero: str, accelerator: str) -> str:
    """The software stack behind a row; by its parallelism where the publisher is not known."""
    for pattern, detail, stack in _STACKS:
        if pattern.search(source) and detail.search(notes):
            return stack
    if accelerator.startswith(("A100", "V100")) and not _FSDP.search(zero):
        return "megatron-2022" if "fp16" in notes else "megatron-2023"
    for start, stack in _BY_CHIP.items():
        if accelerator.startswith(start):
            return stack
    return "torchtitan-compile" if _FSDP.search(zero) else "nemo-2025"


def nic_bytes_per_s(text: str, chips_per_node: float, default: float) -> float:
    """Network bandwidth of one chip from the publisher's words, such as `8x200 Gb/s HDR IB per node`."""
    if found := re.search(r"(\d+)x(\d+) ?G", text):
        per_chip = "per GPU (" in text
        rate = int(found[1]) * int(found[2]) / 8 * 1e9
        return rate / (8 if per_chip else chips_per_node)
    if found := re.search(r"(\d+) Gb/s.* per node", text):
        return int(found[1]) / 8 * 1e9 / chips_per_node
    if found := re.search(r"(\d+) Gb/s", text):
        return int(found[1]) / 8 * 1e9
    return default


def zero_stage(text: str) -> int:
    """Stage of ZeRO: 3 and 2 also by the names of FSDP; 0 where nothing is sharded."""
    if "ZeRO-2" in text:
        return 2
    if _FSDP.search(text):
        return 3
    return 0 if text in ("none", "") else 1


def shard(text: str, chips_per_node: float) -> float:
    """Ranks that share the sharded state; 0 means all. Hybrid sharding shards within a node."""
    if found := re.search(r"node group (\d+)|FSDP\((\d+)\)|ici_fsdp_parallelism=(\d+)", text):
        return float(next(filter(None, found.groups())))
    return chips_per_node if "HSDP" in text else 0.0


def recompute(text: str) -> Recompute:
    """What is recomputed: `full`, `full(block, 70 layers)`, `selective(op)`, `none`."""
    if text.startswith("full"):
        return Recompute.FULL
    return Recompute.SELECTIVE if text.startswith("selective") else Recompute.NONE


def schedule(notes: str) -> Schedule:
    """Order of micro-batches, from remarks."""
    if re.search(r"ZB-?2", notes, re.IGNORECASE):
        return Schedule.ZERO_BUBBLE_2
    if re.search(r"ZB-?1|zbb|zbv", notes, re.IGNORECASE):
        return Schedule.ZERO_BUBBLE
    return Schedule.ONE_F_ONE_B


def is_low(precision: str) -> bool:
    """Whether products are in 8 or 4 bits."""
    return "fp8" in precision or "fp4" in precision
