"""The best weights of a run by two validation figures: one chooses the result, the best by the other is saved as well."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tunesmith.train.checkpoint import State
from tunesmith.train.kept import MEMORY, Joined, Keeping, Kept
from tunesmith.train.method import Direction

__all__ = ["Best", "other_figure"]

_OTHER = "other/"  # before the names of what lies beside, in a checkpoint


def other_figure(figures: Mapping[str, Direction], chosen: str) -> str:
    """The first figure that is not `chosen`; `chosen` itself if a method measures nothing else."""
    return next((name for name in figures if name != chosen), chosen)


@dataclass(slots=True)
class Best:
    """`chosen` are the best weights by the figure `by`, `other` those by the first other one of `figures`.

    They are one where they are of one step. `keeping` says where they are.
    """

    by: str
    figures: Mapping[str, Direction]
    min_delta: float
    chosen: Kept
    other: Kept
    keeping: Keeping

    @classmethod
    def starting(
        cls, by: str, figures: Mapping[str, Direction], min_delta: float, tensors: Kept, *, keeping: Keeping = MEMORY
    ) -> Best:
        """At the start of a run, from its first weights; on resuming, from what `tensors` gave for the checkpoint."""
        chosen = keeping.keep({name: tensor for name, tensor in tensors.items() if not name.startswith(_OTHER)})
        other = {name.removeprefix(_OTHER): tensor for name, tensor in tensors.items() if name.startswith(_OTHER)}
        return cls(by, figures, min_delta, chosen, keeping.keep(other) if other else chosen, keeping)

    def update(self, found: Mapping[str, float], state: State, weights: Kept, *, step: int) -> None:
        """Count the figures of a validation at `step` in `state`, and keep the weights where they are the best so far."""
        kept: Kept | None = None
        error, other = self._error(found, self.by), self._error(found, other_figure(self.figures, self.by))
        if error < state.best_error - (self.min_delta if state.best_step >= 0 else 0.0):
            state.best_error, state.best_loss, state.best_step = error, found["loss"], step
            state.looks_without_gain = 0
            self.chosen = kept = self.keeping.keep(weights)
        else:
            state.looks_without_gain += 1
        if other < state.other_error:
            state.other_error, state.other_step = other, step
            self.other = kept or self.keeping.keep(weights)
        self.keeping.drop_all_but(self.chosen, self.other)

    def _error(self, found: Mapping[str, float], name: str) -> float:
        """The figure as something to make small; 1 − value where higher is better, as checkpoints hold it."""
        return found[name] if self.figures[name] == "lower" else 1 - found[name]

    def tensors(self) -> Kept:
        """Both, as a checkpoint keeps them; `other` only where it is of another step."""
        return self.chosen if self.other is self.chosen else Joined(self.chosen, self.other, _OTHER)
