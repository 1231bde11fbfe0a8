"""The training run: adapter, metric log, the reading of the curves. It resumes by itself if it was interrupted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from tunesmith.core.artifacts import Artifact, Draft
from tunesmith.core.reporter import Line
from tunesmith.pipeline.context import Context
from tunesmith.pipeline.stage import FilledStage, Reference, Told
from tunesmith.train.run import Place, train_adapter

__all__ = ["STAGE"]

_SAVING = {"checkpoint_every", "checkpoint_minutes", "keep_checkpoints"}  # change nothing that is learned


def _inputs(project: Context) -> list[Reference]:
    return [project.dataset.reference(), {"kind": "base", "id": project.base.fingerprint}]


def _settings(project: Context) -> Mapping[str, Any]:
    r = project.settings
    return {
        "base": project.base.name,
        "method": r.method.model_dump(),
        "train": r.train.model_dump(exclude=_SAVING),
        "allow": sorted(r.allow),
        "precision": project.precision.name,
        **project.template_settings,
    }


def _fill(project: Context, draft: Draft) -> None:
    _ = project.scorable  # what would stop the evaluation later stops here, before anything is trained
    trained = train_adapter(
        project.base,
        project.chat,
        {name: project.rows(name) for name in ("train", "val")},
        method=project.settings.method,
        train=project.settings.train,
        precision=project.precision.name,
        place=Place(draft.id, project.store.workspace(draft.id), draft.path),
        reporter=project.reporter,
    )
    draft.numbers |= {
        **trained.fitted.numbers(),
        "reading": asdict(trained.reading),
        "trainable": trained.coverage.num_trainable,
    }
    draft.numbers |= {"modules": len(trained.coverage.modules), "linear_modules": trained.coverage.num_linear}


def _finish(project: Context, artifact: Artifact) -> None:
    project.store.clear_workspace(artifact.id)


def _words(project: Context, artifact: Artifact) -> Told:
    n = artifact.numbers
    first = next((row["val_loss"] for row in project.metrics(artifact) if "val_loss" in row), n["best_loss"])
    early = ", stopped early" if n["stopped_early"] else ""
    rate = f"{n['num_tokens'] / n['seconds']:,.0f} tokens/s" if n["seconds"] and n["num_tokens"] else ""
    return Told(
        text=f"{n['num_steps']} steps{early} · val loss {first:.3f} → {n['best_loss']:.3f}, best at {n['best_step']}",
        note=rate,
        lines=(
            Line(f"reading: {n['reading']['shape']}: {n['reading']['text']};"),
            Line(f"         {n['reading']['advice']}"),
        ),
    )


STAGE = FilledStage(kind="run", title="train", inputs=_inputs, settings=_settings, fill=_fill, words=_words, finish=_finish)
