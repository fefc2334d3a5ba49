"""What of a model matters for serving it.

Its matrices, what a token's keys and values weigh, where they lie. Between the catalogue's models and
`times`. Exact parameter counts stay in the catalogue; here are the matrices that a step multiplies.
Sources: GQA (Ainslie et al., 2023), MLA with its matrices absorbed in decode (DeepSeek-V2, 2024).
"""

from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from myriad.catalog.models import Model
from myriad.kernel.errors import UserError, near
from myriad.performance.serving.machine import ServingMachine

Floats = NDArray[np.float64]
#: Bytes of one weight or one number of a key or value.
BYTES: Final = {"bf16": 2.0, "fp16": 2.0, "fp8": 1.0, "int8": 1.0, "fp4": 0.5}


class Matrix(NamedTuple):
    """One matrix of a layer."""

    inner: int  # the dimension that is summed over
    outer: int
    layers: int  # how many layers have it
    sliced: bool  # tensor parallelism gives each chip a slice; otherwise each has all of it


class ServingLayouts(NamedTuple):
    """Ways to spread one replica, one array each, shape (n,) or anything that broadcasts.

    A stage of the pipeline is `max(tp, ep)` chips: `ep` chips share the experts out, every `tp` of them
    hold one copy of the attention and feed it their own requests. `ep` 1: experts are sliced by tp like the
    rest.
    """

    tp: Floats
    pp: Floats
    ep: Floats

    @property
    def chips(self) -> Floats:
        """Of one replica."""
        return self.pp * np.maximum(self.tp, self.ep)

    @property
    def copies(self) -> Floats:
        """Copies of the attention in one stage."""
        return np.maximum(1.0, self.ep / self.tp)

    @property
    def lanes(self) -> Floats:
        """Independent streams of steps in one replica: copies of the attention times stages kept busy."""
        return self.copies * self.pp

    def reshaped(self, axes: int) -> "ServingLayouts":
        """With `axes` more dimensions of length 1 behind, to broadcast against batches or lengths."""
        return ServingLayouts(*(column.reshape(column.shape + (1,) * axes) for column in self))


def layouts(tp: object, pp: object = 1, ep: object = 1) -> ServingLayouts:
    """Columns from numbers or lists, broadcast to one shape."""
    return ServingLayouts(*np.broadcast_arrays(*(np.asarray(column, np.float64) for column in (tp, pp, ep))))


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """A model at a precision of weights and of keys and values."""

    layers: int
    hidden: int
    heads: int
    kv_heads: int  # among which tensor parallelism can split keys and values; 1 with MLA
    matrices: tuple[Matrix, ...]  # every token multiplies these
    expert: tuple[Matrix, ...]  # of one routed expert; `layers` = layers with experts
    experts: int
    top_k: int
    head: Matrix
    weight_precision: str
    weight_bytes: float
    kv_bytes: float  # of one token in one layer, all heads
    prefill_width: int  # FLOP of attention: 2 x heads x this for each pair of tokens
    decode_width: int  # likewise on the compressed keys and values that decode reads
    other_bytes: float  # embeddings, norms, biases, routers: in bf16, on every chip's share of layers

    @property
    def kv_group(self) -> float:
        """Query heads that share one head of keys and values."""
        return self.heads / self.kv_heads


def shape_of(model: Model, weights: str = "bf16", kv: str = "bf16") -> Shape:
    """The model at these precisions. Raises UserError for a precision that is not known."""
    for field, value in (("weights", weights), ("kv", kv)):
        if value not in BYTES:
            raise UserError("is not a precision", field=field, value=value, remedy=near(value, BYTES))
    mla, moe = model.mla, model.moe
    dense_layers = model.layers - model.moe_layers
    matrices = _attention(model) + (_mlp(model, model.ffn, dense_layers) if dense_layers else ())
    if moe and moe.shared_experts:
        matrices += _mlp(model, moe.shared_experts * moe.shared_ffn, model.moe_layers)
    expert = _mlp(model, moe.ffn, model.moe_layers) if moe else ()
    head = Matrix(model.hidden, model.vocab, 1, True)
    counted = sum(m.inner * m.outer * m.layers for m in matrices)
    counted += sum(m.inner * m.outer * m.layers for m in expert) * (moe.experts if moe else 0)
    rope, rank = (mla.rope_dim, mla.kv_rank) if mla else (0, 0)
    return Shape(
        layers=model.layers,
        hidden=model.hidden,
        heads=model.heads,
        kv_heads=1 if mla else model.kv_heads,
        matrices=matrices,
        expert=expert,
        experts=moe.experts if moe else 0,
        top_k=moe.top_k if moe else 0,
        head=head,
        weight_precision=weights,
        weight_bytes=BYTES[weights],
        kv_bytes=BYTES[kv] * (rank + rope if mla else 2 * model.kv_heads * model.head_dim),
        prefill_width=mla.nope_dim + rope + mla.v_dim if mla else 2 * model.head_dim,
        decode_width=2 * rank + rope if mla else 2 * model.head_dim,
        other_bytes=2.0 * (model.parameters - counted),
    )


def _attention(model: Model) -> tuple[Matrix, ...]:
    hidden, layers, mla = model.hidden, model.layers, model.mla
    if mla is None:
        q = model.heads * model.head_dim
        kv = 2 * model.kv_heads * model.head_dim
        return Matrix(hidden, q + kv, layers, True), Matrix(q, hidden, layers, True)
    q = model.heads * (mla.nope_dim + mla.rope_dim)
    queries = (
        (Matrix(hidden, mla.q_rank, layers, False), Matrix(mla.q_rank, q, layers, True))
        if mla.q_rank
        else (Matrix(hidden, q, layers, True),)
    )
    return (
        *queries,
        Matrix(hidden, mla.kv_rank + mla.rope_dim, layers, False),
        Matrix(mla.kv_rank, model.heads * (mla.nope_dim + mla.v_dim), layers, True),
        Matrix(model.heads * mla.v_dim, hidden, layers, True),
    )


def _mlp(model: Model, width: int, layers: int) -> tuple[Matrix, ...]:
    up = 2 if model.gated else 1
    return Matrix(model.hidden, up * width, layers, True), Matrix(width, model.hidden, layers, True)


def distinct_experts(experts: int, top_k: int, tokens: Floats) -> Floats:
    """Expected experts of one layer that at least one of `tokens` visits, routing being uniform and
    independent.
    """
    if not experts:
        return np.zeros_like(tokens)
    return np.asarray(experts * (1.0 - (1.0 - top_k / experts) ** tokens))


def chip_weight_bytes(shape: Shape, layout: ServingLayouts) -> Floats:
    """Weights on the fullest chip, bytes, shape of the layout's columns."""
    size = shape.weight_bytes
    dense = sum(m.inner * m.outer * m.layers / (layout.tp if m.sliced else 1.0) for m in shape.matrices)
    expert = sum(m.inner * m.outer * m.layers for m in shape.expert) * shape.experts
    return np.asarray(
        (size * dense + size * expert / np.maximum(layout.tp, layout.ep)) / layout.pp
        + (shape.other_bytes / layout.tp / np.minimum(layout.pp, 2.0))
    )


def chip_kv_bytes(shape: Shape, layout: ServingLayouts) -> Floats:
    """Of one token on each chip that holds it, bytes."""
    split = np.minimum(layout.tp, shape.kv_heads)
    return np.asarray(shape.kv_bytes * shape.layers / layout.pp / split)


def kv_tokens(shape: Shape, machine: ServingMachine, layout: ServingLayouts) -> Floats:
    """Tokens whose keys and values one copy of the attention holds; 0 or less: the weights leave no room."""
    usable = machine.memory_bytes * machine.memory_use_share - machine.workspace_bytes
    return np.asarray(np.floor((usable - chip_weight_bytes(shape, layout)) / chip_kv_bytes(shape, layout)))
