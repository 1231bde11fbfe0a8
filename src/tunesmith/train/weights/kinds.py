"""The kinds of weights that move, by the name that a recipe gives them in `method.kind`."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from tunesmith.train.weights.weights import Beginning, Weights

__all__ = ["KINDS", "begin"]

# Name → the file in this folder whose `attach` makes the weights.
KINDS: Mapping[str, str] = MappingProxyType(
    {"lora": "low_rank", "rslora": "low_rank", "dora": "low_rank", "adalora": "adaptive_rank", "full": "full"}
)


def begin(model: Any, how: Beginning) -> Weights:
    """The weights of a run on this model, at their start: the same for the same model and settings, to the bit."""
    module = importlib.import_module(f"{__package__}.{KINDS[how.settings.kind]}")
    attach: Callable[[Any, Beginning], Weights] = module.attach
    return attach(model, how)
