"""What a kind of weights that move is: the model to train, what of it is trained, and how the result is written.

The loop knows nothing of kinds. It trains the parameters that want a gradient, in the groups of `Weights.groups`, and calls
`after_step`; everything else that differs between LoRA and a full fine-tune is in the functions that a kind puts in here.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from tunesmith.models.adapters import Coverage
from tunesmith.models.chat import Encoded
from tunesmith.models.load import BaseFolder
from tunesmith.train.settings import AdapterSettings

__all__ = ["Beginning", "Change", "Weights", "moved_from"]

Change = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


@dataclass(frozen=True, slots=True, kw_only=True)
class Beginning:
    """What a kind is given to begin with. `rows`: the encoded training rows; `num_steps`: of the whole run."""

    base: BaseFolder
    settings: AdapterSettings
    rows: Sequence[Encoded]
    num_steps: int
    seed: int


def _same_rate(name: str) -> float:
    return 1.0


def _nothing(step: int) -> None:
    return None


def _no_state() -> Mapping[str, torch.Tensor]:
    return {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """The weights of one run.

    `model`: the model to train, whose parameters with `requires_grad` move. `modules`: full names of the modules that have an
    adapter; none where all layers move, or none. `words`: what moves, for people. `folder`: name of the result in the run's
    folder, `adapter` or `model`.

    `save(folder)`: write the weights as they are now, in standard files. `moved()`: whether they differ from their start.
    `rate_scale(name)`: by what the learning rate of a parameter is multiplied. `after_step(step)`: called after each optimiser
    step, counted from 1, while the gradients are still there. `changes()`, asked for before training: for each matrix that
    moves, by the name of its module, `change(output_I, input_J)` = Σᵢⱼ output_I[i] · input_J[j] · ΔWᵢⱼ², with gradient, for its
    distance ΔW (I, J) from the base; None for a kind that does not say so. `penalty()`: what a step adds to its mean loss, with
    gradient; the logged loss is without it. `state()`: further tensors that resuming needs, by name, in which it puts their
    values back. `update()`: the tensors to which the difference from the base is proportional, by name; None for a kind that
    has none.
    """

    model: Any
    coverage: Coverage
    modules: Sequence[str]
    words: str
    save: Callable[[Path], None]
    moved: Callable[[], bool]
    folder: str = "adapter"
    rate_scale: Callable[[str], float] = _same_rate
    after_step: Callable[[int], None] = _nothing
    changes: Callable[[], Mapping[str, Change]] | None = None
    penalty: Callable[[], torch.Tensor] | None = None
    state: Callable[[], Mapping[str, torch.Tensor]] = _no_state
    update: Callable[[], Mapping[str, torch.Tensor]] | None = None

    def groups(self, named: Mapping[str, torch.Tensor]) -> list[dict[str, Any]]:
        """Parameter groups for an optimiser, one for each scale of the learning rate, which is their `rate_scale`.

        Tensors that are divided among processes are in groups of their own: torch moves no two kinds at once.
        """
        by_scale: dict[tuple[float, type], list[torch.Tensor]] = {}
        for name, parameter in named.items():
            by_scale.setdefault((self.rate_scale(name), type(parameter)), []).append(parameter)
        return [{"params": parameters, "rate_scale": scale} for (scale, _), parameters in by_scale.items()]


def moved_from(model: Any, names: Collection[str]) -> Callable[[], bool]:
    """A function that says whether any of these tensors of the model differs from what it is now.

    They are looked up by name: dividing a model among processes puts other tensors in their place.
    """

    def found() -> list[torch.Tensor]:
        return _sums({name: parameter for name, parameter in model.named_parameters() if name in names})

    start = found()
    return lambda: any(not torch.equal(a, b) for a, b in zip(start, found(), strict=True))


def _sums(parameters: Mapping[str, torch.Tensor]) -> list[torch.Tensor]:
    """Two numbers for each tensor that a step changes: its sum and its sum of squares, in float64."""
    return [torch.stack((p.detach().double().sum(), p.detach().double().square().sum())) for p in parameters.values()]
