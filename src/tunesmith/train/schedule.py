"""The learning rate as a pure function of the step."""

from __future__ import annotations

import math
from typing import Literal, get_args

__all__ = ["SCHEDULES", "Schedule", "learning_rate"]

Schedule = Literal["cosine", "linear", "constant", "wsd", "one_cycle"]
SCHEDULES: tuple[Schedule, ...] = get_args(Schedule)

_ONE_CYCLE_START = 25  # the peak over the first rate of one-cycle, as torch's OneCycleLR has it


def learning_rate(
    step: int, *, num_steps: int, peak: float, warmup: float, schedule: Schedule, floor: float = 0.1, decay: float = 0.2
) -> float:
    """Rate of step 0 … num_steps − 1.

    It rises linearly over the first `warmup` share of the steps, then goes down to `floor` · peak: along a cosine, a line, or
    with `wsd` only over the last `decay` share, as 1 − sqrt (Hägele et al. 2024, arXiv:2405.18392); `constant` stays at the
    peak. `one_cycle` rises along a cosine from a 25th of the peak, and goes down along another (Smith & Topin 2017).
    """
    if schedule == "one_cycle":
        return peak * _one_cycle(step, num_steps, warmup, floor)
    rise = round(warmup * num_steps)
    if step < rise:
        return peak * (step + 1) / (rise + 1)
    if schedule == "constant":
        return peak
    begin = max(rise, num_steps - round(decay * num_steps)) if schedule == "wsd" else rise
    done = max(0, step - begin) / max(1, num_steps - begin)
    if schedule == "cosine":
        return peak * (floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * done)))
    return peak * (floor + (1 - floor) * (1 - (math.sqrt(done) if schedule == "wsd" else done)))


def _one_cycle(step: int, num_steps: int, warmup: float, floor: float) -> float:
    """Share of the peak; the last step of the rise has the peak itself, and the last of all the floor."""
    top, last = warmup * num_steps - 1, num_steps - 1
    if top > 0 and step <= top:
        return _along_cosine(1 / _ONE_CYCLE_START, 1.0, step / top)
    return _along_cosine(1.0, floor, (step - top) / (last - top)) if last > top else 1.0


def _along_cosine(begin: float, end: float, done: float) -> float:
    return end + (begin - end) * 0.5 * (1 + math.cos(math.pi * done))
