"""The sampling settings: as the recipe sets them, or chosen on validation questions for base and tuned model alike."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tunesmith.core.artifacts import Artifact, Draft
from tunesmith.eval.use_choice import Asked
from tunesmith.models.tuned import tuned_folder
from tunesmith.models.use import read_use
from tunesmith.pipeline.choosing_use import fill_use, settings_of_stage
from tunesmith.pipeline.context import Context
from tunesmith.pipeline.stage import FilledStage, Reference, StageText

__all__ = ["STAGE"]


def _inputs(project: Context) -> list[Reference]:
    return [project.dataset.reference(), project.run.reference()]


def _settings(project: Context) -> Mapping[str, Any]:
    return {**settings_of_stage(project.settings.use, project.usual_limit), **project.template_settings}


def _fill(project: Context, draft: Draft) -> None:
    fill_use(
        draft,
        base=project.base,
        chat=project.chat,
        adapter=tuned_folder(project.run.path),
        validation=project.rows("val"),
        wanted=project.settings.use,
        asked=Asked(
            max_new_tokens=project.usual_limit,
            batch_examples=project.settings.eval.batch_examples,
            context=project.base.context,
        ),
        reporter=project.reporter,
    )


def _words(project: Context, artifact: Artifact) -> StageText:
    use = read_use(artifact.path / "use.json")
    return StageText(text=use.words, note=use.how)


STAGE = FilledStage(
    kind="use", title="use", order=40, serves="answers", inputs=_inputs, settings=_settings, fill=_fill, words=_words
)
