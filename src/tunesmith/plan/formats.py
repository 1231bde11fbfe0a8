"""Bytes of a model's weights in each format that it is served in, tensor by tensor.

GGUF: the types that llama.cpp's quantiser gives each tensor (llama_tensor_get_type in src/llama-quant.cpp), with its fallbacks
for rows that are not a multiple of a block. NF4: bitsandbytes with double quantisation (Dettmers et al. 2023, section 3).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from tunesmith.plan.weights import Anatomy, Weight

__all__ = ["FORMATS", "nf4_bytes"]

# Type → numbers in a block, bytes of a block (ggml-common.h).
_BLOCKS: Mapping[str, tuple[int, int]] = MappingProxyType(
    {
        "f32": (1, 4),
        "f16": (1, 2),
        "q8_0": (32, 34),
        "q5_0": (32, 22),
        "q5_1": (32, 24),
        "q4_k": (256, 144),
        "q5_k": (256, 176),
        "q6_k": (256, 210),
    }
)
_FALLBACK = {"q4_k": "q5_0", "q5_k": "q5_1", "q6_k": "q8_0", "q8_0": "f16", "q5_0": "f16", "q5_1": "f16"}
_NF4_BLOCK, _NF4_OUTER = 64, 256  # weights that share an 8-bit scale; scales that share a float32 one
_VALUES = ("v_proj", "qkv_proj", "c_attn", "query_key_value")
_DOWN = ("down_proj", "fc2", "dense_4h_to_h")
_FEW_EXPERTS, _DEEP_LLAMA = 8, 80  # models for which the quantiser has rules of their own


def _plain(size: int) -> Callable[[Anatomy], int]:
    return lambda anatomy: size * anatomy.num_parameters


def _int8(anatomy: Anatomy) -> int:
    """Linear layers of the blocks in 8 bits with a bfloat16 scale per row, everything else in bfloat16."""
    linear = [w for w in anatomy.weights if w.is_linear]
    rest = anatomy.num_parameters - sum(w.num_parameters for w in linear)
    return sum(w.num_parameters + 2 * w.in_out[1] for w in linear) + 2 * rest


def nf4_bytes(anatomy: Anatomy, rest_bytes: int = 2) -> int:
    """Linear layers of the blocks in 4 bits, scales in 8 bits per 64 and 32 bits per 16,384 weights; the rest as it is."""
    linear = [w.num_parameters for w in anatomy.weights if w.is_linear]
    rest = anatomy.num_parameters - sum(linear)
    scales = [-(-numbers // _NF4_BLOCK) for numbers in linear]
    return (
        sum(-(-numbers // 2) for numbers in linear)
        + sum(count + 4 * -(-count // _NF4_OUTER) for count in scales)
        + rest_bytes * rest
    )


def _gguf(kind: str) -> Callable[[Anatomy], int]:
    def total(anatomy: Anatomy) -> int:
        tied = not any(w.kind == "head" and len(w.shape) == 2 for w in anatomy.weights)
        text = [w for w in anatomy.weights if w.kind != "vision"]
        return sum(_tensor_bytes(weight, _gguf_type(weight, kind, anatomy, tied=tied)) for weight in text)

    return total


def _gguf_type(weight: Weight, kind: str, anatomy: Anatomy, *, tied: bool) -> str:
    leaf = weight.name.removesuffix(".weight").rpartition(".")[2]
    if len(weight.shape) < 2 or weight.kind == "router" or leaf == "wpe":
        return "f32"
    if kind == "f16":
        return kind
    chosen = "q4_k" if kind == "q4_k_m" else kind
    if kind == "q4_k_m":
        chosen = _mixed(weight, leaf, anatomy, tied=tied)
    row = weight.in_out[0]
    while row % _BLOCKS[chosen][0]:
        chosen = _FALLBACK[chosen]
    return chosen


def _mixed(weight: Weight, leaf: str, anatomy: Anatomy, *, tied: bool) -> str:
    """The rules of Q4_K_M: more bits for the head, for values, and for the way back in an MLP, in an eighth at both ends and in
    every third layer between."""
    layer, layers = weight.layer or 0, anatomy.layers
    more = layer < layers // 8 or layer >= 7 * layers // 8 or (layer - layers // 8) % 3 == 2
    eight = _num_experts(anatomy) == _FEW_EXPERTS
    chosen = "q4_k"
    if weight.kind == "head" or (tied and weight.kind == "embedding"):
        chosen = "q6_k"
    elif leaf in _VALUES:
        chosen = "q8_0" if eight else "q6_k" if more else "q5_k" if _is_deep(anatomy) else "q4_k"
    elif weight.kind == "attention" and eight and leaf in ("k_proj", "o_proj"):
        chosen = "q8_0" if leaf == "k_proj" else "q5_k"
    elif (leaf in _DOWN or weight.name.endswith("mlp.c_proj.weight")) and more:
        chosen = "q6_k"
    return chosen


def _is_deep(anatomy: Anatomy) -> bool:
    return anatomy.model_type == "llama" and anatomy.layers == _DEEP_LLAMA


def _num_experts(anatomy: Anatomy) -> int:
    return next((w.shape[0] for w in anatomy.weights if w.kind == "experts"), 0)


def _tensor_bytes(weight: Weight, kind: str) -> int:
    numbers, size = _BLOCKS[kind]
    return weight.num_parameters // numbers * size


# Name → bytes of all weights in it.
FORMATS: Mapping[str, Callable[[Anatomy], int]] = MappingProxyType(
    {
        "fp32": _plain(4),
        "bf16": _plain(2),
        "int8": _int8,
        "nf4": nf4_bytes,
        "gguf-f16": _gguf("f16"),
        "gguf-q8_0": _gguf("q8_0"),
        "gguf-q4_k_m": _gguf("q4_k_m"),
    }
)
