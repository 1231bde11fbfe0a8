"""Base and adapter merged into one model folder: the base's own, with the sums in its adapted matrices."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tunesmith.core.artifacts import Artifact, Draft
from tunesmith.core.reporter import Line
from tunesmith.models.merge import merge
from tunesmith.models.older_readers import unread_by_older_readers
from tunesmith.models.tuned import tuned_folder
from tunesmith.pipeline.choosing_use import fields_for
from tunesmith.pipeline.context import Context
from tunesmith.pipeline.stage import FilledStage, Reference, StageText

__all__ = ["STAGE"]


def _inputs(project: Context) -> list[Reference]:
    return [project.run.reference(), {"kind": "base", "id": project.base.fingerprint}]


def _settings(project: Context) -> Mapping[str, Any]:
    generation = fields_for(project.base, project.settings_of_use)
    return {"merge": project.recipe.merge.model_dump(), "generation": generation}


def _fill(project: Context, draft: Draft) -> None:
    merge(
        project.base,
        tuned_folder(project.run.path),
        draft.path,
        precision=project.recipe.merge.precision,
        generation=_settings(project)["generation"],
        max_shard_size=project.recipe.merge.max_shard_size,
    )
    unread = unread_by_older_readers(project.base.config)
    draft.numbers |= {"findings": [unread] if unread else []}


def _words(project: Context, artifact: Artifact) -> StageText:
    return StageText(lines=tuple(Line(text, "warning") for text in artifact.numbers["findings"]))


STAGE = FilledStage(
    kind="model", title="merge", order=50, serves="answers", inputs=_inputs, settings=_settings, fill=_fill, words=_words
)
