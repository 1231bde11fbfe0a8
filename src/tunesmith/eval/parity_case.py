"""Two systems that differ, with all that is known of them; and the causes that several kinds of evidence can name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from tunesmith.core.errors import ModelError
from tunesmith.eval.parity_apart import ScoresCompared
from tunesmith.eval.parity_effect import Effect, adapter_effect
from tunesmith.eval.parity_prompts import ParityPrompt
from tunesmith.eval.parity_result import Answers, Cause, Prompts
from tunesmith.eval.parity_weights import WeightsCompared, compare_weights
from tunesmith.models.declared import DeclaredAdapter
from tunesmith.models.generate import Completion
from tunesmith.systems.comparable import Rendered
from tunesmith.systems.opened import OpenedSystem

__all__ = ["Asked", "Case", "Failure", "another", "not_applied", "scale"]

Failure = Literal["prompts", "context", "model", "answers", "ends", "cut"]
"""The parts of a comparison that can fail."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What both were asked, its token ids as `a` reads them, and what b answered greedily."""

    prompts: Sequence[ParityPrompt]
    ids: Sequence[tuple[int, ...] | None]
    answers: Sequence[Completion]


@dataclass(frozen=True)
class Case:
    """Two systems that differ. `failed`: which parts did; `readings`: how both read each prompt."""

    a: OpenedSystem
    b: OpenedSystem
    failed: frozenset[Failure]
    found: Prompts
    readings: Sequence[tuple[Rendered, Rendered]]
    scored: ScoresCompared
    answers: Answers
    asked: Asked

    @cached_property
    def weights(self) -> WeightsCompared | None:
        """Both forms' matrices; None where one of them has no files here, or files that this process cannot read."""
        try:
            return compare_weights(self.a, self.b)
        except ModelError:  # a GGUF file of an architecture that only its engine knows: the numbers are evidence enough
            return None

    @cached_property
    def effect(self) -> Effect | None:
        """How the difference compares with what the adapter does; None where no side has its base at hand."""
        return adapter_effect(self.a, self.b, self.scored.rows)

    @property
    def adapter(self) -> DeclaredAdapter | None:
        """The adapter of either side."""
        return self.a.declared.adapter or self.b.declared.adapter


def another(evidence: str) -> Cause:
    """The cause that the two are not the same model at all."""
    return Cause(
        name="another model",
        evidence=evidence,
        hint="check which file or model name b was given; `tunesmith show run:latest` names the base of the run",
    )


def not_applied(evidence: str) -> Cause:
    """The cause that one of the two answers without the adapter."""
    return Cause(
        name="adapter not applied",
        evidence=evidence,
        hint="merge again, or load the adapter in b (llama.cpp: --lora FILE; vLLM: --enable-lora and the adapter's model name)",
    )


def scale(adapter: DeclaredAdapter | None, factor: float) -> Cause:
    """The cause that the adapter's update is there `factor` times, with the slip that gives this factor."""
    reasons = {2.0: "it was added twice", -1.0: "it was subtracted"}
    if adapter is not None:
        reasons[1 / adapter.scale] = "its scale was left out"
        reasons[float(adapter.rank)] = "alpha was not divided by the rank"
        reasons[adapter.rank**0.5] = "alpha was divided by the root of the rank, as rsLoRA does"
        reasons[adapter.rank**-0.5] = "alpha was divided by the rank, and this is rsLoRA"
    why = next((why for usual, why in reasons.items() if abs(factor - usual) < 0.02 * abs(usual)), "")
    return Cause(
        name="scale",
        evidence=f"b has the adapter's update {factor:.3g} times" + (f": {why}" if why else ""),
        hint="multiply the update by alpha / rank (rsLoRA: alpha / root of the rank), as adapter_config.json says",
    )
