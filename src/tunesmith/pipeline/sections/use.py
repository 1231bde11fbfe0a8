"""Settings of the stage that fixes the settings of use."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from tunesmith.core.settings import Section

__all__ = ["UseConfig"]


class UseConfig(Section):
    """How answers are sampled: in the evaluation, in `chat` and in the merged model's own defaults."""

    temperature: Literal["auto"] | Annotated[float, Field(ge=0, le=2)] = "auto"
    """Sampling temperature; 0 always takes the most likely token. `auto`, here and in the next two settings: the best of seven
    candidates on validation questions, judged on base and tuned model together."""
    top_p: Literal["auto"] | Annotated[float, Field(gt=0, le=1)] = "auto"
    """Sample only from the likeliest tokens that together have this probability. Has no effect at temperature 0."""
    repetition_penalty: Literal["auto"] | Annotated[float, Field(ge=1, le=2)] = "auto"
    """Penalty on tokens that already occur in prompt or answer. 1: no penalty."""
    draws: Annotated[int, Field(ge=3, le=20)] = 3
    """Answers per test question that the evaluation samples from base, prompted base and tuned model. Has no effect at
    temperature 0, where all of them would be equal."""
    seed: int = 7
    """Seed of the sampling, both when the settings are chosen and in the evaluation."""
