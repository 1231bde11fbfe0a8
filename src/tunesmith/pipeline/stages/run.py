"""The training run: adapter, metric log, the reading of the curves. It resumes by itself if it was interrupted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tunesmith.core.artifacts import Artifact, Draft
from tunesmith.core.records import Example
from tunesmith.core.reporter import Line, SilentReporter
from tunesmith.pipeline.context import Context
from tunesmith.pipeline.judged_rewards import judged_rewards
from tunesmith.pipeline.own_answers import own_answers
from tunesmith.pipeline.stage import FilledStage, Reference, StageText
from tunesmith.pipeline.training import fill_run, run_settings
from tunesmith.train.interpolation import Interpolation
from tunesmith.train.order import Place

__all__ = ["STAGE", "general_answers"]


def _inputs(project: Context) -> list[Reference]:
    return [project.dataset.reference(), {"kind": "base", "id": project.base.fingerprint}]


def _settings(project: Context) -> Mapping[str, Any]:
    settings = run_settings(project.settings, project.objective, base=project.base.name, precision=project.precision.name)
    origin = {} if project.base.name == project.origin.name else {"origin": project.origin.name}  # of a later stage of a chain
    return {**settings, **origin, **project.template_settings}


def _fill(project: Context, draft: Draft) -> None:
    _ = project.scorable  # what would stop the evaluation later stops here, before anything is trained
    judged_rewards(project.objective, allow=project.settings.allow, reporter=SilentReporter())  # the plan has told of them
    fill_run(
        draft,
        base=project.base,
        chat=project.chat,
        examples={name: project.records(name) for name in ("train", "val")} | general_answers(project),
        recipe=project.settings,
        objective=project.objective,
        precision=project.precision.name,
        place=Place(draft.id, project.store.workspace(draft.id), draft.path),
        reporter=project.reporter,
    )


def general_answers(project: Context) -> dict[str, Sequence[Example]]:
    """Answers of the base of this run to general questions, if its weights are to be held by them."""
    if not project.settings.train.ewc:
        return {}
    folder = project.store.root / "own_answers"
    return {"general": own_answers(project.base, project.chat, folder, reporter=project.reporter)}


def _finish(project: Context, artifact: Artifact) -> None:
    project.store.clear_workspace(artifact.id)


def _words(project: Context, artifact: Artifact) -> StageText:
    n = artifact.numbers
    first = next((row["val_loss"] for row in project.metrics(artifact) if "val_loss" in row), n["best_loss"])
    early = ", stopped early" if n["stopped_early"] else ""
    rate = f"{n['num_tokens'] / n['seconds']:,.0f} tokens/s" if n["seconds"] and n["num_tokens"] else ""
    return StageText(
        text=f"{n['num_steps']} steps{early} · val loss {first:.3f} → {n['best_loss']:.3f}, best at {n['best_step']}",
        note=rate,
        lines=(
            *_interpolated(n),
            Line(f"reading: {n['reading']['shape']}: {n['reading']['text']};"),
            Line(f"         {n['reading']['advice']}"),
        ),
    )


def _interpolated(numbers: Mapping[str, Any]) -> tuple[Line, ...]:
    found = numbers.get("interpolation")
    return (Line(f"update: {Interpolation(**found).words}"),) if found else ()


STAGE = FilledStage(
    kind="run", title="train", order=30, inputs=_inputs, settings=_settings, fill=_fill, words=_words, finish=_finish
)
