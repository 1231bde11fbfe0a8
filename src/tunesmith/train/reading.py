"""What the curves say, in plain words: learning, saturated, overfitting, unstable, collapsed, and what to do about it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

__all__ = ["Reading", "read_curves"]

_SATURATED = 0.2
_COLLAPSE = {  # events of the watch that no falling loss makes good
    "repetition": "its answers looped",
    "same_answer": "it gave one answer to different questions",
    "empty_answers": "its answers were empty",
}
Shape = Literal[
    "learning", "saturated", "overfitting", "unstable", "collapsed", "nothing learned", "too short to tell", "reward hacked"
]


@dataclass(frozen=True, slots=True)
class Reading:
    """The shape of the curves, what it looks like here, and what to do."""

    shape: Shape
    text: str
    advice: str


def read_curves(rows: Sequence[Mapping[str, Any]], *, min_delta: float) -> Reading:
    """Read metric rows (`step` with `loss` and `grad_norm`, or with `val_loss`). Losses in nats per token.

    Collapsed: gradients of exactly zero, twice or more: what the model says no longer hangs on its weights. Unstable: a
    training loss that jumps by more than half over the running mean, twice or more. Overfitting: validation ends over its
    best by more than three `min_delta` and by 1 % while the training loss still falls. Saturated: the last third of the
    validations gained less than a fifth of what its share of the learning rate earned on average. Learning: the rest, if
    validation fell at all.
    """
    losses = [float(r["loss"]) for r in rows if "loss" in r]
    validations = [(int(r["step"]), float(r["val_loss"])) for r in rows if r.get("val_loss") is not None]
    if len(validations) < 2 or len(losses) < 4:
        return Reading(
            "too short to tell",
            f"{len(losses)} steps and {len(validations)} validations",
            "train longer before you read the curves",
        )
    first, last = validations[0][1], validations[-1][1]
    best_step, best = min(validations, key=lambda found: found[1])
    gain = first - best
    spikes = _spikes(losses)
    dead = sum(r.get("grad_norm") == 0 for r in rows if "loss" in r)
    if dead >= 2:
        return Reading(
            "collapsed",
            f"{dead} steps had a gradient of exactly zero: the model gives the same answer to every question",
            "set train.learning_rate to a tenth, keep train.max_grad_norm at 1",
        )
    if told := [_COLLAPSE[r["event"]] for r in rows if r.get("event") in _COLLAPSE and r["step"] == best_step]:
        return Reading(
            "collapsed",
            f"at its best step ({best_step}) {told[0]}, however low the loss",
            "set train.learning_rate to a tenth; do not use this adapter",
        )
    if spikes >= 2:
        return Reading(
            "unstable", f"the training loss jumped {spikes} times", "halve train.learning_rate, or raise train.warmup to 0.1"
        )
    if gain <= min_delta:
        return Reading(
            "nothing learned",
            f"validation loss never fell below its start ({first:.3f})",
            "raise train.learning_rate, or adapt more layers (method.targets: all)",
        )
    falling = _mean(losses[-max(2, len(losses) // 4) :]) < _mean(losses[: max(2, len(losses) // 4)])
    if falling and last - best > max(3 * min_delta, 0.01 * best):
        return Reading(
            "overfitting",
            f"validation was best at step {best_step} ({best:.3f}) and rose to {last:.3f} while training loss fell",
            "the best weights are kept; more writing, fewer epochs or a lower rank would help",
        )
    if _late_share(rows, validations) < _SATURATED:
        return Reading(
            "saturated",
            f"validation fell from {first:.3f} to {best:.3f} and has levelled off",
            "stopping here is right; more steps would not help",
        )
    return Reading(
        "learning", f"validation fell from {first:.3f} to {best:.3f} and is still falling", "more epochs would probably help"
    )


def _late_share(rows: Sequence[Mapping[str, Any]], validations: Sequence[tuple[int, float]]) -> float:
    """Gain of the last third of the validations over the gain of all, each for its share of the learning rate spent.

    A falling rate slows the curve by itself; only what the rate does not explain is saturation.
    """
    turn = validations[-1 - max(1, len(validations) // 3)][0]
    spent = {int(r["step"]): float(r.get("learning_rate") or 1.0) for r in rows if "loss" in r}
    late_rate = sum(rate for step, rate in spent.items() if step > turn) / sum(spent.values())
    before = min(loss for step, loss in validations if step <= turn)
    late = before - min(loss for _, loss in validations)
    return late / (validations[0][1] - min(loss for _, loss in validations)) / max(late_rate, 1e-9)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _spikes(losses: Sequence[float]) -> int:
    """Steps whose loss is over 1.5 times the running mean; a plain rise by the data's own noise stays well below."""
    running, spikes = losses[0], 0
    for loss in losses[1:]:
        if not math.isfinite(loss) or loss > 1.5 * running:
            spikes += 1
        running = 0.9 * running + 0.1 * min(loss, 1.5 * running)
    return spikes
