"""Model architectures as data: files of `models/`. Dimensions, and the parameters that follow from them.

Counts are exact: a test compares each with the count its makers published. FLOPs and memory are the business
of `performance`.
"""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from myriad.catalog.figures import Figure, Status

Positive = Annotated[int, Meta(ge=1)]
Natural = Annotated[int, Meta(ge=0)]


class Mla(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Multi-head latent attention (DeepSeek-V2, 2024): keys and values go through a narrow latent vector."""

    #: 0 = queries are not compressed.
    q_rank: Natural
    kv_rank: Positive
    #: Of each head: without and with rotary position, and of the values.
    nope_dim: Positive
    rope_dim: Positive
    v_dim: Positive


class Moe(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Mixture of experts in place of the MLP."""

    experts: Positive
    #: Routed experts that each token visits.
    top_k: Positive
    ffn: Positive
    #: Experts that every token visits, and the width of each.
    shared_experts: Natural = 0
    shared_ffn: Natural = 0
    #: The first layers that keep a dense MLP.
    dense_layers: Natural = 0
    #: Of the layers after these every n-th has experts; 1 = all.
    every: Positive = 1
    #: The router has one bias for each expert.
    router_bias: bool = False


class Model(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A decoder-only transformer. Dimensions are counts; `status` and `source` speak for all of them."""

    title: str
    aliases: tuple[str, ...] = ()
    status: Status
    source: str
    layers: Positive
    hidden: Positive
    heads: Positive
    kv_heads: Positive
    head_dim: Positive
    #: Width of the dense MLP; 0 when every layer has experts.
    ffn: Natural
    #: Two matrices up and one down (SwiGLU and kin) instead of one up.
    gated: bool
    vocab: Positive
    #: Input and output embedding are one matrix.
    tied: bool
    #: "rms" has a weight, "layer" a weight and a bias.
    norm: Literal["rms", "layer"]
    mla: Mla | None = None
    moe: Moe | None = None
    qkv_bias: bool = False
    #: All linear layers have a bias, experts included; the output embedding has none.
    bias: bool = False
    #: Queries and keys are normalised head by head.
    qk_norm: bool = False
    #: One learned number for each head joins the softmax.
    attention_sinks: bool = False
    #: The input embedding is normalised.
    embedding_norm: bool = False
    #: 0 = rotary, ALiBi or none.
    learned_positions: Natural = 0
    #: Tokens of a sequence in most of its pre-training, as published; 0 = nobody said.
    context: Natural = 0
    #: Exact when it has no interval; otherwise the interval is that of the rounding.
    parameters_published: Figure

    def __post_init__(self) -> None:
        if self.heads % self.kv_heads:
            raise ValueError("heads must be a multiple of kv_heads")
        if self.moe_layers < self.layers and not self.ffn:
            raise ValueError("ffn must be given: some layers have a dense MLP")
        if self.moe is not None and self.moe.dense_layers > self.layers:
            raise ValueError("moe.dense_layers must be at most layers")
        if self.moe is not None and self.moe.top_k > self.moe.experts:
            raise ValueError("top_k must be at most experts")

    @property
    def attention(self) -> Literal["mha", "gqa", "mla"]:
        """Which kind of attention."""
        if self.mla is not None:
            return "mla"
        return "mha" if self.kv_heads == self.heads else "gqa"

    @property
    def moe_layers(self) -> int:
        """Layers with experts."""
        return 0 if self.moe is None else (self.layers - self.moe.dense_layers) // self.moe.every

    @property
    def norm_parameters(self) -> int:
        """Of one norm over the hidden dimension."""
        return self.hidden * (2 if self.norm == "layer" else 1)

    @property
    def attention_parameters(self) -> int:
        """Of one layer's attention, without the norm before it."""
        if self.mla is not None:
            return self._mla_parameters(self.mla)
        q, kv = self.heads * self.head_dim, self.kv_heads * self.head_dim
        found = self.hidden * (q + 2 * kv) + q * self.hidden
        found += (q + 2 * kv) * (self.qkv_bias or self.bias) + self.hidden * self.bias
        return found + 2 * self.head_dim * self.qk_norm + self.heads * self.attention_sinks

    def _mla_parameters(self, mla: Mla) -> int:
        q = self.heads * (mla.nope_dim + mla.rope_dim)
        # down, norm, up; or straight
        found = self.hidden * mla.q_rank + mla.q_rank + mla.q_rank * q if mla.q_rank else self.hidden * q
        found += self.hidden * (mla.kv_rank + mla.rope_dim) + mla.kv_rank
        found += mla.kv_rank * self.heads * (mla.nope_dim + mla.v_dim)
        return found + self.heads * mla.v_dim * self.hidden

    def _mlp(self, width: int) -> int:
        up = 2 if self.gated else 1
        return (up + 1) * self.hidden * width + (up * width + self.hidden) * self.bias

    @property
    def mlp_parameters(self) -> int:
        """Of one layer's dense MLP, without the norm before it."""
        return self._mlp(self.ffn) if self.ffn else 0

    @property
    def expert_parameters(self) -> int:
        """Of one routed expert; 0 without experts."""
        return self._mlp(self.moe.ffn) if self.moe else 0

    @property
    def shared_parameters(self) -> int:
        """Of one layer's shared experts and router: all of its MLP but the routed ones."""
        if self.moe is None:
            return 0
        shared = self.moe.shared_experts * self._mlp(self.moe.shared_ffn) if self.moe.shared_experts else 0
        return shared + self.moe.experts * (self.hidden + self.moe.router_bias)

    @property
    def embedding_parameters(self) -> int:
        """Of the input side: tokens, learned positions and the norm after them."""
        found = (self.vocab + self.learned_positions) * self.hidden
        return found + self.norm_parameters * self.embedding_norm

    @property
    def head_parameters(self) -> int:
        """Of the output side: the last norm, and the output embedding unless it is the input's."""
        return self.norm_parameters + (0 if self.tied else self.vocab * self.hidden)

    @property
    def parameters(self) -> int:
        """All of them, exactly; heads for multi-token prediction are not counted."""
        return self._with_experts(self.moe.experts if self.moe else 0)

    @property
    def active_parameters(self) -> int:
        """All but those of the experts that a token does not visit; both embeddings count."""
        return self._with_experts(self.moe.top_k if self.moe else 0)

    def _with_experts(self, experts: int) -> int:
        found = self.layers * (self.attention_parameters + 2 * self.norm_parameters)
        found += (self.layers - self.moe_layers) * self.mlp_parameters
        found += self.moe_layers * (self.shared_parameters + experts * self.expert_parameters)
        return found + self.embedding_parameters + self.head_parameters
