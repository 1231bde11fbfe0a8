"""What methods that learn from a teacher's distributions share: units of answers, figures of held-out prompts, the reading.

Shapes: N target tokens of a batch.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any

import torch
from pydantic import Field

from tunesmith.core.records import Example
from tunesmith.core.settings import Section
from tunesmith.eval.metrics.repetition import loops
from tunesmith.models.chat import Chat
from tunesmith.train.method import Direction, Forward
from tunesmith.train.reading import Reading
from tunesmith.train.samples import Group, token_counts
from tunesmith.train.units import Batch, Unit

__all__ = [
    "FIGURES",
    "DistillingSettings",
    "answer_units",
    "distilled_units",
    "measured",
    "read_divergence",
    "shown_to_teacher",
]


class DistillingSettings(Section):
    """The settings that methods share whose model answers and whose teacher reads the answers."""

    max_new_tokens: Annotated[int, Field(ge=1)] = 128
    """Maximum tokens per answer of the model."""


FIGURES: Mapping[str, Direction] = {"loss": "lower", "length": "lower", "ended": "higher", "repetition": "lower"}
_ROSE = 0.1  # share of what was gained, after which the curve has turned


def answer_units(examples: Sequence[Example], chat: Chat, *, max_tokens: int) -> list[Unit]:
    """A unit for each prompt, with the example's own answer in place of those to come."""
    return [Unit((chat.answer_row(example.messages, max_tokens=max_tokens),), weight=1) for example in examples]


def distilled_units(groups: Sequence[Group]) -> list[Unit]:
    """A unit for each group; its weight is the number of its target tokens, so a step is a mean over tokens."""
    return [
        Unit(group.rows, sum(token_counts(group.rows)), only_scored=group.teacher_rows, answers=group.samples)
        for group in groups
    ]


def shown_to_teacher(forward: Forward, batch: Batch) -> Batch:
    """The same answers after what the teacher is shown: prediction for prediction in the same order."""
    return forward.batch([replace(unit, rows=unit.only_scored or unit.rows, only_scored=()) for unit in batch.units])


def measured(
    loss: Callable[[Forward, Batch], torch.Tensor],
    forward: Forward,
    units: Sequence[Unit],
    on_done: Callable[[int], None],
) -> dict[str, float]:
    """The `FIGURES`: mean divergence from the teacher in nats per token; tokens per answer; the shares of answers that ended by
    themselves and that repeat themselves.
    """
    total = 0.0
    for batch in forward.batches(units, on_done):
        with torch.no_grad():
            total += float(loss(forward, batch))
    answers = [sample for unit in units for sample in unit.answers]
    return {
        "loss": total / max(1, sum(unit.weight for unit in units)),
        "length": statistics.fmean(len(sample.ids) for sample in answers),
        "ended": statistics.fmean(sample.ended for sample in answers),
        "repetition": statistics.fmean(loops(sample.text) for sample in answers),
    }


def read_divergence(rows: Sequence[Mapping[str, Any]]) -> Reading:
    """What the curve of the divergence from the teacher says."""
    losses = [float(row["val_loss"]) for row in rows if row.get("val_loss") is not None]
    if len(losses) < 2:
        return Reading("too short to tell", f"{len(losses)} validations", "train longer before you read the curves")
    first, best, last = losses[0], min(losses), losses[-1]
    if best >= first:
        text = f"the divergence from the teacher never fell below its start ({first:.3g} nats per token)"
        return Reading("nothing learned", text, "raise train.learning_rate, or adapt more layers (method.targets: all)")
    text = f"the divergence from the teacher fell from {first:.3g} to {best:.3g} nats per token"
    if last - best > _ROSE * (first - best):
        advice = "the best weights are kept; use a lower train.learning_rate"
        return Reading("overfitting", f"{text} and rose to {last:.3g}", advice)
    return Reading("learning", text, "read some of rollouts.jsonl: a number does not show what the answers are like")
