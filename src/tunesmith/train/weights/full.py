"""Full fine-tuning: the model's own weights move, all of them or those of its top layers.

They are trained in the number type of the run, float32 unless the recipe names another. The result is a whole model in the
base's own layout, each tensor in the type that it has in the base.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from tunesmith.models.adapters import Coverage
from tunesmith.models.dropout import switch_off_dropouts
from tunesmith.models.extended_vocabulary import parted_head
from tunesmith.models.load import BaseFolder
from tunesmith.models.merge import Merged, write_model
from tunesmith.models.reach import choose_modules, linear_modules, moving_parameters
from tunesmith.train.weights.weights import Beginning, Change, Weights, moved_from

__all__ = ["attach"]


def attach(model: Any, how: Beginning) -> Weights:
    """Let the parameters of the chosen layers move. ModelError if the settings ask for more layers than there are."""
    s = how.settings
    linear = linear_modules(model)
    modules = [] if s.layers == "all" else choose_modules(model, "all", s.layers)
    dropouts = switch_off_dropouts(model)
    moving = moving_parameters(model, s.layers)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name in moving)
    num_trained = sum(p.numel() for p in moving.values())
    num_all = sum(p.numel() for p in model.parameters())
    return Weights(
        model=model,
        coverage=Coverage(tuple(modules), len(linear), num_trained, num_all, {}, dropouts),
        modules=modules,
        words="all weights of the model" if s.layers == "all" else f"all weights of the top {s.layers} layers",
        save=lambda folder: _save(model, how.base, folder),
        moved=moved_from(model, moving),
        folder="model",
        changes=lambda: _changes(model, moving),
    )


def _changes(model: Any, moving: Mapping[str, torch.Tensor]) -> dict[str, Change]:
    """How far each linear matrix that moves is from where it is now, of which a copy is kept."""

    def change_of(weight: torch.Tensor) -> Change:
        start = weight.detach().clone()
        return lambda output_I, input_J: (output_I @ (weight - start).float().square()) @ input_J

    linear = {name: module for name, module in model.named_modules() if isinstance(module, torch.nn.Linear)}
    return {name: change_of(module.weight) for name, module in linear.items() if f"{name}.weight" in moving}


def _save(model: Any, base: BaseFolder, folder: Path) -> None:
    write_model(base, model, folder, Merged(vocabulary=None, untied=parted_head(model)), None, generation={})
