"""The learning rate as a pure function of the step."""

from __future__ import annotations

import math
from typing import Literal

__all__ = ["learning_rate"]

_FLOOR = 0.1  # share of the peak at which the cosine ends


def learning_rate(step: int, *, num_steps: int, peak: float, warmup: float, schedule: Literal["cosine", "constant"]) -> float:
    """Rate of step 0 … num_steps − 1: a linear rise over the first `warmup` share, then cosine to a tenth, or constant."""
    rise = round(warmup * num_steps)
    if step < rise:
        return peak * (step + 1) / (rise + 1)
    if schedule == "constant":
        return peak
    done = (step - rise) / max(1, num_steps - rise)
    return peak * (_FLOOR + (1 - _FLOOR) * 0.5 * (1 + math.cos(math.pi * done)))
