"""Base + update of each adapted matrix, as peft's own merging makes it: LoRA, rsLoRA and DoRA come out as peft means them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch

from tunesmith.core.errors import ModelError
from tunesmith.models.mixing import AdapterMix, mixed_update
from tunesmith.models.whole import Whole

__all__ = ["Sum", "sums"]


class Sum(NamedTuple):
    """Base + update of one matrix, in float32. `name`: in the plain model; `owner` and `key`: the module and its parameter."""

    name: str
    owner: Any
    key: str
    total: torch.Tensor


def sums(adapted: Any, mix: AdapterMix | None = None) -> Iterator[Sum]:
    """Base + update of each adapted matrix, or each trained tensor of a whole model; the model stays as it is.

    peft's own merging makes the sum, so that LoRA, rsLoRA and DoRA come out as peft means them; `mix` combines the updates of
    several adapters.
    """
    from peft.tuners.tuners_utils import BaseTunerLayer

    if isinstance(adapted, Whole):
        for name, tensor in adapted.differences().items():
            place, _, key = name.rpartition(".")
            yield Sum(name, adapted.model.get_submodule(place), key, tensor.float())
        return
    if mix is not None:
        torch.manual_seed(mix.seed)
    for name, layer in adapted.base_model.model.named_modules():
        if not isinstance(layer, BaseTunerLayer):
            continue
        owner: Any = layer.get_base_layer()
        if mix is None or mix.is_plain:
            made = _merged_by_peft(name, layer, owner)
        else:
            update = mixed_update(layer, mix)
            made = {} if update is None else {"weight": _finite(name, owner.weight.data.float() + update)}
        for key, total in made.items():
            yield Sum(f"{name}.{key}".replace(".base_layer", ""), owner, key, total)


def _merged_by_peft(name: str, layer: Any, owner: Any) -> dict[str, torch.Tensor]:
    """Parameter → its sum, for those that peft's merging replaces; the layer stays as it is."""
    own = {key: (parameter, parameter.data) for key, parameter in owner.named_parameters(recurse=False)}
    for parameter, data in own.values():
        parameter.data = data.float()
    before = {key: parameter.data for key, (parameter, _) in own.items()}
    try:
        layer.merge(safe_merge=True)
    except ValueError as error:
        raise _not_finite(name, str(error)) from error
    made = {key: parameter.data for key, (parameter, _) in own.items() if parameter.data is not before[key]}
    for parameter, data in own.values():
        parameter.data = data
    layer.merged_adapters.clear()
    return made


def _finite(name: str, total: torch.Tensor) -> torch.Tensor:
    if not bool(total.isfinite().all()):
        raise _not_finite(name, "NaN or infinity in the sum")
    return total


def _not_finite(name: str, reason: str) -> ModelError:
    return ModelError(
        "the adapter's update is not finite",
        value=name,
        expected=f"an adapter of numbers ({reason})",
        hint="train again with a lower train.learning_rate",
    )
