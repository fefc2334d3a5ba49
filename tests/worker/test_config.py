"""A bad configuration is refused before a chip is given, by field, value and remedy."""

import subprocess
import sys
from typing import Any

import pytest

from myriad.kernel.errors import UserError
from myriad.worker.recipes.pretrain import config as recipe


@pytest.mark.parametrize(
    ("tree", "field", "words"),
    [
        ({"stepz": 5}, "stepz", "steps"),
        ({"model": {"hiden": 5}}, "model.hiden", "hidden"),
        ({"model": {"hidden": "big"}}, "model.hidden", "big"),
        ({"model": {"hidden": 100, "heads": 3}}, "model.hidden", "multiple of heads"),
        ({"model": {"hidden": 15, "heads": 3}}, "model.hidden", "multiple of 6"),
        ({"model": {"heads": 6, "kv_heads": 4}}, "model.kv_heads", "divide heads"),
        ({"model": {"layers": 0}}, "model.layers", "more than 0"),
        ({"model": {"vocab": 100}}, "model.vocab", "259"),
        ({"steps": -1}, "steps", "more than 0"),
        ({"warmup_steps": -1}, "warmup_steps", "0 or more"),
        ({"precision": "fp8"}, "precision", "fp8"),
        ({"data": {"limit_bytes": 0}}, "data.limit_bytes", "more than 0"),
        ({"checkpoint_every_steps": 0}, "checkpoint_every_steps", "more than 0"),
    ],
)
def test_it_is_refused_by_name(tree: dict[str, Any], field: str, words: str) -> None:
    with pytest.raises(UserError) as caught:
        recipe.Config.of(tree)
    assert caught.value.field == f"config: {field}"
    assert words in str(caught.value)


def test_a_batch_that_the_ranks_cannot_share_is_refused() -> None:
    config = recipe.Config.of({"global_batch_sequences": 32})
    recipe.check_world(config, 4)
    with pytest.raises(UserError, match="multiple of 3"):
        recipe.check_world(config, 3)


def test_the_sizes_are_those_that_share_the_batch_evenly() -> None:
    config = recipe.Config.of({"global_batch_sequences": 32})
    assert recipe.sizes(config, 1, 1, 100_000) == (1, 2, 4, 8, 16, 32)
    assert recipe.sizes(config, 8, 1, 8) == (1, 2, 4)
    assert recipe.sizes(config, 1, 9, 15) == ()
    for nodes in recipe.sizes(config, 2, 2, 8):
        recipe.check_world(config, 2 * nodes)


def test_flops_and_parameters_by_hand() -> None:
    # Llama 2 7B has 6,738,415,616 parameters (its own model card and safetensors index).
    llama = recipe.Model(
        layers=32,
        hidden=4096,
        heads=32,
        kv_heads=32,
        ffn=11008,
        vocab=32000,
        context=4096,
        tied_embeddings=False,
    )
    assert recipe.parameter_count(llama) == 6_738_415_616
    config = recipe.Config(model=llama, global_batch_sequences=1)
    per_token = recipe.step_flops(config) / 4096
    assert per_token == 6 * (6_738_415_616 - 32000 * 4096) + 12 * 32 * 4096 * 4096


def test_the_configuration_needs_no_torch() -> None:
    code = "import sys, myriad.worker.recipes.pretrain.config; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
