"""What is known of a job when it is submitted: its work, its memory, and how much of the peak it reaches."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from myriad.catalog import chips
from myriad.kernel.errors import UserError
from myriad.protocol.values import Profile
from myriad.server import profiles
from myriad.workload import files
from myriad.workload.jobs import NodeRange, TrainingJob
from tests import counted

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


def elastic(least: int, most: int, chip: str = "local-cpu", chips_per_node: int = 1, **what: Any) -> Profile:
    spec = TrainingJob(
        name="job",
        tenant="acme",
        nodes=NodeRange(min=least, max=most),
        chips_per_node=chips_per_node,
        **({"recipe": "pretrain"} | what),
    )
    return profiles.of_job(spec, chips.named(chip))


def test_an_elastic_job_has_the_sizes_that_it_can_run_on_largest_first() -> None:
    found = elastic(2, 7, config={"global_batch_sequences": 24})
    assert found.sizes == (6, 4, 3, 2)
    fixed = profile("local-cpu", 6, 1, global_batch_sequences=24)
    assert fixed.sizes == ()
    assert msgspec.structs.replace(found, sizes=()) == fixed, "other figures are those of the largest size"
    assert elastic(2, 5000, recipe="", command=("true",)).sizes == (), "a command runs on any"


def test_a_range_without_a_size_names_the_field_and_sizes_that_would_do() -> None:
    with pytest.raises(UserError) as caught:
        elastic(5, 7, config={"global_batch_sequences": 16})
    assert caught.value.field == "nodes" and caught.value.value == "{min: 5, max: 7}"
    assert "1, 2, 4, 8, 16" in caught.value.remedy
    config = {"model": SHAPE | {"vocab": 32000, "context": 1024}, "micro_batch_sequences": 1}
    with pytest.raises(UserError) as caught:
        elastic(1, 1, chip="h100-sxm", config=config)
    assert caught.value.field == "nodes" and "80 GiB" in str(caught.value)


def test_spanning_costs_where_the_fabric_is_thin_and_the_gang_is_of_several_nodes() -> None:
    config = LARGE | {"global_batch_sequences": 64}
    assert profile("zhenwu-810e", 1, 16, **config).stretch == (1, 1, 1)
    racks, pods, cores = profile("zhenwu-810e", 4, 16, **config).stretch
    assert 1 <= racks <= pods < cores < 2, "15:1 above the pods"
    spec = TrainingJob(name="job", tenant="acme", nodes=4, chips_per_node=16, command=("true",))
    assert profiles.of_job(spec, chips.named("zhenwu-810e")).stretch[2] > 1
    assert profile("local-cpu", 4, 1).stretch == (1, 1, 1), "one machine is one network"


def test_a_profile_costs_little_at_submission() -> None:
    config = LARGE | {"global_batch_sequences": 512}
    profile("zhenwu-810e", 32, 16, **config)
    # 3,200 calls took 4 ms when this was written
    assert counted.calls(lambda: profile("zhenwu-810e", 32, 16, **config)) < 10_000


def test_the_elastic_example_has_the_sizes_that_it_says() -> None:
    example = Path(__file__).parent.parent.parent / "examples" / "elastic.yaml"
    spec = files.from_tree(yaml.safe_load(example.read_text()), str(example))
    assert isinstance(spec, TrainingJob)
    found = profiles.of_job(spec, chips.named("local-cpu"))
    assert found.sizes == (4, 3, 2) and found.memory_copies


def test_a_recipe_keeps_copies_unless_its_configuration_has_its_own_word() -> None:
    assert profile("local-cpu", 4, 1).memory_copies
    assert not profile("local-cpu", 1, 1).memory_copies, "one node has no peer"
    for own in (0, 5):
        assert not profile("local-cpu", 4, 1, memory_every_steps=own).memory_copies
