"""Adapters of any rank and target on one copy of the base's weights: each adds its update to the tokens that are its own.

No peft module is made: an adapter is a pair of matrices per layer, so it is put in or taken out between two passes. The sum is
peft's own: y = x Wᵀ + b + s · (x Aᵀ) Bᵀ, and for DoRA (Liu et al. 2024, eq. 5) y = g ∘ (x Wᵀ + s · (x Aᵀ) Bᵀ) + b with the
column scale g = m / ‖W + s B A‖.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import sqrt
from typing import Any

import torch

from tunesmith.core.errors import ModelError
from tunesmith.models.packed_products import PackedLinear

__all__ = ["AdapterBank", "Update", "updates_of"]

_TENSOR = re.compile(r"base_model\.model\.(.+)\.lora_(A|B|magnitude_vector)(?:\.weight)?")


@dataclass(frozen=True, slots=True)
class Update:
    """What an adapter does to one layer: A (r, in), B already scaled and turned (r, out); `gain` (out) for DoRA alone."""

    A: torch.Tensor
    B: torch.Tensor
    magnitude: torch.Tensor | None = None


def updates_of(tensors: Mapping[str, torch.Tensor], config: Mapping[str, Any]) -> dict[str, Update]:
    """Module name → its update, from an adapter's tensors and configuration as peft writes them.

    ModelError for a tensor that is not LoRA's, or a matrix without its other half.
    """
    from peft.utils.other import get_pattern_key

    parts: dict[str, dict[str, torch.Tensor]] = {}
    for name, tensor in tensors.items():
        match = _TENSOR.fullmatch(name)
        if match is None:
            raise _unusable("the adapter holds a tensor that is not LoRA's", name, "lora_A and lora_B of linear layers")
        parts.setdefault(match[1], {})[match[2]] = tensor
    ranks, alphas = config.get("rank_pattern") or {}, config.get("alpha_pattern") or {}
    updates = {}
    for module, own in parts.items():
        if not {"A", "B"} <= own.keys() or own["A"].dim() != 2 or own["A"].shape[0] != own["B"].shape[1]:
            raise _unusable("the adapter's matrices do not fit together", module, "A (rank, in) and B (out, rank) of one rank")
        rank = ranks.get(get_pattern_key(list(ranks), module), config["r"])
        alpha = alphas.get(get_pattern_key(list(alphas), module), config["lora_alpha"])
        scale = alpha / sqrt(rank) if config.get("use_rslora") else alpha / rank
        magnitude = own.get("magnitude_vector")
        updates[module] = Update(own["A"], (own["B"].float() * scale).t().contiguous(), magnitude)
    return updates


def _unusable(what: str, value: object, expected: str) -> ModelError:
    return ModelError(what, value=value, expected=expected, hint="merge it into its base, and serve the merged model")


@dataclass(frozen=True, slots=True)
class _Placed:
    A: torch.Tensor
    B: torch.Tensor
    gain: torch.Tensor | None


class AdapterBank:
    """The adapters that are in memory, by key. Layers without any stay as they are."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self._layers: dict[str, dict[str, _Placed]] = {}
        self._plain: dict[str, Any] = {}
        self._parts: Sequence[tuple[str, int, int]] = ()
        self._sizes: dict[str, int] = {}

    def __contains__(self, key: str) -> bool:
        return key in self._sizes

    def size_bytes(self, key: str) -> int:
        """Of an adapter in memory."""
        return self._sizes[key]

    def put(self, key: str, updates: Mapping[str, Update]) -> None:
        """Take an adapter in. ModelError, with nothing changed, if a layer that it adapts is not there or has another shape."""
        placed = {name: self._place(name, update) for name, update in updates.items()}
        for name, one in placed.items():
            self._layers.setdefault(name, {})[key] = one
            if name not in self._plain:
                self._switch(name)
        tensors = (x for one in placed.values() for x in (one.A, one.B, one.gain) if x is not None)
        self._sizes[key] = sum(x.numel() * x.element_size() for x in tensors)

    def remove(self, key: str) -> None:
        """Let go of an adapter; layers that no adapter changes become plain again."""
        for name in [name for name, own in self._layers.items() if own.pop(key, None) is not None and not own]:
            module = self._model.get_submodule(name)
            before = self._plain.pop(name)
            if before is None:
                vars(module).pop("forward")
            else:
                module.forward = before
            del self._layers[name]
        self._sizes.pop(key, None)

    @contextmanager
    def parts(self, parts: Sequence[tuple[str, int, int]]) -> Iterator[None]:
        """Inside, tokens `begin` to `end` of a pass (1, T) go through the adapter of each part (key, begin, end)."""
        self._parts = [part for part in parts if part[0] in self._sizes]
        try:
            yield
        finally:
            self._parts = ()

    def _place(self, name: str, update: Update) -> _Placed:
        try:
            module = self._model.get_submodule(name)
        except AttributeError as error:
            raise _other_base(name, "a layer of that name", str(error)) from error
        weight = module.packed if isinstance(module, PackedLinear) else getattr(module, "weight", None)
        if weight is None or weight.dim() != 2:
            raise _other_base(name, "a linear layer", type(module).__name__)
        turned = not isinstance(module, torch.nn.Linear)  # GPT-2 keeps its matrices turned
        inner, outer = weight.shape if turned else reversed(weight.shape)
        if (inner, outer) != (update.A.shape[1], update.B.shape[1]):
            raise _other_base(name, f"{inner} inputs and {outer} outputs", f"{update.A.shape[1]} and {update.B.shape[1]}")
        gain = None
        if update.magnitude is not None:
            whole = (module.weight.t() if turned else module.weight).float() + (update.B.t() @ update.A.float()).to(
                weight.device
            )
            gain = (update.magnitude.to(weight.device).float() / whole.norm(dim=1)).to(weight.dtype)
        to = {"device": weight.device, "dtype": weight.dtype}
        return _Placed(update.A.to(**to).contiguous(), update.B.to(**to), gain)

    def _switch(self, name: str) -> None:
        module = self._model.get_submodule(name)
        before, plain, own = vars(module).get("forward"), module.forward, self._layers[name]
        bias = getattr(module, "bias", None)

        def forward(x: torch.Tensor, *others: Any, **named: Any) -> torch.Tensor:
            result: torch.Tensor = plain(x, *others, **named)
            for key, begin, end in self._parts:
                one = own.get(key)
                if one is not None:
                    y = result[0, begin:end]
                    y.addmm_(x[0, begin:end] @ one.A.t(), one.B)
                    if one.gain is not None:
                        y.copy_(y * one.gain if bias is None else (y - bias) * one.gain + bias)
            return result

        self._plain[name] = before
        module.forward = forward


def _other_base(name: str, expected: str, value: str) -> ModelError:
    return ModelError(
        f"the adapter does not fit this base at {name}",
        value=value,
        expected=expected,
        hint="use the base that the adapter was trained on",
    )
