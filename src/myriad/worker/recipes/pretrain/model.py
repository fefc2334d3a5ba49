"""The Llama architecture, small enough to read, named as Hugging Face names it.

Our parameter names are theirs without the leading `model.`, so export is a rename and any engine that
serves Llama serves what was trained here. Initial weights come from the seed alone: every rank draws
the full weights before they are sharded, so the gang's size never shows in them.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from myriad.worker.recipes.pretrain import config as recipe

_INITIAL_STD = 0.02


class RMSNorm(nn.Module):
    """Scale by the root mean square, computed in fp32."""

    def __init__(self, width: int, epsilon: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.epsilon = epsilon

    def forward(self, x: Tensor) -> Tensor:
        """Normalised `x` in its own type."""
        wide = x.float()
        scaled = wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + self.epsilon)
        return self.weight * scaled.type_as(x)


class Attention(nn.Module):
    """Causal grouped-query attention with rotary positions."""

    def __init__(self, model: recipe.Model) -> None:
        super().__init__()
        self.heads, self.kv_heads, self.width = model.heads, model.kv_heads, model.head_width
        queries, keys = model.heads * self.width, model.kv_heads * self.width
        self.q_proj = nn.Linear(model.hidden, queries, bias=False)
        self.k_proj = nn.Linear(model.hidden, keys, bias=False)
        self.v_proj = nn.Linear(model.hidden, keys, bias=False)
        self.o_proj = nn.Linear(queries, model.hidden, bias=False)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """x: batch, time, hidden."""
        batch, time, _ = x.shape
        query = self._heads(self.q_proj(x), self.heads)
        key = self._heads(self.k_proj(x), self.kv_heads)
        value = self._heads(self.v_proj(x), self.kv_heads)
        mixed = functional.scaled_dot_product_attention(
            rotated(query, cos, sin),
            rotated(key, cos, sin),
            value,
            is_causal=True,
            enable_gqa=self.heads != self.kv_heads,
        )
        return self.o_proj(mixed.transpose(1, 2).reshape(batch, time, -1))

    def _heads(self, x: Tensor, heads: int) -> Tensor:
        batch, time, _ = x.shape
        return x.view(batch, time, heads, self.width).transpose(1, 2)


class FeedForward(nn.Module):
    """SwiGLU."""

    def __init__(self, model: recipe.Model) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(model.hidden, model.ffn, bias=False)
        self.up_proj = nn.Linear(model.hidden, model.ffn, bias=False)
        self.down_proj = nn.Linear(model.ffn, model.hidden, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """x: batch, time, hidden."""
        return self.down_proj(functional.silu(self.gate_proj(x)) * self.up_proj(x))


class Block(nn.Module):
    """One layer: the unit that is sharded."""

    def __init__(self, model: recipe.Model) -> None:
        super().__init__()
        self.input_layernorm = RMSNorm(model.hidden, model.norm_epsilon)
        self.self_attn = Attention(model)
        self.post_attention_layernorm = RMSNorm(model.hidden, model.norm_epsilon)
        self.mlp = FeedForward(model)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """x: batch, time, hidden."""
        x = x + self.self_attn(self.input_layernorm(x), cos, sin)
        return x + self.mlp(self.post_attention_layernorm(x))


class Llama(nn.Module):
    """Tokens to logits."""

    def __init__(self, model: recipe.Model) -> None:
        super().__init__()
        self.shape = model
        self.embed_tokens = nn.Embedding(model.vocab, model.hidden)
        self.layers = nn.ModuleList(Block(model) for _ in range(model.layers))
        self.norm = RMSNorm(model.hidden, model.norm_epsilon)
        self.lm_head = None if model.tied_embeddings else nn.Linear(model.hidden, model.vocab, bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        """tokens: batch, time -> logits: batch, time, vocab."""
        x = self.embed_tokens(tokens)
        cos, sin = rotations(self.shape, tokens.shape[1], x)
        for layer in self.layers:
            x = layer(x, cos, sin)
        head = self.embed_tokens if self.lm_head is None else self.lm_head
        return functional.linear(self.norm(x), head.weight)


def rotations(model: recipe.Model, time: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """Cosines and sines (time, head width) in Hugging Face's half-rotation convention."""
    pairs = torch.arange(0, model.head_width, 2, device=like.device).float()
    frequencies = 1.0 / model.rope_theta ** (pairs / model.head_width)
    angles = torch.outer(torch.arange(time, device=like.device).float(), frequencies)
    both = torch.cat((angles, angles), dim=-1)
    return both.cos().type_as(like), both.sin().type_as(like)


def rotated(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """x: batch, head, time, width, turned by its position."""
    first, second = x.chunk(2, dim=-1)
    return x * cos + torch.cat((-second, first), dim=-1) * sin


def initialise(llama: Llama, seed: int) -> None:
    """Fill the full weights in place, from the seed alone."""
    generator = torch.Generator().manual_seed(seed)
    # Projections back into the residual stream start smaller the deeper the model (GPT-2).
    residual_std = _INITIAL_STD / math.sqrt(2 * llama.shape.layers)
    with torch.no_grad():
        for name, weight in llama.named_parameters():
            if weight.ndim == 1:
                weight.fill_(1.0)
            else:
                into_residual = name.endswith(("o_proj.weight", "down_proj.weight"))
                std = residual_std if into_residual else _INITIAL_STD
                drawn = torch.empty(weight.shape).normal_(std=std, generator=generator)
                weight.copy_(drawn)


def hugging_face_name(name: str) -> str:
    """The name a parameter has in a Hugging Face Llama."""
    return name if name.startswith("lm_head.") else f"model.{name}"
