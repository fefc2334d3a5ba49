"""What one training step has to compute: the dimensions of a model and the batch, as columns.

A catalogue model becomes a `Work` by `of`; a table of runs of many models becomes one by `stacked`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np

from myriad.catalog.models import Model
from myriad.performance.columns import Column, column


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """One training step. Every field has shape () or (n,); widths are numbers of elements."""

    layers: Column
    hidden: Column
    heads: Column
    #: Of one head: queries and keys, and values.
    qk_dim: Column
    v_dim: Column
    kv_heads: Column
    #: Multi-head latent attention: ranks of the compressed queries and keys-values, and the rotary part; 0
    #: = none.
    q_rank: Column
    kv_rank: Column
    rope_dim: Column
    #: Width of a dense feed-forward layer, and matrices that read its input (2 when gated).
    ffn: Column
    ffn_inputs: Column
    vocab: Column
    #: 1 where embedding and head share their weights.
    tied: Column
    #: Mixture of experts: layers that have experts, experts a layer, chosen per token, their width, the
    #: shared width.
    moe_layers: Column
    experts: Column
    top_k: Column
    expert_ffn: Column
    shared_ffn: Column
    #: Tokens of a sequence, sequences of a step.
    sequence: Column
    global_batch: Column

    @classmethod
    def of(cls, model: Model, *, sequence: float, global_batch: float) -> "Work":
        """The step of a catalogue model on `global_batch` sequences of `sequence` tokens."""
        mla, moe = model.mla, model.moe
        moe_layers = 0 if moe is None else (model.layers - moe.dense_layers) // moe.every
        values = {
            "layers": model.layers,
            "hidden": model.hidden,
            "heads": model.heads,
            "qk_dim": mla.nope_dim + mla.rope_dim if mla else model.head_dim,
            "v_dim": mla.v_dim if mla else model.head_dim,
            "kv_heads": model.heads if mla else model.kv_heads,
            "q_rank": mla.q_rank if mla else 0,
            "kv_rank": mla.kv_rank if mla else 0,
            "rope_dim": mla.rope_dim if mla else 0,
            "ffn": model.ffn,
            "ffn_inputs": 2 if model.gated else 1,
            "vocab": model.vocab,
            "tied": float(model.tied),
            "moe_layers": moe_layers,
            "experts": moe.experts if moe else 1,
            "top_k": moe.top_k if moe else 1,
            "expert_ffn": moe.ffn if moe else 0,
            "shared_ffn": moe.shared_experts * moe.shared_ffn if moe else 0,
            "sequence": sequence,
            "global_batch": global_batch,
        }
        return cls(**{name: column(value) for name, value in values.items()})

    @classmethod
    def stacked(cls, works: "Sequence[Work]") -> "Work":
        """Many steps as one table, one entry each."""
        names = [field.name for field in fields(cls)]
        return cls(**{name: np.array([float(getattr(work, name)) for work in works]) for name in names})

    @property
    def tokens(self) -> Column:
        """Tokens of one step."""
        return self.sequence * self.global_batch

    @property
    def latent_parameters(self) -> Column:
        """Weights that compress queries, keys and values, or 0; every TP rank has all of them."""
        return np.where(self.kv_rank > 0, self.hidden * (self.q_rank + self.kv_rank + self.rope_dim), 0.0)

    @property
    def attention_parameters(self) -> Column:
        """Weights of the attention of one layer."""
        direct = self.hidden * (self.heads * self.qk_dim + self.kv_heads * (self.qk_dim + self.v_dim))
        queries = np.where(self.q_rank > 0, self.q_rank, self.hidden) * self.heads * self.qk_dim
        latent = (
            self.latent_parameters
            + queries
            + self.kv_rank * self.heads * (self.qk_dim - self.rope_dim + self.v_dim)
        )
        output = self.heads * self.v_dim * self.hidden
        return np.where(self.kv_rank > 0, latent, direct) + output

    @property
    def matmul_parameters(self) -> Column:
        """Weights that every token is multiplied with: 2 FLOPs each forward, 4 backward."""
        dense = (self.ffn_inputs + 1) * self.hidden * self.ffn
        sparse = (self.ffn_inputs + 1) * self.hidden * (self.top_k * self.expert_ffn + self.shared_ffn)
        sparse = sparse + self.hidden * self.experts
        feed = dense * (self.layers - self.moe_layers) + sparse * self.moe_layers
        return self.layers * self.attention_parameters + feed + self.hidden * self.vocab

    @property
    def model_flops(self) -> Column:
        """Model FLOPs of one step, the numerator of MFU: 6 x matmul weights x tokens, and causal attention.

        Counted as Narayanan et al. (2021, eq. 3) with half of the scores, since a causal mask needs no more.
        """
        scores = 3 * 2 * self.heads * (self.qk_dim + self.v_dim) * self.sequence / 2 * self.layers
        return self.tokens * (6 * self.matmul_parameters + scores)
