"""What the edge knows of a job before it runs: the recipe's own word on its work, or the user's on a command.

A configuration the recipe would refuse on the nodes is refused here, before any chip is given.
"""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from myriad.catalog.chips import Chip
from myriad.catalog.figures import Figure
from myriad.catalog.models import Model
from myriad.kernel import units
from myriad.kernel.errors import UserError, near
from myriad.performance import shares
from myriad.protocol.values import Profile
from myriad.worker.recipes.pretrain import config as pretrain
from myriad.workload.jobs import TrainingJob

#: Bytes for each parameter: fp32 weights, gradients and two Adam moments, sharded over the gang.
_STATE_BYTES = 16
#: Bytes of activations for each token and hidden unit of a layer: some 16 saved tensors of 4 bytes.
#: Estimated, as the logits below (values, their log-softmax and its gradient).
_ACTIVATION_BYTES = 64
_LOGIT_BYTES = 12


def of_job(spec: TrainingJob, chip: Chip) -> Profile:
    """The profile of a job on chips of a site. Raises UserError naming the field of a bad configuration."""
    if spec.command:
        return Profile(expected_ns=units.span_ns(spec.expected) if spec.expected else 0)
    if spec.recipe not in _RECIPES:
        raise UserError(
            "is not a recipe", field="recipe", value=spec.recipe, remedy=near(spec.recipe, _RECIPES)
        )
    return _RECIPES[spec.recipe](spec, chip)


def sizes(spec: TrainingJob, chip: Chip, smallest: int, largest: int) -> tuple[int, ...]:
    """Numbers of nodes from `smallest` to `largest` on which the job can run and fits the chips' memory.

    A checkpoint of one of them is taken up by any other. Of a command nothing is known: all are as good.
    Costs one division for each number of nodes. Raises UserError naming the field of a bad configuration.
    """
    if spec.command:
        return tuple(range(max(smallest, 1), largest + 1))
    config = pretrain.Config.of(dict(spec.config))
    room = chip.memory_bytes.value
    legal = pretrain.sizes(config, spec.chips_per_node, smallest, largest)
    return tuple(n for n in legal if _memory_bytes(config, n * spec.chips_per_node) <= room)


def _pretrain(spec: TrainingJob, chip: Chip) -> Profile:
    tree: dict[str, Any] = dict(spec.config)
    config = pretrain.Config.of(tree)
    pretrain.check_world(config, spec.chips)
    _check_corpus(config.data)
    return Profile(
        steps=config.steps,
        tokens_per_step=config.tokens_per_step,
        flops_per_step=pretrain.step_flops(config),
        peak_share=_peak_share(config, spec.chips, chip),
        parameters=pretrain.parameter_count(config.model),
        memory_bytes_per_chip=_memory_bytes(config, spec.chips),
        expected_ns=units.span_ns(spec.expected) if spec.expected else 0,
    )


def _peak_share(config: pretrain.Config, chips: int, chip: Chip) -> float:
    """As the performance model predicts FSDP2 over all ranks, the recipe's only layout."""
    of = config.model
    source = "the job's configuration"
    count = Figure(value=pretrain.parameter_count(of), status="derived", source=source)
    model = Model(
        title="of the job", status="derived", source=source, parameters_published=count,
        layers=of.layers, hidden=of.hidden, heads=of.heads, kv_heads=of.kv_heads, head_dim=of.head_width,
        ffn=of.ffn, gated=True, vocab=of.vocab, tied=of.tied_embeddings, norm="rms",
    )  # fmt: skip
    sequences = min(config.micro_batch_sequences, math.ceil(config.global_batch_sequences / chips))
    return shares.of_step(
        model,
        chip,
        {"dp": chips, "zero": 3, "micro_batch": sequences},
        sequence=of.context,
        global_batch=config.global_batch_sequences,
        flops_per_step=pretrain.step_flops(config),
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


_RECIPES: dict[str, Callable[[TrainingJob, Chip], Profile]] = {"pretrain": _pretrain}
