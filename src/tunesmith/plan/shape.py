"""The shape of a model from its config and the headers of its weights: exact counts without opening a tensor."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["Shape", "shape_of"]


_TOWER = re.compile(r"(^|[._])(vision|visual|image|audio)")  # what sees and hears takes no part in training on text


@dataclass(frozen=True, slots=True)
class Shape:
    """Counts that the plan calculates with.

    `linear_params`: parameters of the matrices in the blocks of the language model; `key_width`: of the keys of all key heads.
    """

    num_parameters: int
    linear_params: int
    layers: int
    width: int
    inner: int
    heads: int
    key_width: int
    vocabulary: int


def shape_of(config: Mapping[str, Any], tensors: Mapping[str, tuple[int, ...]]) -> Shape:
    """From config.json and tensor name → shape. Multi-modal configs keep their text part under `text_config`."""
    text = config.get("text_config", config)
    counts = {name: math.prod(shape) for name, shape in tensors.items()}
    blocks = {n: c for n, c in counts.items() if re.search(r"\.\d+\.", n) and len(tensors[n]) == 2 and not _TOWER.search(n)}
    width = int(text.get("hidden_size") or text.get("n_embd") or 0)
    heads = int(text.get("num_attention_heads") or text.get("n_head") or 1)
    key_heads = int(text.get("num_key_value_heads") or heads)
    return Shape(
        num_parameters=sum(counts.values()),
        linear_params=sum(blocks.values()),
        layers=int(text.get("num_hidden_layers") or text.get("n_layer") or 0),
        width=width,
        inner=int(text.get("intermediate_size") or text.get("n_inner") or 4 * width),
        heads=heads,
        key_width=key_heads * int(text.get("head_dim") or width // heads),
        vocabulary=int(text.get("vocab_size") or 0),
    )
