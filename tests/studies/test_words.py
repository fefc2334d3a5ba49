"""Publishers' words: each as they write it, and what it means."""

import pytest

from myriad.catalog.shelf import Catalog
from myriad.performance.layouts import Recompute, Schedule
from myriad.studies import words


@pytest.mark.parametrize(
    ("text", "stage", "shard"),
    [
        ("none", 0, 0),
        ("", 0, 0),
        ("ZeRO-1", 1, 0),
        ("distributed-optimizer(ZeRO-1)", 1, 0),
        ("ZeRO-1 within node group 4", 1, 4),
        ("FSDP shard_grad_op (ZeRO-2)", 2, 0),
        ("FSDP full shard (ZeRO-3)", 3, 0),
        ("FSDP2 full shard", 3, 0),
        ("FSDP(128)+DP(16)", 3, 128),
        ("FSDP (ici_fsdp_parallelism=-1)", 3, 0),
        ("FSDP (ici_fsdp_parallelism=32)", 3, 32),
        ("HSDP", 3, 8),
        ("Megatron-FSDP", 3, 0),
    ],
)
def test_sharding(text: str, stage: int, shard: int) -> None:
    assert (words.zero_stage(text), words.shard(text, 8)) == (stage, shard)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("full", Recompute.FULL),
        ("full(block, 70 layers)", Recompute.FULL),
        ("selective(norm, act)", Recompute.SELECTIVE),
        ("none", Recompute.NONE),
        ("", Recompute.NONE),
    ],
)
def test_recomputation(text: str, meant: Recompute) -> None:
    assert words.recompute(text) == meant


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("Schedule 1F1B-I; published", Schedule.ONE_F_ONE_B),
        ("Schedule ZB-1p; published", Schedule.ZERO_BUBBLE),
        ("Schedule ZB-2p; published", Schedule.ZERO_BUBBLE_2),
        ("", Schedule.ONE_F_ONE_B),
    ],
)
def test_schedules(text: str, meant: Schedule) -> None:
    assert words.schedule(text) == meant


@pytest.mark.parametrize(
    ("text", "gb_per_s"),
    [
        ("8x200 Gb/s HDR IB per node", 25.0),
        ("4x200 Gb/s HDR IB per node (100 GB/s)", 12.5),
        ("1600 Gb/s RoCE per node", 25.0),
        ("400 Gb/s per GPU (8x400G NDR IB per node)", 50.0),
        ("200 Gb/s per GPU", 25.0),
        ("", 1.0),
    ],
)
def test_network_rates(text: str, gb_per_s: float) -> None:
    assert words.nic_bytes_per_s(text, 8, 1e9) == pytest.approx(gb_per_s * 1e9)


@pytest.mark.parametrize(
    ("source", "notes", "zero", "chip", "stack"),
    [
        ("vTrain (MICRO 2024)", "fp16", "", "A100-SXM4-80GB", "megatron-2022"),
        ("MosaicML llm-foundry README", "bf16-pure", "FSDP", "A100-SXM4-40GB", "composer-2023"),
        ("NVIDIA Megatron-Bridge performance summary 26.06.01", "", "", "GB200", "megatron-bridge-2026-06"),
        ("Nobody we know", "bf16", "FSDP", "H100-SXM5-80GB", "torchtitan-compile"),
        ("Nobody we know", "bf16", "ZeRO-1", "H100-SXM5-80GB", "nemo-2025"),
        ("Nobody we know", "fp16", "ZeRO-1", "A100-SXM4-80GB", "megatron-2022"),
        ("Nobody we know", "", "", "TPU v5p", "xla-2024"),
        ("Nobody we know", "", "", "Ascend 910B", "mindspeed-2024"),
        ("Nobody we know", "mxfp8", "", "B200-SXM-180GB", "megatron-bridge-2026"),
    ],
)
def test_stacks(source: str, notes: str, zero: str, chip: str, stack: str) -> None:
    assert words.stack_of(source, notes, zero, chip) == stack
    Catalog.shipped().stack(stack)
