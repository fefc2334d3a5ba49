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
from myriad.performance import shares, spans
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
        alone = spec.max_nodes == 1
        return Profile(
            expected_ns=units.span_ns(spec.expected) if spec.expected else 0,
            stretch=spans.ALIKE if alone else spans.of_unknown(chip, spec.chips),
        )
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
    each = spec.ranks_per_node
    legal = pretrain.sizes(config, each, smallest, largest)
    return tuple(n for n in legal if _memory_bytes(config, n * each) <= room)


def _pretrain(spec: TrainingJob, chip: Chip) -> Profile:
    """Of an elastic job: all figures are those of its largest size."""
    tree: dict[str, Any] = dict(spec.config)
    config = pretrain.Config.of(tree)
    found: tuple[int, ...] = ()
    if isinstance(spec.nodes, int):
        pretrain.check_world(config, spec.max_nodes * spec.ranks_per_node)
    else:
        found = _elastic(spec, chip, config)
    _check_corpus(config.data)
    nodes = found[0] if found else spec.max_nodes
    ranks = nodes * spec.ranks_per_node
    model = _model(config)
    sequences = min(config.micro_batch_sequences, math.ceil(config.global_batch_sequences / ranks))
    layout: dict[str, float] = {"dp": ranks, "zero": 3, "micro_batch": sequences}
    context, batch = config.model.context, config.global_batch_sequences
    flops = pretrain.step_flops(config)
    return Profile(
        steps=config.steps,
        tokens_per_step=config.tokens_per_step,
        flops_per_step=flops,
        peak_share=shares.of_step(
            model, chip, layout, sequence=context, global_batch=batch, flops_per_step=flops
        ),
        parameters=pretrain.parameter_count(config.model),
        memory_bytes_per_chip=_memory_bytes(config, ranks),
        expected_ns=units.span_ns(spec.expected) if spec.expected else 0,
        memory_copies=nodes > 1 and config.memory_every_steps is None,
        sizes=found,
        stretch=spans.ALIKE
        if nodes == 1
        else spans.of_step(model, chip, layout, sequence=context, global_batch=batch),
    )


def _elastic(spec: TrainingJob, chip: Chip, config: pretrain.Config) -> tuple[int, ...]:
    """Sizes of an elastic job, largest first. Raises UserError naming `nodes` when there is none."""
    least, most = spec.min_nodes, spec.max_nodes
    found = sizes(spec, chip, least, most)
    if found:
        return found[::-1]
    batch, said = config.global_batch_sequences, f"{{min: {least}, max: {most}}}"
    legal = pretrain.sizes(config, spec.ranks_per_node, 1, batch)
    if any(least <= size <= most for size in legal):
        raise UserError(
            f"has no size at which the model fits {chip.memory_bytes.value / 2**30:.0f} GiB of a chip",
            field="nodes",
            value=said,
            remedy="Raise max, or lower micro_batch_sequences or model.context",
        )
    around = ", ".join(map(str, legal)) or "none"
    raise UserError(
        f"has no size whose ranks can share global_batch_sequences: {batch} evenly",
        field="nodes",
        value=said,
        remedy=f"Take a range with one of {around}, or another global_batch_sequences",
    )


def _model(config: pretrain.Config) -> Model:
    """The job's model as the performance model reads it."""
    of = config.model
    source = "the job's configuration"
    count = Figure(value=pretrain.parameter_count(of), status="derived", source=source)
    return Model(
        title="of the job", status="derived", source=source, parameters_published=count,
        layers=of.layers, hidden=of.hidden, heads=of.heads, kv_heads=of.kv_heads, head_dim=of.head_width,
        ffn=of.ffn, gated=True, vocab=of.vocab, tied=of.tied_embeddings, norm="rms",
    )  # fmt: skip


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
