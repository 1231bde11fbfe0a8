"""The best weights of a run by two validation figures: one chooses the result, the best by the other is saved as well."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from tunesmith.train.checkpoint import State, Tensors
from tunesmith.train.method import Direction

__all__ = ["Best", "other_figure"]

_OTHER = "other/"  # before the names of what lies beside, in a checkpoint


def other_figure(figures: Mapping[str, Direction], chosen: str) -> str:
    """The first figure that is not `chosen`; `chosen` itself if a method measures nothing else."""
    return next((name for name in figures if name != chosen), chosen)


@dataclass(slots=True)
class Best:
    """`chosen` are the best weights by the figure `by`, `other` those by the first other one of `figures`.

    They are one copy where they are of one step, which counts where a whole model is trained.
    """

    by: str
    figures: Mapping[str, Direction]
    min_delta: float
    chosen: Tensors
    other: Tensors

    @classmethod
    def starting(cls, by: str, figures: Mapping[str, Direction], min_delta: float, tensors: Mapping[str, torch.Tensor]) -> Best:
        """At the start of a run, from its first weights; on resuming, from what `tensors` gave for the checkpoint."""
        chosen = _copy({name: tensor for name, tensor in tensors.items() if not name.startswith(_OTHER)})
        other = {name.removeprefix(_OTHER): tensor for name, tensor in tensors.items() if name.startswith(_OTHER)}
        return cls(by, figures, min_delta, chosen, _copy(other) if other else chosen)

    def update(self, found: Mapping[str, float], state: State, weights: Mapping[str, torch.Tensor], *, step: int) -> None:
        """Count the figures of a validation at `step` in `state`, and copy the weights where they are the best so far."""
        copy: Tensors = {}
        error, other = self._error(found, self.by), self._error(found, other_figure(self.figures, self.by))
        if error < state.best_error - (self.min_delta if state.best_step >= 0 else 0.0):
            state.best_error, state.best_loss, state.best_step = error, found["loss"], step
            state.looks_without_gain = 0
            self.chosen = copy = _copy(weights)
        else:
            state.looks_without_gain += 1
        if other < state.other_error:
            state.other_error, state.other_step = other, step
            self.other = copy or _copy(weights)

    def _error(self, found: Mapping[str, float], name: str) -> float:
        """The figure as something to make small; 1 − value where higher is better, as checkpoints hold it."""
        return found[name] if self.figures[name] == "lower" else 1 - found[name]

    def tensors(self) -> Tensors:
        """Both, as a checkpoint keeps them; `other` only where it is of another step."""
        if self.other is self.chosen:
            return self.chosen
        return {**self.chosen, **{_OTHER + name: tensor for name, tensor in self.other.items()}}


def _copy(tensors: Mapping[str, torch.Tensor]) -> Tensors:
    return {name: tensor.detach().clone() for name, tensor in tensors.items()}
