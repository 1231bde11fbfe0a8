"""The Llama of transformers, lean for training: same weights, same names, same numbers, fewer small operations.

Legend of shapes: B rows, T positions, H query heads, K key-value heads, E width of a head, D width of the model, V vocabulary.

The library's class is right and is what the packaged model runs in; this one exists for speed alone. It differs in three
places that cost nothing in exactness: the logits never exist all at once, rotary angles are a constant table, and there is no
cache. `tests/recipes` holds the two against each other.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["Llama", "Shape", "hugging_face_config"]

_ROPE_THETA = 10_000.0
_EPS = 1e-5
_BLOCK = 128  # queries whose attention is computed at once


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """The numbers that fix the weights."""

    vocab_size: int = 4096
    width: int = 320
    mlp_width: int = 864
    layers: int = 4
    heads: int = 5
    kv_heads: int = 1
    context: int = 1024

    @property
    def head_width(self) -> int:
        return self.width // self.heads

    @property
    def num_parameters(self) -> int:
        """Exact count; the output matrix is the embedding."""
        attention = 2 * self.width * self.width + 2 * self.width * self.kv_heads * self.head_width
        layer = attention + 3 * self.width * self.mlp_width + 2 * self.width
        return self.vocab_size * self.width + self.layers * layer + self.width


def hugging_face_config(shape: Shape) -> dict[str, Any]:
    """`config.json` of the packaged model, for transformers' LlamaForCausalLM."""
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": shape.vocab_size,
        "hidden_size": shape.width,
        "intermediate_size": shape.mlp_width,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.kv_heads,
        "head_dim": shape.head_width,
        "max_position_embeddings": shape.context,
        "tie_word_embeddings": True,
        "attention_bias": False,
        "mlp_bias": False,
        "attention_dropout": 0.0,
        "hidden_act": "silu",
        "initializer_range": 0.02,
        "rms_norm_eps": _EPS,
        "rope_parameters": {"rope_type": "default", "rope_theta": _ROPE_THETA},
        "bos_token_id": 2,
        "eos_token_id": 7,
        "pad_token_id": 0,
        "dtype": "bfloat16",
        "use_cache": True,
    }


class _Norm(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x_BTD: Tensor) -> Tensor:
        x = x_BTD.float()
        x = x * torch.rsqrt(x.square().mean(-1, keepdim=True) + _EPS)
        return (x * self.weight).to(torch.bfloat16 if torch.is_autocast_enabled("cpu") else x_BTD.dtype)


class _Attention(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        kv_width = shape.kv_heads * shape.head_width
        self.q_proj = nn.Linear(shape.width, shape.width, bias=False)
        self.k_proj = nn.Linear(shape.width, kv_width, bias=False)
        self.v_proj = nn.Linear(shape.width, kv_width, bias=False)
        self.o_proj = nn.Linear(shape.width, shape.width, bias=False)

    def forward(self, x_BTD: Tensor, cos_TE: Tensor, sin_TE: Tensor) -> Tensor:
        B, T, _ = x_BTD.shape
        heads, kv_heads, E = self.shape.heads, self.shape.kv_heads, self.shape.head_width
        q = self.q_proj(x_BTD).view(B, T, heads, E).transpose(1, 2)
        k = self.k_proj(x_BTD).view(B, T, kv_heads, E).transpose(1, 2)
        v = self.v_proj(x_BTD).view(B, T, kv_heads, E).transpose(1, 2)
        q, k = _rotate(q, cos_TE, sin_TE), _rotate(k, cos_TE, sin_TE)
        mixed = _attend(q, k, v)
        return self.o_proj(mixed.transpose(1, 2).reshape(B, T, heads * E))


def _attend(q_BHTE: Tensor, k_BKTE: Tensor, v_BKTE: Tensor) -> Tensor:
    """Causal attention, mixed_BHTE, as products over blocks of queries with the heads of a group folded into rows.

    The library's kernel took a third of a step, two thirds of that in its backward pass; this takes half as long.
    """
    B, H, T, E = q_BHTE.shape
    K = k_BKTE.shape[1]
    q = (q_BHTE * E**-0.5).reshape(B * K, H // K, T, E)
    k, v = k_BKTE.reshape(B * K, T, E), v_BKTE.reshape(B * K, T, E)
    mixed = []
    for begin in range(0, T, _BLOCK):
        end = min(T, begin + _BLOCK)
        rows = q[:, :, begin:end].reshape(B * K, -1, E)
        scores = torch.bmm(rows, k[:, :end].transpose(1, 2)).view(B * K, H // K, end - begin, end)
        hidden = torch.arange(end) > torch.arange(begin, end)[:, None]
        p = torch.softmax(scores.float().masked_fill(hidden, -torch.inf), -1).to(v.dtype)
        mixed.append(torch.bmm(p.view(B * K, -1, end), v[:, :end]).view(B * K, H // K, end - begin, E))
    return torch.cat(mixed, 2).view(B, H, T, E)


def _rotate(x_BHTE: Tensor, cos_TE: Tensor, sin_TE: Tensor) -> Tensor:
    first, second = x_BHTE.chunk(2, dim=-1)
    turned = torch.cat((-second, first), dim=-1)
    return x_BHTE * cos_TE.to(x_BHTE.dtype) + turned * sin_TE.to(x_BHTE.dtype)


class _Mlp(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(shape.width, shape.mlp_width, bias=False)
        self.up_proj = nn.Linear(shape.width, shape.mlp_width, bias=False)
        self.down_proj = nn.Linear(shape.mlp_width, shape.width, bias=False)

    def forward(self, x_BTD: Tensor) -> Tensor:
        return self.down_proj(F.silu(self.gate_proj(x_BTD)) * self.up_proj(x_BTD))


class _Layer(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.input_layernorm = _Norm(shape.width)
        self.self_attn = _Attention(shape)
        self.post_attention_layernorm = _Norm(shape.width)
        self.mlp = _Mlp(shape)

    def forward(self, x_BTD: Tensor, cos_TE: Tensor, sin_TE: Tensor) -> Tensor:
        x_BTD = x_BTD + self.self_attn(self.input_layernorm(x_BTD), cos_TE, sin_TE)
        return x_BTD + self.mlp(self.post_attention_layernorm(x_BTD))


class _Body(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(shape.vocab_size, shape.width)
        self.layers = nn.ModuleList(_Layer(shape) for _ in range(shape.layers))
        self.norm = _Norm(shape.width)


class Llama(nn.Module):
    """`forward` gives logits; `losses` the loss of every position, which is all that training needs."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.model = _Body(shape)
        frequency = _ROPE_THETA ** -(torch.arange(0, shape.head_width, 2).float() / shape.head_width)
        angles = torch.outer(torch.arange(shape.context).float(), frequency).repeat(1, 2)
        self.register_buffer("cos_TE", angles.cos(), persistent=False)
        self.register_buffer("sin_TE", angles.sin(), persistent=False)
        for parameter in self.parameters():
            if parameter.ndim == 2:
                nn.init.normal_(parameter, std=0.02)
        for layer in self.model.layers:  # the two matrices that write into the residual stream start small
            for matrix in (layer.self_attn.o_proj, layer.mlp.down_proj):
                nn.init.normal_(matrix.weight, std=0.02 / (2 * shape.layers) ** 0.5)

    def hidden(self, ids_BT: Tensor) -> Tensor:
        x = self.model.embed_tokens(ids_BT)
        cos, sin = self.cos_TE[: ids_BT.shape[1]], self.sin_TE[: ids_BT.shape[1]]
        for layer in self.model.layers:
            x = layer(x, cos, sin)
        return self.model.norm(x)

    def forward(self, ids_BT: Tensor) -> Tensor:
        return F.linear(self.hidden(ids_BT), self.model.embed_tokens.weight)

    def losses(self, ids_BT: Tensor, targets_BT: Tensor) -> Tensor:
        """Negative log-likelihood in nats of each target, shape B × T."""
        return self.losses_and_odds(ids_BT, targets_BT, targets_BT[:, :, None][:, :, :0])[0]

    def losses_and_odds(self, ids_BT: Tensor, targets_BT: Tensor, others_BTK: Tensor) -> tuple[Tensor, Tensor]:
        """(nats of each target, B × T; log-probabilities of other ids in its place, B × T × K)."""
        logits_NV = F.linear(self.hidden(ids_BT).flatten(0, 1), self.model.embed_tokens.weight).float()
        targets_N = targets_BT.flatten()
        nats_N = F.cross_entropy(logits_NV, targets_N, reduction="none")
        whole_N1 = nats_N[:, None] + logits_NV.gather(1, targets_N[:, None])  # the logarithm of what is divided by
        odds_NK = logits_NV.gather(1, others_BTK.flatten(0, 1)) - whole_N1
        return nats_N.view_as(targets_BT), odds_NK.view_as(others_BTK)

    def describe(self) -> dict[str, Any]:
        return asdict(self.shape)
