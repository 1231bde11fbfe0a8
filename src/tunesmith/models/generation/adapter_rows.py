"""The adapter on for some tokens of a pass and off for the others: base and tuned in one batch, one copy of the weights.

Tokens of adapted rows come last, so each adapted layer adds its update to one slice. The update itself is peft's own.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

__all__ = ["AdapterRows"]


class AdapterRows:
    """The adapted layers of a model. `can_mix` is False where one is of a kind that cannot be switched token by token."""

    def __init__(self, model: Any) -> None:
        from peft.tuners.lora import LoraLayer
        from peft.tuners.lora.layer import Linear
        from peft.tuners.tuners_utils import BaseTunerLayer

        self._layers = [module for module in model.modules() if isinstance(module, BaseTunerLayer)]
        prompt_learning = any(config.is_prompt_learning for config in getattr(model, "peft_config", {}).values())
        self.is_adapted = bool(self._layers) or prompt_learning
        self.can_mix = not prompt_learning and all(
            isinstance(layer, LoraLayer) and type(layer) is Linear and not layer.merged for layer in self._layers
        )

    @contextmanager
    def from_token(self, first: int) -> Iterator[None]:
        """Inside, tokens before `first` of a pass (1, T) go through the base alone."""
        try:
            for layer in self._layers:
                layer.forward = _switched(layer, first)
            yield
        finally:
            for layer in self._layers:
                layer.__dict__.pop("forward", None)


def _switched(layer: Any, first: int) -> Any:
    """A forward function for one peft LoRA layer: base everywhere, update from token `first` on."""

    def forward(x: torch.Tensor, *others: Any, **named: Any) -> torch.Tensor:
        result: torch.Tensor = layer.base_layer(x, *others, **named)
        if first >= x.shape[1] or layer.disable_adapters:
            return result
        x, part = x[:, first:], result[:, first:]
        for name in layer.active_adapters:
            if name not in layer.lora_A:
                continue
            a, b = layer.lora_A[name], layer.lora_B[name]
            x = x.to(a.weight.dtype)
            if name in layer.lora_variant:
                part = layer.lora_variant[name].forward(layer, active_adapter=name, x=x, result=part)
            else:
                part = part + b(a(layer.lora_dropout[name](x))) * layer.scaling[name]
        result[:, first:] = part.to(result.dtype)
        return result

    return forward
