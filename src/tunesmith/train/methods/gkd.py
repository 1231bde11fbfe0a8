"""Generalised knowledge distillation (Agarwal et al. 2023, arXiv:2306.13649): a larger model of the same family teaches.

Of a batch of prompts the model answers a share by itself, and the others keep the answers of the dataset. For each token of an
answer it learns to predict what the teacher predicts after the same tokens:

    loss = β KL(teacher ‖ m) + (1 − β) KL(model ‖ m),    m = β teacher + (1 − β) model

Answers of its own show the teacher the model's own mistakes, which those of a dataset do not contain.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Annotated, Any

import torch
from pydantic import Field

from tunesmith.core.errors import ModelError, TrainingError
from tunesmith.core.records import Example
from tunesmith.models.chat import Chat
from tunesmith.models.load import BaseFolder, find_base
from tunesmith.models.packed.divergence import GeneralisedJSD
from tunesmith.train.distilling import FIGURES, DistillingSettings, answer_units, distilled_units, measured, read_divergence
from tunesmith.train.method import Draws, Forward
from tunesmith.train.reading import Reading
from tunesmith.train.rewards.settings import RewardConfig
from tunesmith.train.samples import Group
from tunesmith.train.units import Batch, Unit
from tunesmith.train.watch import Event

__all__ = ["Method", "Settings"]


class Settings(DistillingSettings):
    """Settings of generalised knowledge distillation."""

    teacher: str = ""
    """The model that teaches: a folder, or the name of a base that is on this machine. It must have the base's tokenizer."""
    on_policy: Annotated[float, Field(ge=0, le=1)] = 0.5
    """Share of the prompts that the model answers itself; the others keep the dataset's answer."""
    beta: Annotated[float, Field(ge=0, le=1)] = 0.5
    """Which divergence is learned: 0 is KL(teacher ‖ model), which covers all that the teacher might say; 1 is
    KL(model ‖ teacher), which settles for what the teacher thinks likely; between them the generalised Jensen-Shannon
    divergence."""


class Method:
    """A unit is a prompt with one answer, which both models read."""

    record = Example
    figures = FIGURES
    loss_unit = "nats per token from the teacher"
    rewards: Sequence[RewardConfig] = ()

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.draws = Draws(samples=1, max_new_tokens=settings.max_new_tokens, share=settings.on_policy, readings=1)

    def find_teacher(self) -> BaseFolder:
        """The teacher's folder. It is never fetched. TrainingError if none is named, or if it is not there."""
        return self._teacher

    def contents(self) -> dict[str, str]:
        """A run is named by the weights of its teacher, whatever they are called and wherever they are."""
        return {"teacher": self._teacher.fingerprint}

    @cached_property
    def _teacher(self) -> BaseFolder:
        if not self.settings.teacher:
            raise TrainingError(
                "objective.kind gkd needs a teacher",
                value="objective.teacher is empty",
                expected="the folder or name of a larger model with the base's tokenizer",
                hint="--set objective.teacher=FOLDER; without another model: --set objective.kind=self_distillation",
            )
        try:
            return find_base(self.settings.teacher, offline=True)
        except ModelError as error:
            raise TrainingError(
                "the teacher is not on this machine, or cannot be read",
                value=f"objective.teacher {self.settings.teacher}: {error.problems[0].what}",
                expected="the folder of a model, or the name of a base that was fetched",
                hint="--set objective.teacher=FOLDER, or tunesmith bases --fetch NAME",
            ) from error

    def prepare(self, examples: Sequence[Example], chat: Chat, *, max_tokens: int) -> list[Unit]:
        """A unit for each prompt, with the example's own answer."""
        return answer_units(examples, chat, max_tokens=max_tokens)

    def units(self, forward: Forward, groups: Sequence[Group]) -> list[Unit]:
        """The answers, a unit each."""
        return distilled_units(groups)

    def is_idle(self, unit: Unit) -> bool:
        """Never: the teacher differs from the model at every token."""
        return False

    def loss(self, forward: Forward, batch: Batch) -> torch.Tensor:
        """The sum over tokens of the divergence from the teacher (nats, float32 scalar)."""
        teacher = forward.teacher.predictions(forward.teacher.batch(batch.units))
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
