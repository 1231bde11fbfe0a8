"""The best weights of a run by validation loss and by accuracy: one of them is the result, the other lies beside it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch

from tunesmith.train.checkpoint import State, Tensors
from tunesmith.train.passes import Look

__all__ = ["Best", "Measure", "other_measure"]

Measure = Literal["loss", "accuracy"]

_OTHER = "other/"  # before the names of what lies beside, in a checkpoint


def other_measure(measure: Measure) -> Measure:
    """Accuracy for loss, loss for accuracy."""
    return "accuracy" if measure == "loss" else "loss"


@dataclass(slots=True)
class Best:
    """`chosen` are the best weights by the `measure` that chooses, `other` those by the other one."""

    measure: Measure
    min_delta: float
    chosen: Tensors
    other: Tensors

    @classmethod
    def starting(cls, measure: Measure, min_delta: float, tensors: Mapping[str, torch.Tensor]) -> Best:
        """At the start of a run, from its first weights; on resuming, from what `tensors` gave for the checkpoint."""
        chosen = _copy({name: tensor for name, tensor in tensors.items() if not name.startswith(_OTHER)})
        beside = {name.removeprefix(_OTHER): tensor for name, tensor in tensors.items() if name.startswith(_OTHER)}
        return cls(measure, min_delta, chosen, _copy(beside or chosen))

    def look(self, seen: Look, state: State, weights: Mapping[str, torch.Tensor], *, step: int) -> None:
        """Take up what a validation at `step` found: `state` counts, and the weights are copied where they are the best."""
        errors: dict[Measure, float] = {"loss": seen.loss, "accuracy": 1 - seen.accuracy}
        error, other = errors[self.measure], errors[other_measure(self.measure)]
        if error < state.best_error - (self.min_delta if state.best_step >= 0 else 0.0):
            state.best_error, state.best_loss, state.best_step = error, seen.loss, step
            state.looks_without_gain = 0
            self.chosen = _copy(weights)
        else:
            state.looks_without_gain += 1
        if other < state.other_error:
            state.other_error, state.other_step = other, step
            self.other = _copy(weights)

    def tensors(self) -> Tensors:
        """Both, as a checkpoint keeps them."""
        return {**self.chosen, **{_OTHER + name: tensor for name, tensor in self.other.items()}}


def _copy(tensors: Mapping[str, torch.Tensor]) -> Tensors:
    return {name: tensor.detach().clone() for name, tensor in tensors.items()}
