"""From evidence to a verdict by the settings of a recipe: the same for an evaluation, a cross-fit, and their verification."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from tunesmith.eval.gain import margin_of
from tunesmith.eval.measure import Measurements, measure
from tunesmith.eval.results import Evidence
from tunesmith.eval.verdict import Verdict, decide
from tunesmith.pipeline.looks import level_of
from tunesmith.pipeline.recipe import Recipe
from tunesmith.pipeline.sections.eval import EvalConfig, GateConfig

__all__ = ["measured", "rule_on", "rules_of"]

_SHIP = "The recipe helps. The adapters of the folds saw only a part of your writing: train the one to use with tunesmith run."


def measured(
    evidence: Evidence, chosen: EvalConfig, gates: GateConfig, *, number: int, margin: float | None = None
) -> Measurements:
    """The numbers of the `number`-th evaluation on a test set. `margin`: the gain that p tests, that of the gates if None."""
    return measure(
        evidence,
        primary=chosen.primary,
        draws=chosen.draws,
        min_documents=gates.min_documents,
        weighting=chosen.weighting,
        margin=margin_of(gates, chosen.primary) if margin is None else margin,
        question_share=gates.question_share,
        level=level_of(number),
    )


def rule_on(
    evidence: Evidence, chosen: EvalConfig, gates: GateConfig, *, number: int, changed: Sequence[str]
) -> tuple[Measurements, Verdict]:
    """The numbers and the verdict; that of a recipe says so. `changed`: what differs from the plan."""
    measurements = measured(evidence, chosen, gates, number=number)
    verdict = decide(measurements, gates, baselines=chosen.baselines, looks=number, changed=changed)
    if evidence.recipe is not None:
        advice = _SHIP if verdict.verdict == "SHIP" else verdict.advice
        verdict = replace(verdict, sentence=f"{verdict.sentence} {evidence.recipe.sentence}", advice=advice)
    return measurements, verdict


def rules_of(settings: Recipe) -> dict[str, Any]:
    """What is fixed before a test set is used: what is measured on it, the limits of the gates, and the split."""
    measured = settings.eval.model_dump(exclude={"batch_examples"})
    limits = {f"gates.{name}": value for name, value in settings.gates.model_dump().items()}
    return {
        **{f"eval.{name}": value for name, value in measured.items()},
        **limits,
        "split.seed": settings.split.seed,
        "split.by": settings.split.by,
    }
