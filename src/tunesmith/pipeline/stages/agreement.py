"""Of a model that scores answers: how its scores agree with held-out preferences, and the verdict on that."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tunesmith.core.artifacts import Artifact
from tunesmith.core.reporter import Line
from tunesmith.pipeline.agreeing import agreement_settings, fill_agreement
from tunesmith.pipeline.context import Context
from tunesmith.pipeline.stage import FilledStage, Reference, StageText

__all__ = ["STAGE"]


def _inputs(project: Context) -> list[Reference]:
    return [artifact.reference() for artifact in (project.dataset, project.run)]


def _settings(project: Context) -> Mapping[str, Any]:
    return agreement_settings(project)


def _words(project: Context, artifact: Artifact) -> StageText:
    n = artifact.numbers
    rule = n["length_accuracy"]["rule"]
    return StageText(
        text=f"{n['pairs']} held-out pairs of {n['documents']} documents",
        lines=(
            Line(f"right order      {_share(n['accuracy'])}"),
            Line(f"  by length      {_share(n['length_accuracy'])} (the {rule} answer is better)"),
            Line(f"calibration      expected error {n['calibration']:.3f}, Brier score {n['brier']:.3f}"),
            Line("not done         generation, merge and export: this model scores answers and writes none"),
        ),
    )


def _share(found: Mapping[str, Any]) -> str:
    ends = found["ci"]
    return f"{100 * found['share']:.1f} %" + (f" ({100 * ends[0]:.1f} to {100 * ends[1]:.1f} %)" if ends else "")


STAGE = FilledStage(
    kind="agreement",
    title="evaluate",
    order=60,
    serves="scores",
    inputs=_inputs,
    settings=_settings,
    fill=fill_agreement,
    words=_words,
)
