"""Settings of rewards and of the watch over them, as sections of the methods that sample."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field, SerializerFunctionWrapHandler, field_validator, model_serializer, model_validator

from tunesmith.core.files import MANIFEST
from tunesmith.core.settings import Section, plain_address

__all__ = ["RewardConfig", "WatchConfig", "labels_of"]

_KINDS = ("function", "file", "address", "voice", "reward_model")
_LATER = frozenset({"reward_model"})


class RewardConfig(Section):
    """One reward. Exactly one of `function`, `file`, `address`, `voice` and `reward_model` says where its numbers come from."""

    function: str = ""
    """A metric of Tunesmith, or the full name of a Python function, such as tunesmith.eval.metrics.json_valid."""
    file: str = ""
    """A Python file of yours, in which `name` is the function. It is run as it is: name only files that you trust."""
    name: str = ""
    """The function in `file`, or how this reward is called in logs. Empty: `reward` in a file, otherwise made from the kind."""
    address: str = ""
    """A judge: an OpenAI-compatible server, such as http://127.0.0.1:11434/v1. Its model is `model`."""
    model: str = ""
    """The judge's model, as the server knows it."""
    prompt: str = ""
    """What the judge is asked. {prompt}, {answer} and {reference} are filled in. Empty: a rating of the answer from 0 to 10."""
    api_key_env: Annotated[str, Field(pattern=r"^([A-Za-z_][A-Za-z0-9_]*)?$")] = ""
    """Name of the environment variable that holds the judge's API key."""
    voice: str = ""
    """`training`: how likely it is that the author of the training examples wrote the answer, by a classifier that is trained
    on them."""
    reward_model: str = ""
    """The folder of a run of objective.kind reward, as `tunesmith path run:latest` prints it: its score of the answer."""
    weight: Annotated[float, Field(ge=-1000, le=1000)] = 1.0
    """What the reward counts. 0: it is measured and watched, but not trained on."""
    seconds: Annotated[float, Field(gt=0, le=86_400)] = 60.0
    """Time limit for the answers of one batch."""

    @field_validator("address")
    @classmethod
    def _plain_address(cls, url: str) -> str:
        return plain_address(url)

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        set_ = [kind for kind in _KINDS if getattr(self, kind)]
        if len(set_) != 1:
            raise ValueError(f"exactly one of {', '.join(_KINDS)} in each reward, not {' and '.join(set_) or 'none'}")
        if self.address and not self.model:
            raise ValueError("a reward with an address also needs the name of its model")
        if self.voice not in ("", "training"):
            raise ValueError("voice: training")
        return self

    @model_serializer(mode="wrap")
    def _as_before(self, plain: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """A kind of reward that came later is left out where it is not used, so that existing runs keep their ids."""
        values: dict[str, Any] = plain(self)
        return {name: value for name, value in values.items() if name not in _LATER or value}

    @property
    def kind(self) -> str:
        """Where the numbers come from."""
        return next(kind for kind in _KINDS if getattr(self, kind))

    @property
    def label(self) -> str:
        """How it is called in logs: letters, digits and underscores."""
        raw = {
            "function": self.function.rpartition(".")[2],
            "file": self.name or "reward",
            "address": "judge",
            "voice": "voice",
            "reward_model": "reward_model",
        }[self.kind]
        return "".join(c if c.isalnum() else "_" for c in (self.name or raw))

    def depends(self) -> dict[str, Any]:
        """What a result made with it depends on beyond its settings: the content of its file, or of the run that it names."""
        if not (self.file or self.reward_model):
            return {}
        path = Path(self.file or f"{self.reward_model}/{MANIFEST}").expanduser()
        return {"sha256": hashlib.sha256(path.read_bytes()).hexdigest()} if path.is_file() else {}


class WatchConfig(Section):
    """When a rising reward is not believed. All figures are of held-out prompts, compared with the untrained model."""

    length: Annotated[float, Field(ge=0)] = 2.0
    """Stop if the reward rises while answers become this many times as long. 0: not watched."""
    ended: Annotated[float, Field(ge=0, le=1)] = 0.3
    """Stop if the reward rises while the share of answers that end before max_new_tokens falls by this much. 0: not watched."""
    kl: Annotated[float, Field(ge=0)] = 3.0
    """Stop if the reward rises while the divergence from the base exceeds this (nats per token). Text that people write costs a
    small model about 3 nats per token; answers above that are nonsense to the base. 0: not watched."""
    repetition: Annotated[float, Field(ge=0, le=1)] = 0.3
    """Stop if the reward rises while the share of answers that repeat themselves grows by this much. 0: not watched."""
    second: Annotated[float, Field(ge=0)] = 0.1
    """Stop if the reward rises while a reward of weight 0 falls by this much. 0: not watched."""


def labels_of(configs: Sequence[RewardConfig]) -> list[str]:
    """What the rewards are called in logs, in order; numbered where two would have one name."""
    made: list[str] = []
    for config in configs:
        same = sum(one.label == config.label for one in configs[: len(made)])
        made.append(f"{config.label}_{same + 1}" if same else config.label)
    return made
