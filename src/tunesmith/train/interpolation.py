"""Weight interpolation after training: the smallest update that keeps most of the gain, since a smaller one forgets less.

Weights between those of the base and those of the tuned model keep most of what was learned and more of what was known before
(WiSE-FT: Wortsman et al. 2022, arXiv:2109.01903). For LoRA, B times `scale` is exactly the point at that share of the way.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from tunesmith.core.reporter import Reporter
from tunesmith.train.loop import Fitted
from tunesmith.train.validation import Validation
from tunesmith.train.weights.weights import Weights

__all__ = ["SCALES", "Interpolation", "interpolate"]

SCALES = (0.5, 0.6, 0.7, 0.8, 0.9)
_MOST_MEASURED = 4  # the base, and three of the scales by bisection


@dataclass(frozen=True, slots=True, kw_only=True)
class Interpolation:
    """The update was multiplied by `scale`. Validation losses: of the base, of the whole update, and of the scaled one."""

    scale: float
    base_loss: float
    whole_loss: float
    loss: float

    @property
    def kept(self) -> float:
        """The share of the fall in validation loss that is left."""
        return (self.base_loss - self.loss) / (self.base_loss - self.whole_loss)

    @property
    def words(self) -> str:
        """For people."""
        return (
            f"scaled to {self.scale:g}, to forget less: {self.kept:.0%} of the gain is kept, "
            f"validation loss {self.loss:.3f} ({self.whole_loss:.3f} before)"
        )


def interpolate(
    weights: Weights, fitted: Fitted, validation: Validation, *, gain_kept: float, reporter: Reporter
) -> Interpolation | None:
    """Scale the update in `weights` to the smallest of `SCALES` with which validation loss keeps `gain_kept` of its fall.

    None, with the weights as they were, if nothing was gained, or every smaller update loses more.
    """
    if gain_kept >= 1 or weights.update is None or fitted.best_step <= 0:
        return None
    update, rows = weights.update(), validation.num_units
    whole = {name: tensor.detach().clone() for name, tensor in update.items()}

    @torch.no_grad()
    def scaled_to(scale: float) -> None:
        for name, tensor in update.items():
            tensor.copy_(whole[name] * scale)

    with reporter.progress("interpolation", total=_MOST_MEASURED * rows, unit="rows") as progress:

        def loss_at(scale: float) -> float:
            scaled_to(scale)
            return validation.measure(rows, lambda count: progress.advance(count, f"update times {scale:g}"))["loss"]

        base_loss, whole_loss = loss_at(0.0), fitted.best_loss
        limit = base_loss - gain_kept * (base_loss - whole_loss)
        chosen: tuple[float, float] | None = None
        low, high = 0, len(SCALES) if whole_loss < base_loss else 0
        while low < high:  # between base and tuned model the loss falls, or falls and rises a little
            middle = (low + high) // 2
            loss = loss_at(SCALES[middle])
            if loss <= limit:
                chosen, high = (SCALES[middle], loss), middle
            else:
                low = middle + 1
    scaled_to(chosen[0] if chosen else 1.0)
    return Interpolation(scale=chosen[0], base_loss=base_loss, whole_loss=whole_loss, loss=chosen[1]) if chosen else None
