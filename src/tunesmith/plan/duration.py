"""Seconds that the stages take, from the speed of one layer that was timed on this machine.

A forward pass costs a share of what a training step costs; an answer's token costs a forward pass, and each pass of all
answers in work costs reading the weights once more.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from tunesmith.plan.shape import Shape

__all__ = ["Durations", "Speed", "Work", "duration_text", "durations", "probed_rows", "step_seconds"]

_STEP = 1.2  # a whole step over its timed layers: embeddings, loss, optimiser, Python (measured on the embedded base)
_FORWARD = 0.5  # of forward and backward together (docs/log.md)
_PASS = 32  # tokens whose forward pass takes as long as one more pass of all answers takes
_SAMPLES, _SAMPLE_TOKENS = 3, 48  # answers at each validation
_PARITY_ITEMS = 64
_SUITE_BATCH, _SUITE_PROMPT = 128, 40  # questions at once, and tokens of one in its template
_QUESTIONS, _MOST_ASKED, _ROWS = 3, 240, 40  # of the probes: other questions of an item, and of all items; training rows
_ANSWERED = 0.8  # of the tokens that answers may have


@dataclass(frozen=True, slots=True)
class Speed:
    """Tokens/s through one layer forward and backward: in the type of training, and in float32."""

    training: float
    float32: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What is to be done. `validations`: how often `val_tokens` are scored and samples drawn, `scored_again`: how often they
    are scored without; `systems`: how many score `items` of `item_tokens`
    in all. They make `answers` of up to `room` tokens each, at most `at_once`. `general_tokens` are scored twice, and
    `probe_tokens` are those of all probes. Base and tuned model answer `suite_items` questions greedily, with up to
    `suite_tokens` new ones in all. A method that draws answers draws `drawn_tokens` in training, prompts counted, in
    `drawing_passes` passes."""

    step_tokens: int
    validations: int
    val_tokens: int
    systems: int
    items: int
    item_tokens: int
    answers: int
    room: int
    at_once: int
    general_tokens: int
    probe_tokens: int
    scored_again: int = 0
    suite_items: int = 0
    suite_tokens: int = 0
    drawn_tokens: int = 0
    drawing_passes: int = 0


@dataclass(frozen=True, slots=True)
class Durations:
    """Seconds of each stage."""

    training: float
    validation: float
    evaluation: float

    @property
    def total(self) -> float:
        """Of the whole command, without reading sources and starting up."""
        return self.training + self.validation + self.evaluation


def durations(work: Work, shape: Shape, speed: Speed) -> Durations:
    """The seconds that `work` takes on a model of `shape`."""
    layers = _layers(shape)
    step = step_seconds(shape, speed)
    forward = _FORWARD * layers / speed.training
    sampled = _SAMPLE_TOKENS * (_SAMPLES + _PASS)
    return Durations(
        training=work.step_tokens * step + (work.drawn_tokens + work.drawing_passes * _PASS) * forward,
        validation=(work.validations * (work.val_tokens + sampled) + work.scored_again * work.val_tokens) * forward,
        evaluation=_evaluated_tokens(work) * _FORWARD * layers / speed.float32,
    )


def _layers(shape: Shape) -> float:
    """Layers whose work is that of the model: the head costs what so many more do."""
    return shape.layers + shape.width * shape.vocabulary / max(1, shape.linear_params // max(1, shape.layers))


def step_seconds(shape: Shape, speed: Speed) -> float:
    """Seconds per token of training an adapter."""
    return _STEP * _layers(shape) / speed.training


def probed_rows(items: int) -> int:
    """Rows that base and tuned model score beside `items` test items, at most: items under other questions, training rows as
    they were learned and reworded, and training rows under three questions, which the base alone scores."""
    other = items * max(1, min(_QUESTIONS, _MOST_ASKED // max(1, items)))
    return 2 * other + 2 * 2 * min(items, _ROWS) + 3 * _ROWS


def _evaluated_tokens(work: Work) -> float:
    """Tokens whose forward passes take as long as the evaluation: scoring, parity, and answers with their passes."""
    scored = work.systems * work.item_tokens + 2 * work.general_tokens + work.probe_tokens
    parity = 2 * work.item_tokens * min(1.0, _PARITY_ITEMS / max(1, work.items))
    made = work.answers * work.room * _ANSWERED
    batches = max(work.systems - 1, work.answers * _ANSWERED / max(1, work.at_once))  # base and tuned answer together
    return scored + parity + made + batches * work.room * _PASS + _suites(work)


def _suites(work: Work) -> float:
    """The same for the questions of suites, which are short: their prompts, answers, and the passes of each batch."""
    longest = work.suite_tokens / max(1, work.suite_items)
    batches = math.ceil(work.suite_items / _SUITE_BATCH)
    prompts = 2 * work.suite_items * _SUITE_PROMPT
    return prompts + 2 * work.suite_tokens * _ANSWERED + batches * longest * _PASS


def duration_text(seconds: float) -> str:
    """A duration in the unit in which people would say it."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
