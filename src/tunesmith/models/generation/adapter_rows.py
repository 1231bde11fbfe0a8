"""The adapter on for some tokens of a pass and off for the others: base and tuned in one batch, one copy of the weights.

Tokens of adapted rows come last, so each adapted layer adds its update to one slice of the tokens. The update is peft's own
formula; for plain LoRA the second small product adds straight into the base layer's result.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from tunesmith.models.whole import Whole

__all__ = ["AdapterRows"]

_Update = Callable[[torch.Tensor, torch.Tensor], None]


class AdapterRows:
    """The adapted layers of a model. `can_mix` is False where one is of a kind that cannot be switched token by token."""

    def __init__(self, model: Any) -> None:
        from peft.tuners.lora import LoraLayer
        from peft.tuners.lora.layer import Linear
        from peft.tuners.tuners_utils import BaseTunerLayer

        self._layers = [module for module in model.modules() if isinstance(module, BaseTunerLayer)]
        prompt_learning = any(config.is_prompt_learning for config in getattr(model, "peft_config", {}).values())
        at_once = prompt_learning or isinstance(model, Whole)  # switched for all tokens of a pass or for none
        self.is_adapted = bool(self._layers) or at_once
        self.can_mix = not at_once and all(
            isinstance(layer, LoraLayer) and type(layer) is Linear and not layer.merged for layer in self._layers
        )

    @contextmanager
    def from_token(self, first: int) -> Iterator[None]:
        """Inside, tokens before `first` of a pass (1, T) go through the base alone. Only where `can_mix`."""
        before = [vars(layer).get("forward") for layer in self._layers]  # training has a forward function of its own here
        try:
            for layer in self._layers:
                layer.forward = _switched(layer, first)
            yield
        finally:
            for layer, forward in zip(self._layers, before, strict=True):
                if forward is None:
                    vars(layer).pop("forward", None)
                else:
                    layer.forward = forward


def _switched(layer: Any, first: int) -> Callable[..., torch.Tensor]:
    """A forward function for one peft LoRA layer: base everywhere, updates from token `first` on."""
    names = [] if layer.disable_adapters else [name for name in layer.active_adapters if name in layer.lora_A]
    updates = [_plain_update(layer, name) if _is_plain(layer, name) else _peft_update(layer, name) for name in names]

    def forward(x: torch.Tensor, *others: Any, **named: Any) -> torch.Tensor:
        result: torch.Tensor = layer.base_layer(x, *others, **named)
        if first < x.shape[1]:
            for update in updates:
                update(x[:, first:], result[:, first:])
        return result

    return forward


def _is_plain(layer: Any, name: str) -> bool:
    """Whether an adapter of a layer adds scale · x Aᵀ Bᵀ and nothing else."""
    dropout = layer.lora_dropout[name]
    drops = isinstance(dropout, torch.nn.Dropout) and dropout.training and dropout.p > 0
    return name not in layer.lora_variant and layer.lora_A[name].bias is layer.lora_B[name].bias is None and not drops


def _plain_update(layer: Any, name: str) -> _Update:
    A, B, scale = layer.lora_A[name].weight, layer.lora_B[name].weight, layer.scaling[name]

    def update(x: torch.Tensor, result: torch.Tensor) -> None:
        h = x[0].to(A.dtype) @ A.t()
        if result.dtype == B.dtype:
            result[0].addmm_(h, B.t(), alpha=scale)
        else:
            result[0].add_((h @ B.t()).mul_(scale))

    return update


def _peft_update(layer: Any, name: str) -> _Update:
    a, b = layer.lora_A[name], layer.lora_B[name]

    def update(x: torch.Tensor, result: torch.Tensor) -> None:
        x = x.to(a.weight.dtype)
        if name in layer.lora_variant:
            made = layer.lora_variant[name].forward(layer, active_adapter=name, x=x, result=result)
        else:
            made = result + b(a(layer.lora_dropout[name](x))) * layer.scaling[name]
        result.copy_(made)

    return update
