"""Settings of the evaluation stage: what is measured, and the rules of the verdict."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from tunesmith.core.settings import Section

__all__ = ["EvalConfig", "GateConfig"]


class EvalConfig(Section):
    """What is measured on the test split."""

    baselines: list[str] = ["prompted"]
    """Cheaper alternatives measured alongside the base. `prompted`: the base with training passages in its prompt."""
    max_items: Annotated[int, Field(ge=0)] = 200
    """Maximum number of test items, spread over as many documents as possible. 0: all."""
    max_new_tokens: Literal["auto"] | Annotated[int, Field(ge=1, le=8192)] = "auto"
    """Maximum tokens per answer; answers cut here are counted. `auto`: a quarter more than 99 % of the references need."""
    batch_examples: Annotated[int, Field(ge=1, le=4096)] = 256
    """Maximum number of answers generated at once, base and tuned model together. Fewer are generated if their keys and values
    need more than a quarter of the free memory (on a CPU: 768 MiB)."""
    primary: Literal["bits_per_byte", "word_overlap", "rouge_l", "exact_match"] = "bits_per_byte"
    """The metric that decides the verdict. Bits per byte: how surprised the model is by the author's held-out words."""
    draws: Annotated[int, Field(ge=200, le=1_000_000)] = 10_000
    """Number of resamples of the bootstrap and of the permutation test."""


class GateConfig(Section):
    """The rules of the verdict. Required gates: primary, parity, stop, answers. Advisory gates: general, served."""

    primary_margin: Annotated[float, Field(ge=0)] = 0.0
    """The whole confidence interval of the improvement must be above this margin, in the unit of the primary metric."""
    min_documents: Annotated[int, Field(ge=2)] = 6
    """Minimum number of test documents; with fewer, the primary gate is not measured. Fewer than six can never pass."""
    stop_share: Annotated[float, Field(ge=0, le=1)] = 0.9
    """Share of sampled answers that must end by themselves and contain at least one word."""
    loop_margin: Annotated[float, Field(ge=0, le=1)] = 0.1
    """Share of answers by which the tuned model may loop, or repeat one answer to different questions, more than the base."""
    parity_logit: Literal["auto"] | Annotated[float, Field(gt=0)] = "auto"
    """Largest allowed difference of any logit between tuned and merged model, both computed in float32. `auto`: 0.001 for
    float32 weights; for 16-bit weights the difference is reported without a limit."""
    parity_top1: Literal["auto"] | Annotated[float, Field(gt=0, le=1)] = "auto"
    """Share of positions at which tuned and merged model must choose the same token. `auto`: depends on the number type of the
    stored weights; see the table in docs/concepts/merged-model.md."""
    general_margin: Annotated[float, Field(ge=0)] = 0.1
    """Largest allowed increase in bits per byte on general text; beyond it the advisory gate fails."""
