"""One adapter or several: opened on one base, and their updates combined into one for each matrix.

Combined are the update matrices themselves (B A times the scale of its adapter), as TIES (Yadav et al. 2023, arXiv 2306.01708)
and DARE (Yu et al. 2023, arXiv 2311.03099) define them, with peft's own functions. peft's `add_weighted_adapter` with `linear`,
`ties` or `dare_*` combines the factors A and B instead, which is a rough approximation and needs equal ranks.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import torch

from tunesmith.core.errors import ModelError
from tunesmith.models.adapters import open_adapter
from tunesmith.models.foreign_adapters import CONFIG

__all__ = ["AdapterMix", "MixMethod", "mixed_update", "open_mix"]

MixMethod = Literal["linear", "ties", "dare", "dare_ties"]


@dataclass(frozen=True, slots=True, kw_only=True)
class AdapterMix:
    """The adapters to merge, with one weight each.

    `method`: `linear` is the weighted sum; `ties` keeps of each update the share `density` of largest elements and, at each
    place, those of the sign that has more weight; `dare` keeps a random share `density` and scales it up; `dare_ties` does
    both. `density` and `seed` have no effect on `linear`, the seed none on `ties`.
    """

    folders: tuple[Path, ...]
    weights: tuple[float, ...] = ()
    method: MixMethod = "linear"
    density: float = 0.5
    seed: int = 7

    def __post_init__(self) -> None:
        """ModelError for no adapter, weights that do not fit, or settings out of range."""
        if not self.folders:
            raise _refused("there is no adapter to merge", "", "one or more adapter folders", "--adapter DIR")
        if len(set(self.folders)) != len(self.folders):
            raise _refused("the same adapter is given twice", str(self.folders[0]), "each once", "give it a larger weight")
        if self.weights and len(self.weights) != len(self.folders):
            expected = f"{len(self.folders)}, one per adapter in the same order"
            raise _refused("there are not as many weights as adapters", len(self.weights), expected, "--weights 0.7,0.3")
        if not all(math.isfinite(weight) for weight in self.weights) or (self.weights and not any(self.weights)):
            expected = "numbers, of which at least one is not 0"
            raise _refused("the weights are not usable", list(self.weights), expected, "--weights 0.7,0.3")
        if self.method not in get_args(MixMethod):
            known = f"one of {', '.join(get_args(MixMethod))}"
            raise _refused("unknown method of combining adapters", self.method, known, "--method linear")
        if self.method != "linear" and not 0 < self.density < 1:
            expected = "a share above 0 and below 1"
            raise _refused("the share of each update to keep is out of range", self.density, expected, "--density 0.5")

    @property
    def names(self) -> tuple[str, ...]:
        """What each adapter is called inside the model; a single one as peft calls it."""
        return ("default", *(f"adapter_{n}" for n in range(1, len(self.folders))))

    @property
    def all_weights(self) -> tuple[float, ...]:
        """The weights; 1 for each adapter where none are given."""
        return self.weights or (1.0,) * len(self.folders)

    @property
    def is_plain(self) -> bool:
        """Whether this is one adapter at its full strength, which peft merges itself."""
        return len(self.folders) == 1 and self.all_weights == (1.0,) and self.method == "linear"


def open_mix(model: Any, mix: AdapterMix) -> Any:
    """The base with every adapter of the mix in memory. ModelError for one that does not fit, or that cannot be combined."""
    if not mix.is_plain:
        for folder in mix.folders:
            _refuse_uncombinable(folder)
    for name, folder in zip(mix.names, mix.folders, strict=True):
        model = open_adapter(model, folder, name=name, whole=mix.is_plain)
    return model


def mixed_update(layer: Any, mix: AdapterMix) -> torch.Tensor | None:
    """The combined update of one layer, in float32; None if no adapter covers it. Of several, those that cover it count.

    DARE draws from torch's global generator: seed it once before the first layer.
    """
    held = [*getattr(layer, "lora_A", ()), *getattr(layer, "lora_embedding_A", ())]
    present = [(name, weight) for name, weight in zip(mix.names, mix.all_weights, strict=True) if name in held]
    if not present:
        return None
    updates = [layer.get_delta_weight(name).float() for name, _ in present]
    return _combine(mix)(updates, torch.tensor([weight for _, weight in present], dtype=torch.float32))


def _combine(mix: AdapterMix) -> Callable[[list[torch.Tensor], torch.Tensor], torch.Tensor]:
    from peft.utils import merge_utils

    def combine(updates: list[torch.Tensor], weights: torch.Tensor) -> torch.Tensor:
        made: torch.Tensor
        if mix.method == "linear":
            made = merge_utils.task_arithmetic(updates, weights)
        elif mix.method == "ties":
            made = merge_utils.ties(updates, weights, mix.density)
        elif mix.method == "dare":
            made = merge_utils.dare_linear(updates, weights, mix.density)
        else:
            made = merge_utils.dare_ties(updates, weights, mix.density)
        return made

    return combine


def _refuse_uncombinable(folder: Path) -> None:
    """ModelError for an adapter whose effect is not one update matrix added to the base's."""
    try:
        config: Mapping[str, Any] = json.loads((folder / CONFIG).read_bytes())
    except (OSError, ValueError) as error:
        what = "the adapter has no readable configuration"
        raise _refused(what, str(folder), f"{CONFIG} ({error})", "copy the adapter again") from error
    reasons = {
        "use_dora": "DoRA scales base and update by a magnitude of its own, so two of them, or a part of one, have no sum",
        "modules_to_save": "it replaces whole modules, of which two have no sum",
        "target_parameters": "its updates of single parameters cannot be read one by one",
        "trainable_token_indices": "it replaces rows of the embedding",
    }
    for key, reason in reasons.items():
        if config.get(key):
            hint = "merge it alone and without a weight"
            raise _refused("this adapter cannot be combined or weighted", f"{folder}: {key}", f"plain LoRA: {reason}", hint)


def _refused(what: str, value: object, expected: str, hint: str) -> ModelError:
    return ModelError(what, value=value, expected=expected, hint=hint)
