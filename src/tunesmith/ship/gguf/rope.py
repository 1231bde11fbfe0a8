"""The rotary settings of a model in the words of GGUF, and the tensors of factors that some of them need.

Which settings llama.cpp reads: `src/llama-model.cpp` of the llama.cpp project. transformers gives them as `rope_parameters`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from gguf import GGUFWriter, RopeScalingType

from tunesmith.core.errors import ModelError

__all__ = ["add_rope", "rope_factors"]

Factors = dict[str, np.ndarray[Any, np.dtype[np.float32]]]


def add_rope(writer: GGUFWriter, config: Any, *, head_dim: int, is_phi3: bool) -> None:
    """Write the rotary keys of `config`, a configuration of transformers. ModelError for settings that llama.cpp lacks."""
    whole = _whole(config)
    kind = str(whole.get("rope_type", "default"))
    writer.add_rope_freq_base(float(whole["rope_theta"]))
    partial = float(whole.get("partial_rotary_factor") or 1.0)
    if partial != 1.0 and not is_phi3:
        raise _refused("partial_rotary_factor", partial, "1.0 for this architecture")
    writer.add_rope_dimension_count(int(head_dim * partial))
    sliding = config.rope_parameters.get("sliding_attention")
    if isinstance(sliding, Mapping):
        if str(sliding.get("rope_type", "default")) != "default":
            raise _refused("rope_type of the sliding layers", sliding["rope_type"], "default")
        writer.add_rope_freq_base_swa(float(sliding["rope_theta"]))
    if kind == "linear":
        writer.add_rope_scaling_type(RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(float(whole["factor"]))
    elif kind == "yarn":
        _add_yarn(writer, whole, config)
    elif kind == "longrope" and is_phi3:
        _add_longrope(writer, whole, config)
    elif kind not in {"default", "llama3"}:
        raise _refused("rope_type", kind, "default, linear, yarn or llama3, and longrope for Phi-3")
    if is_phi3:  # llama.cpp wants it of every Phi-3
        writer.add_rope_scaling_orig_ctx_len(_original_context(whole, config))


def rope_factors(config: Any, *, head_dim: int) -> Factors:
    """Tensors of factors by their GGUF names: `rope_freqs` of Llama 3, long and short factors of Phi-3; mostly none."""
    whole = _whole(config)
    kind = whole.get("rope_type")
    if kind == "llama3":
        return {"rope_freqs.weight": _llama3_factors(whole, head_dim)}
    if kind == "longrope":
        return {
            "rope_factors_long.weight": np.asarray(whole["long_factor"], np.float32),
            "rope_factors_short.weight": np.asarray(whole["short_factor"], np.float32),
        }
    return {}


def _whole(config: Any) -> Mapping[str, Any]:
    """The settings of the layers that attend to everything."""
    rope: Mapping[str, Any] = config.rope_parameters
    found = rope.get("full_attention", rope)
    return dict(found)


def _refused(what: str, value: object, expected: str) -> ModelError:
    return ModelError(
        f"llama.cpp does not know this {what}",
        value=value,
        expected=expected,
        hint="ship the merged folder instead: --to merged",
    )


def _original_context(whole: Mapping[str, Any], config: Any) -> int:
    own = whole.get("original_max_position_embeddings") or getattr(config, "original_max_position_embeddings", None)
    return int(own or config.max_position_embeddings)


def _add_yarn(writer: GGUFWriter, whole: Mapping[str, Any], config: Any) -> None:
    writer.add_rope_scaling_type(RopeScalingType.YARN)
    writer.add_rope_scaling_factor(float(whole["factor"]))
    writer.add_rope_scaling_orig_ctx_len(_original_context(whole, config))
    if any(whole.get(key) is not None for key in ("mscale", "mscale_all_dim", "attention_factor")):
        raise _refused("attention factor of yarn", "set", "the one that follows from the factor")
    writer.add_rope_scaling_yarn_beta_fast(float(whole.get("beta_fast") or 32.0))
    writer.add_rope_scaling_yarn_beta_slow(float(whole.get("beta_slow") or 1.0))


def _add_longrope(writer: GGUFWriter, whole: Mapping[str, Any], config: Any) -> None:
    """The attention factor is that of transformers' `_compute_longrope_parameters`."""
    writer.add_rope_scaling_type(RopeScalingType.LONGROPE)
    original = _original_context(whole, config)
    scale = float(whole.get("factor") or config.max_position_embeddings / original)
    own = whole.get("attention_factor")
    factor = own or (math.sqrt(1 + math.log(scale) / math.log(original)) if scale > 1 else 1.0)
    writer.add_rope_scaling_attn_factors(float(factor))


def _llama3_factors(whole: Mapping[str, Any], head_dim: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    """By how much each frequency is divided; Llama 3.1's rule, as transformers' `_compute_llama3_parameters` has it."""
    frequencies = 1.0 / float(whole["rope_theta"]) ** (np.arange(0, head_dim, 2, dtype=np.float64) / head_dim)
    lengths = 2 * math.pi / frequencies
    original, factor = float(whole["original_max_position_embeddings"]), float(whole["factor"])
    low, high = float(whole["low_freq_factor"]), float(whole["high_freq_factor"])
    smooth = (original / lengths - low) / (high - low)
    between = 1 / ((1 - smooth) / factor + smooth)
    factors = np.where(lengths < original / high, 1.0, np.where(lengths > original / low, factor, between))
    return factors.astype(np.float32)
