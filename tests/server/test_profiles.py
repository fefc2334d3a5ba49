"""What is known of a job when it is submitted: its work, its memory, and how much of the peak it reaches."""

from typing import Any

import pytest

from myriad.catalog import chips
from myriad.kernel.errors import UserError
from myriad.protocol.values import Profile
from myriad.server import profiles
from myriad.workload.jobs import TrainingJob

SHAPE = {"layers": 32, "hidden": 4096, "heads": 32, "kv_heads": 8, "ffn": 14336}
LARGE = {"model": SHAPE | {"vocab": 128256, "context": 4096}, "micro_batch_sequences": 1}


def profile(chip: str, nodes: int, chips_per_node: int, **config: Any) -> Profile:
    spec = TrainingJob(
        name="job",
        tenant="acme",
        nodes=nodes,
        chips_per_node=chips_per_node,
        recipe="pretrain",
        config=config,
    )
    return profiles.of_job(spec, chips.named(chip))


def test_the_example_reaches_what_was_measured_of_it() -> None:
    """Nothing of the model was fitted to the local engine; the chip's file has what its runs reached."""
    measured = chips.named("local-cpu").training_share
    assert measured.low is not None and measured.high is not None
    assert measured.low < profile("local-cpu", 4, 1).peak_share < measured.high


def test_the_shape_of_the_work_decides() -> None:
    large = profile("h100-sxm", 4, 8, global_batch_sequences=64, **LARGE).peak_share
    small = profile("h100-sxm", 4, 8).peak_share
    assert 0.3 < large < 0.7
    assert small < 0.1 * large


def test_more_chips_never_reach_more_of_each() -> None:
    shares = [
        profile("h100-sxm", nodes, 8, global_batch_sequences=512, **LARGE).peak_share
        for nodes in (1, 4, 16, 64)
    ]
    assert shares == sorted(shares, reverse=True)


def test_the_sizes_are_those_that_divide_the_batch_and_fit() -> None:
    def sizes(chip: str, chips_per_node: int, **what: Any) -> tuple[int, ...]:
        spec = TrainingJob(name="job", tenant="acme", nodes=2, chips_per_node=chips_per_node, **what)
        return profiles.sizes(spec, chips.named(chip), 1, 64)

    small: dict[str, Any] = {"recipe": "pretrain", "config": {"global_batch_sequences": 24}}
    assert sizes("local-cpu", 1, **small) == (1, 2, 3, 4, 6, 8, 12, 24)
    # 7 billion parameters and their moments are 112 GB: more than one chip of 80 GB holds
    model = SHAPE | {"vocab": 32000, "context": 1024}
    config = {"model": model, "micro_batch_sequences": 1, "global_batch_sequences": 8}
    assert sizes("h100-sxm", 1, recipe="pretrain", config=config) == (2, 4, 8)
    assert sizes("local-cpu", 1, command=("true",)) == tuple(range(1, 65))


def test_a_command_tells_nothing_of_its_work() -> None:
    spec = TrainingJob(name="job", tenant="acme", nodes=1, command=("true",), expected="10m")
    found = profiles.of_job(spec, chips.named("local-cpu"))
    assert not found.peak_share and found.expected_ns == 600 * 10**9


def test_an_unknown_recipe_is_named() -> None:
    spec = TrainingJob(name="job", tenant="acme", nodes=1, recipe="pretrane")
    with pytest.raises(UserError) as caught:
        profiles.of_job(spec, chips.named("local-cpu"))
    assert caught.value.field == "recipe" and "pretrain" in caught.value.remedy
