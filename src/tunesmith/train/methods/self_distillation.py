"""Self-distillation (Shenfeld et al. 2026, arXiv:2601.19897): the base that is shown more teaches itself without it.

The model answers a prompt; the teacher is the base with an instruction, an example's own answer, passages of the training
rows that fit the question, or several of these in its context. For each token of the answer, which the model drew itself, it
learns to predict what the teacher predicts after the same tokens:

    loss = KL(student(· | prompt, tokens before) ‖ teacher(· | what it is shown, prompt, tokens before))

Since the answers are the model's own, it changes only as far as the teacher differs from it. Unlike the paper's, whose teacher
is an average of the student's weights, the teacher here does not move: it is the adapter switched off.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Annotated, Any, Self

import torch
from pydantic import Field, model_validator

from tunesmith.core.records import Example
from tunesmith.data.similar.ranking import Ranker, best, ranker_named
from tunesmith.models.chat import Chat
from tunesmith.models.packed.divergence import GeneralisedJSD
from tunesmith.systems.retrieval import passage_of
from tunesmith.train.distilling import (
    FIGURES,
    DistillingSettings,
    answer_units,
    distilled_units,
    measured,
    read_divergence,
    shown_to_teacher,
)
from tunesmith.train.method import Draws, Forward
from tunesmith.train.reading import Reading
from tunesmith.train.rewards.settings import RewardConfig
from tunesmith.train.samples import Group
from tunesmith.train.units import Batch, Unit
from tunesmith.train.watch import Event

__all__ = ["Method", "Settings"]

_DEMONSTRATION = "\n\nA good answer to this would be:\n\n{answer}\n\nNow give an answer of your own, in the same way."


class Settings(DistillingSettings):
    """Settings of self-distillation."""

    context: str = ""
    """A text that the teacher alone is shown, as system prompt: instructions, or knowledge that is to be learned."""
    demonstration: bool = True
    """Whether the teacher is shown the example's own answer, as a demonstration after the question."""
    passages: Annotated[int, Field(ge=0, le=16)] = 0
    """How many passages the teacher is shown: the answers of the training rows (of generated rows, the quotes behind them) that
    fit the question best, by shared words."""
    beta: Annotated[float, Field(ge=0, le=1)] = 1.0
    """Which divergence is learned: 1 is KL(student ‖ teacher), 0 is KL(teacher ‖ student), between them the generalised
    Jensen-Shannon divergence."""

    @model_validator(mode="after")
    def _shows_something(self) -> Self:
        if not (self.context.strip() or self.demonstration or self.passages):
            raise ValueError("objective.context, demonstration or passages: the teacher must be shown more than the model")
        return self


class Method:
    """A unit is a prompt with an answer of the model; `only_scored` is the same answer after what the teacher is shown."""

    record = Example
    figures = FIGURES
    loss_unit = "nats per token from the teacher"
    rewards: Sequence[RewardConfig] = ()

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.draws = Draws(samples=1, max_new_tokens=settings.max_new_tokens, readings=1, needs_base=True)
        self._passages: list[str] = []

    def prepare(self, examples: Sequence[Example], chat: Chat, *, max_tokens: int) -> list[Unit]:
        """A unit for each prompt, with the example's own answer in place of the one to come."""
        return answer_units(examples, chat, max_tokens=max_tokens)

    def show(self, train: Sequence[Example]) -> None:
        """The passages that there are: each once."""
        self._passages = list(dict.fromkeys(map(passage_of, train))) if self.settings.passages else []

    @cached_property
    def _scores_of(self) -> Ranker:
        return ranker_named("words", self._passages)

    def teacher_prompt(self, chat: Chat, example: Example) -> tuple[int, ...]:
        """The prompt with the demonstration after the last question, under context and passages, the best of them last."""
        messages = example.prompt
        if self.settings.demonstration:
            asked = messages[-1]
            shown = replace(asked, content=asked.content + _DEMONSTRATION.replace("{answer}", example.answer))
            messages = (*messages[:-1], shown)
        led = [self.settings.context.strip()]
        if self._passages:
            found = best(self._scores_of(example.prompt[-1].content), self.settings.passages)
            led += [self._passages[place] for place in reversed(found)]
        if text := "\n\n".join(filter(None, led)):
            messages = chat.with_system(messages, text)
        return tuple(chat.encode_prompt(messages))

    def units(self, forward: Forward, groups: Sequence[Group]) -> list[Unit]:
        """The answers, each after both prompts."""
        return distilled_units(groups)

    def is_idle(self, unit: Unit) -> bool:
        """Never: the teacher differs from the model at every token."""
        return False

    def loss(self, forward: Forward, batch: Batch) -> torch.Tensor:
        """The sum over tokens of the divergence from the teacher (nats, float32 scalar)."""
        shown = shown_to_teacher(forward, batch)
        with forward.base():
            teacher = forward.predictions(shown)
        return forward.summed(batch, GeneralisedJSD(teacher, self.settings.beta))

    def validate(self, forward: Forward, units: Sequence[Unit], on_done: Callable[[int], None]) -> dict[str, float]:
        """The figures of answers to held-out prompts."""
        return measured(self.loss, forward, units, on_done)

    def alarm(self, rows: Sequence[Mapping[str, Any]]) -> Event | None:
        """Nothing is rewarded that could be had otherwise."""
        return None

    def read(self, rows: Sequence[Mapping[str, Any]]) -> Reading:
        """What the curve of the divergence says."""
        return read_divergence(rows)
