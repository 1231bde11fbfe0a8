"""The settings that every method with answers of its own shares (see `train.method.Sampled`)."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from tunesmith.core.settings import Section
from tunesmith.train.method import Draws, Rate
from tunesmith.train.rewards.settings import RewardConfig, WatchConfig

__all__ = ["POLICY_RATE", "SampledSettings"]

POLICY_RATE = Rate(0.1, "learning from rewards takes about a tenth of the rate of supervised fine-tuning (Tulu 3 a 13th)")


class SampledSettings(Section):
    """How answers are drawn, what they are rewarded for, and how far a step may go."""

    rewards: list[RewardConfig] = Field(default_factory=list)
    """What answers are rewarded for: a list of rewards with weights (docs/concepts/methods.md)."""
    samples: Annotated[int, Field(ge=2, le=1024)] = 8
    """Answers per prompt that are compared with each other."""
    max_new_tokens: Annotated[int, Field(ge=1)] = 128
    """Maximum tokens per answer."""
    updates: Annotated[int, Field(ge=1, le=64)] = 1
    """Steps made on the same answers. More than 1 needs method.dropout 0."""
    clip_low: Annotated[float, Field(gt=0, le=1)] = 0.2
    """How far below 1 the ratio counts."""
    clip_high: Annotated[float, Field(gt=0, le=10)] = 0.2
    """How far above 1 the ratio counts. 0.28 leaves rare tokens more room (DAPO)."""
    watch: WatchConfig = WatchConfig()

    @property
    def draws(self) -> Draws:
        """How answers are drawn."""
        sizes = {"samples": self.samples, "max_new_tokens": self.max_new_tokens, "updates": self.updates}
        return Draws(**sizes, readings=self.readings, needs_base=True)

    @property
    def readings(self) -> int:
        """How often each answer is read before its loss: by the weights that gave it, where several steps are made on it."""
        return int(self.updates > 1)
