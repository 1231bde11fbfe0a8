"""The sampling settings: how answers are drawn when a model is used, by the evaluation, `chat` and the merged model's own
defaults alike."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from tunesmith.core.errors import ModelError
from tunesmith.models.generation.requests import Sampling

__all__ = ["GREEDY_USE", "Use", "generation_fields", "read_use"]

_SAMPLING_KEYS = (  # everything in a generation_config.json that changes which token is chosen
    "do_sample",
    "temperature",
    "top_k",
    "top_p",
    "top_h",
    "min_p",
    "typical_p",
    "epsilon_cutoff",
    "eta_cutoff",
    "repetition_penalty",
    "no_repeat_ngram_size",
    "num_beams",
    "penalty_alpha",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """Temperature 0 takes the likeliest token (greedy). An evaluation asks each question `draws` times, with `seed`.

    `how` says where the numbers come from, in words.
    """

    temperature: float
    top_p: float
    repetition_penalty: float
    draws: int
    seed: int
    how: str = ""

    @property
    def sampling(self) -> Sampling:
        """The same for the generator."""
        return Sampling(
            temperature=self.temperature, top_p=self.top_p, repetition_penalty=self.repetition_penalty, seed=self.seed
        )

    @property
    def num_draws(self) -> int:
        """Answers per question: greedy answers are all the same, so one is enough."""
        return self.draws if self.temperature > 0 else 1

    @property
    def is_plain_greedy(self) -> bool:
        """Whether answers at these settings are the greedy ones."""
        return self.temperature == 0 and self.repetition_penalty == 1

    @property
    def words(self) -> str:
        """For people: temperature 0.7, top-p 0.9, repetition penalty 1.1."""
        if self.is_plain_greedy:
            return "greedy"
        penalty = f"repetition penalty {self.repetition_penalty:g}"
        if self.temperature == 0:
            return f"greedy with {penalty}"
        return f"temperature {self.temperature:g}, top-p {self.top_p:g}, {penalty}"


GREEDY_USE = Use(temperature=0.0, top_p=1.0, repetition_penalty=1.0, draws=1, seed=0, how="greedy")


def generation_fields(use: Use, base: Mapping[str, Any]) -> dict[str, Any]:
    """What a generation_config.json has to say, so that a library that reads it draws as the evaluation did.

    `base` is the base's own file: whatever else in it changes which token is chosen becomes null. `top_k: 0` is written out,
    for transformers takes 50 where it is left away.
    """
    fields: dict[str, Any] = {key: None for key in base if key in _SAMPLING_KEYS}
    if use.temperature > 0:
        fields |= {"do_sample": True, "temperature": use.temperature, "top_p": use.top_p, "top_k": 0}
    else:
        fields |= {"do_sample": False}
    return fields | {"repetition_penalty": use.repetition_penalty}


def read_use(path: Path) -> Use:
    """The settings in a use.json. ModelError if the file holds something else."""
    try:
        return TypeAdapter(Use).validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise ModelError(
            "the sampling settings cannot be read",
            value=str(path),
            expected="temperature, top_p, repetition_penalty, draws and seed, as a stage wrote them",
            hint="delete that folder and run again: tunesmith run",
        ) from error
