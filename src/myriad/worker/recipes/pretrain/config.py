"""What a tenant writes under `config:` of a pre-training job, validated before any chip is given.

Pure and free of torch, so that a server can refuse a bad configuration at submission.
"""

from typing import Any, Literal, Self

import msgspec

from myriad.kernel import documents
from myriad.kernel.errors import UserError

#: The corpus that every machine has: the sources of the Python that runs.
STDLIB = "python-stdlib"
SPECIAL_TOKENS = ("<|startoftext|>", "<|endoftext|>", "<|pad|>")
#: The alphabet of a byte-level tokenizer and its special tokens.
_SMALLEST_VOCAB = 256 + len(SPECIAL_TOKENS)


class Model(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The shape of a Llama: RMSNorm, RoPE, SwiGLU, grouped-query attention."""

    layers: int = 4
    hidden: int = 192
    heads: int = 6
    #: Heads of keys and values; fewer than `heads` is grouped-query attention.
    kv_heads: int = 2
    #: Width of the SwiGLU feed-forward layer.
    ffn: int = 512
    vocab: int = 2048
    #: Tokens of one sequence.
    context: int = 128
    rope_theta: float = 10_000.0
    norm_epsilon: float = 1e-5
    #: The output projection is the embedding itself.
    tied_embeddings: bool = True

    @property
    def head_width(self) -> int:
        """Width of one attention head."""
        return self.hidden // self.heads


class Data(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the text comes from."""

    #: `python-stdlib`, or a folder of text readable from every node.
    corpus: str = STDLIB
    #: Which files of the folder, searched at any depth.
    pattern: str = "*.py"
    #: Files are taken in sorted order until this much text is read.
    limit_bytes: int = 4_000_000


class Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One pre-training run. The same configuration and seed give the same run."""

    model: Model = Model()
    data: Data = Data()
    steps: int = 200
    #: Sequences of one step over the whole gang, whatever its size.
    global_batch_sequences: int = 32
    #: Sequences one rank computes at a time; bounds memory, not the result.
    micro_batch_sequences: int = 8
    learning_rate: float = 3e-3
    warmup_steps: int = 20
    weight_decay: float = 0.1
    #: Largest norm of the gradient.
    grad_clip: float = 1.0
    seed: int = 0
    #: Arithmetic of the layers; weights, gradients' sums and the optimizer stay fp32.
    precision: Literal["fp32", "bf16"] = "fp32"
    checkpoint_every_steps: int = 25
    keep_checkpoints: int = 3
    #: Steps between checkpoints in the nodes' memory, beside those on storage; 0: none; not given: as the
    #: control plane advises, and none without one.
    memory_every_steps: int | None = None
    log_every: int = 10
    #: A checkpoint folder to begin from when the job has none of its own yet.
    start_from: str = ""

    @classmethod
    def of(cls, tree: dict[str, Any]) -> Self:
        """A validated configuration. Raises UserError naming the field."""
        config = documents.convert(tree, cls, "config")
        _check(config)
        return config

    @property
    def tokens_per_step(self) -> int:
        """Tokens of one step over the whole gang."""
        return self.global_batch_sequences * self.model.context


def parameter_count(model: Model) -> int:
    """Every trained weight; a tied output projection counts once."""
    attention = model.hidden * model.head_width * (2 * model.heads + 2 * model.kv_heads)
    feed_forward = 3 * model.hidden * model.ffn
    norms = 2 * model.hidden
    embeddings = model.vocab * model.hidden * (1 if model.tied_embeddings else 2)
    return model.layers * (attention + feed_forward + norms) + model.hidden + embeddings


def step_flops(config: Config) -> float:
    """Model FLOPs of one step over the whole gang: tokens x (6 N + 12 L H Q T).

    The convention of PaLM (Chowdhery et al. 2022, arXiv:2204.02311, appendix B): 6 per weight that is
    multiplied, forward and backward, and the attention term without a discount for causality. N leaves
    out an input embedding of its own, which is looked up and not multiplied; recomputation never counts.
    """
    model = config.model
    lookup = 0 if model.tied_embeddings else model.vocab * model.hidden
    weights = parameter_count(model) - lookup
    attention = 12 * model.layers * model.heads * model.head_width * model.context
    return float(config.tokens_per_step * (6 * weights + attention))


def check_world(config: Config, world_size: int) -> None:
    """Raises UserError unless the gang's ranks can share the batch evenly."""
    if config.global_batch_sequences % world_size:
        raise UserError(
            f"cannot be shared evenly by {world_size} ranks",
            field="config: global_batch_sequences",
            value=config.global_batch_sequences,
            remedy=f"Take a multiple of {world_size}, or another number of nodes",
        )


def sizes(config: Config, chips_per_node: int, smallest: int, largest: int) -> tuple[int, ...]:
    """Numbers of nodes from `smallest` to `largest` on which the run may start or be taken up again.

    The recipe has one layout, FSDP over all ranks, and shards of any width (empty ones too): what binds
    is that the ranks share the global batch evenly, as `check_world` demands.
    """
    most = min(largest, config.global_batch_sequences // chips_per_node)
    counts = range(max(smallest, 1), most + 1)
    return tuple(n for n in counts if config.global_batch_sequences % (n * chips_per_node) == 0)


def _check(config: Config) -> None:
    _check_positive(config.model, "model.")
    _check_positive(config.data, "data.")
    _check_positive(config, "")
    model = config.model
    _require(
        model.hidden % model.heads == 0,
        "model.hidden",
        model.hidden,
        f"must be a multiple of heads ({model.heads})",
    )
    _require(
        model.head_width % 2 == 0,
        "model.hidden",
        model.hidden,
        f"gives heads of odd width {model.head_width}, and rotary positions need pairs",
        f"Take a multiple of {2 * model.heads}",
    )
    _require(
        model.heads % model.kv_heads == 0,
        "model.kv_heads",
        model.kv_heads,
        f"must divide heads ({model.heads})",
    )
    _require(
        model.vocab >= _SMALLEST_VOCAB,
        "model.vocab",
        model.vocab,
        "is too small for a byte-level tokenizer",
        f"Take at least {_SMALLEST_VOCAB}",
    )


#: Numbers that may be zero; every other one must be more.
_MAY_BE_ZERO = ("warmup_steps", "weight_decay", "seed", "memory_every_steps")


def _check_positive(part: msgspec.Struct, prefix: str) -> None:
    for name in part.__struct_fields__:
        value = getattr(part, name)
        if isinstance(value, bool) or not isinstance(value, int | float):
            continue
        least = "0 or more" if name in _MAY_BE_ZERO else "more than 0"
        fine = value >= 0 if name in _MAY_BE_ZERO else value > 0
        _require(fine, prefix + name, value, f"must be {least}")


def _require(fine: bool, field: str, value: object, problem: str, remedy: str = "") -> None:
    if not fine:
        raise UserError(problem, field=f"config: {field}", value=value, remedy=remedy)
