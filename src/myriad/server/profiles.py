"""What the edge knows of a job before it runs: the recipe's own word on its work, or the user's on a command.

A configuration the recipe would refuse on the nodes is refused here, before any chip is given.
"""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from myriad.kernel import units
from myriad.kernel.errors import UserError, near
from myriad.protocol.values import Profile
from myriad.worker.recipes.pretrain import config as pretrain
from myriad.workload.jobs import TrainingJob

#: Bytes for each parameter: fp32 weights, gradients and two Adam moments, sharded over the gang.
_STATE_BYTES = 16
#: Bytes of activations for each token and hidden unit of a layer: some 16 saved tensors of 4 bytes.
#: Estimated, as the logits below (values, their log-softmax and its gradient).
_ACTIVATION_BYTES = 64
_LOGIT_BYTES = 12


def of_job(spec: TrainingJob) -> Profile:
    """The profile of a job. Raises UserError naming the field of a bad configuration."""
    if spec.command:
        return Profile(expected_ns=units.span_ns(spec.expected) if spec.expected else 0)
    if spec.recipe not in _RECIPES:
        raise UserError(
            "is not a recipe", field="recipe", value=spec.recipe, remedy=near(spec.recipe, _RECIPES)
        )
    return _RECIPES[spec.recipe](spec)


def _pretrain(spec: TrainingJob) -> Profile:
    tree: dict[str, Any] = dict(spec.config)
    config = pretrain.Config.of(tree)
    pretrain.check_world(config, spec.chips)
    _check_corpus(config.data)
    return Profile(
        steps=config.steps,
        tokens_per_step=config.tokens_per_step,
        flops_per_step=pretrain.step_flops(config),
        parameters=pretrain.parameter_count(config.model),
        memory_bytes_per_chip=_memory_bytes(config, spec.chips),
        expected_ns=units.span_ns(spec.expected) if spec.expected else 0,
    )


def _memory_bytes(config: pretrain.Config, chips: int) -> int:
    """Peak memory of one chip: its share of the sharded state, one unsharded layer, activations, logits."""
    model = config.model
    parameters = pretrain.parameter_count(model)
    sequences = min(config.micro_batch_sequences, math.ceil(config.global_batch_sequences / chips))
    tokens = sequences * model.context
    activations = tokens * model.layers * (_ACTIVATION_BYTES * model.hidden + 12 * model.ffn)
    scores = sequences * model.heads * model.context**2 * 4 * model.layers
    return (
        parameters * _STATE_BYTES // chips
        + parameters // model.layers * 8
        + activations
        + scores
        + tokens * model.vocab * _LOGIT_BYTES
    )


def _check_corpus(data: pretrain.Data) -> None:
    """Raises UserError when there is no text to learn from. Stops at the first file that matches."""
    if data.corpus == pretrain.STDLIB:
        return
    root = Path(data.corpus)
    if not (root.is_absolute() and root.is_dir()):
        raise UserError(
            "is not a folder" if root.is_absolute() else "is not an absolute path",
            field="config: data.corpus",
            value=data.corpus,
            remedy=f"Give a folder that every node can read, or {pretrain.STDLIB!r}",
        )
    try:
        found = any(path.is_file() for path in root.rglob(data.pattern))
    except (NotImplementedError, ValueError) as error:
        raise UserError(
            f"is no pattern of file names: {error}", field="config: data.pattern", value=data.pattern
        ) from None
    if not found:
        raise UserError(
            f"holds no file that matches {data.pattern!r}",
            field="config: data.corpus",
            value=data.corpus,
            remedy="Check the folder, or set data.pattern (for example '*.txt')",
        )


_RECIPES: dict[str, Callable[[TrainingJob], Profile]] = {"pretrain": _pretrain}
