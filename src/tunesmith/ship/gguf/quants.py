"""The kinds of quantisation, and in which type each stores every tensor.

The rules are those of `llama_tensor_get_type_impl` in llama.cpp (src/llama-quant.cpp), so that a file has the types, and the
bytes, that llama.cpp's own `llama-quantize` gives it. Matrices at which the model is most easily hurt get more bits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from gguf import GGML_QUANT_SIZES, LlamaFileType
from gguf import GGMLQuantizationType as T

__all__ = ["QUANTS", "Depth", "Quant", "QuantName", "stored_type"]

QuantName = Literal[
    "f32", "f16", "bf16", "q8_0", "q6_k", "q5_k_m", "q5_k_s", "q4_k_m", "q4_k_s", "q3_k_m", "q5_0", "q4_0", "iq4_xs", "iq4_nl"
]


@dataclass(frozen=True, slots=True)
class Quant:
    """A kind of quantisation: the type of most tensors, and the number by which files name it."""

    name: QuantName
    type: T
    file_type: LlamaFileType

    @property
    def is_float(self) -> bool:
        """Numbers are rounded one by one and not in blocks."""
        return self.type in {T.F32, T.F16, T.BF16}

    @property
    def is_uniform(self) -> bool:
        """All matrices are stored in the same type, which this program writes itself."""
        return self.is_float or self.type == T.Q8_0


@dataclass(frozen=True, slots=True)
class Depth:
    """What the rules ask of a model. `sharing`: query heads for each key head; `is_tied`: the embedding is the head as well;
    `is_70b`: one of the models of 80 layers whose value matrices are small; `has_importance`: an importance matrix is used.
    """

    num_layers: int
    sharing: int
    is_tied: bool
    is_70b: bool = False
    has_importance: bool = False


QUANTS: Mapping[QuantName, Quant] = MappingProxyType(
    {
        quant.name: quant
        for quant in (
            Quant("f32", T.F32, LlamaFileType.ALL_F32),
            Quant("f16", T.F16, LlamaFileType.MOSTLY_F16),
            Quant("bf16", T.BF16, LlamaFileType.MOSTLY_BF16),
            Quant("q8_0", T.Q8_0, LlamaFileType.MOSTLY_Q8_0),
            Quant("q6_k", T.Q6_K, LlamaFileType.MOSTLY_Q6_K),
            Quant("q5_k_m", T.Q5_K, LlamaFileType.MOSTLY_Q5_K_M),
            Quant("q5_k_s", T.Q5_K, LlamaFileType.MOSTLY_Q5_K_S),
            Quant("q4_k_m", T.Q4_K, LlamaFileType.MOSTLY_Q4_K_M),
            Quant("q4_k_s", T.Q4_K, LlamaFileType.MOSTLY_Q4_K_S),
            Quant("q3_k_m", T.Q3_K, LlamaFileType.MOSTLY_Q3_K_M),
            Quant("q5_0", T.Q5_0, LlamaFileType.MOSTLY_Q5_0),
            Quant("q4_0", T.Q4_0, LlamaFileType.MOSTLY_Q4_0),
            Quant("iq4_xs", T.IQ4_XS, LlamaFileType.MOSTLY_IQ4_XS),
            Quant("iq4_nl", T.IQ4_NL, LlamaFileType.MOSTLY_IQ4_NL),
        )
    }
)
_SMALLER_BLOCKS = {T.IQ4_XS: T.IQ4_NL, T.Q3_K: T.Q4_0, T.Q4_K: T.Q5_0, T.Q5_K: T.Q5_1, T.Q6_K: T.Q8_0}


def stored_type(name: str, shape: Sequence[int], quant: Quant, depth: Depth) -> tuple[T, bool]:
    """The type of a tensor by its GGUF name, and whether it is a fallback: the rows are not a multiple of the block wanted."""
    if len(shape) == 1 or name.endswith("_norm.weight") or not name.endswith(".weight"):
        return T.F32, False
    wanted = quant.type if quant.is_uniform else _wanted(name, shape, quant, depth)
    found = wanted
    if shape[-1] % _block(found):
        found = _SMALLER_BLOCKS.get(found, T.F16)
    if shape[-1] % _block(found):
        found = T.F16
    return found, found != wanted


def _block(kind: T) -> int:
    return int(GGML_QUANT_SIZES[kind][0])


def _wanted(name: str, shape: Sequence[int], quant: Quant, depth: Depth) -> T:
    part = name.split(".")[-2]
    layer = int(name.split(".")[1]) if name.startswith("blk.") else 0
    if part == "output" or (part == "token_embd" and depth.is_tied):
        return T.Q8_0 if shape[-1] % _block(quant.type) else T.Q6_K
    if part in {"attn_v", "attn_qkv"}:
        found = _of_values(layer, quant, depth)
        return T.Q5_K if depth.is_70b and found in {T.Q3_K, T.Q4_K} else found
    if part == "ffn_down":
        return _of_down(layer, quant, depth)
    if part == "attn_output" and quant.name == "q3_k_m":
        return T.Q4_K
    return quant.type


def _of_values(layer: int, quant: Quant, depth: Depth) -> T:
    match quant.name:
        case "q3_k_m":
            return T.Q5_K if layer < 2 else T.Q4_K
        case "q4_k_m" | "q5_k_m" if _gets_more(layer, depth.num_layers):
            return T.Q6_K
        case "q4_k_s" if layer < 4:
            return T.Q5_K
        case "iq4_xs" | "iq4_nl" if depth.sharing >= 4:
            return T.Q5_K
    return quant.type


def _of_down(layer: int, quant: Quant, depth: Depth) -> T:
    is_early = layer < depth.num_layers // 8
    match quant.name:
        case "q3_k_m":
            return T.Q5_K if layer < depth.num_layers // 16 else T.Q4_K
        case "q4_k_m" | "q5_k_m" if _gets_more(layer, depth.num_layers):
            return T.Q6_K
        case "q4_k_s" if is_early:
            return T.Q5_K
        case "iq4_xs" | "iq4_nl" if is_early and not depth.has_importance:
            return T.Q5_K
        case "q4_0" if is_early and depth.has_importance:
            return T.Q4_1
        case "q5_0" if is_early and depth.has_importance:
            return T.Q5_1
    return quant.type


def _gets_more(layer: int, num_layers: int) -> bool:
    """The first and last eighth of the layers, and every third one between."""
    eighth = num_layers // 8
    return layer < eighth or layer >= 7 * num_layers // 8 or (layer - eighth) % 3 == 2
