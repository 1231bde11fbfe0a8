"""`sweep`: other settings tried out on the validation split, and the best recipe."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from tunesmith.api.pipeline import PipelineOptions, single_project
from tunesmith.ops.sweep.space import read_space, usual_space

if TYPE_CHECKING:  # they load torch
    from tunesmith.ops.sweep.sweeping import SweepResult
    from tunesmith.pipeline.project import Project

__all__ = ["sweep", "sweep_open"]


def sweep(
    *sources: str | Path,
    vary: Mapping[str, str | Sequence[Any]] | None = None,
    trials: int = 20,
    seed: int = 7,
    out: str | Path | None = None,
    **options: Unpack[PipelineOptions],
) -> SweepResult:
    """Train with other settings until there are `trials` trials, stop early those that fall behind, write the best recipe.

    `vary`: settings of `method` and `train` by name, each `LOW..HIGH`, `LOW..HIGH:log` or choices with commas; by default the
    learning rate and the rank. What decides is the best validation loss; the test split is not read, and nothing is judged.
    Each trial is a run of the project. The same call continues a sweep that was stopped or killed.

    Raises:
        RecipeError: as `open_project`, and for settings that a sweep cannot vary.
        TrainingError: Optuna is missing, another process runs this sweep, or no trial finished.
    """
    return sweep_open(single_project(*sources, **options), vary=vary, trials=trials, seed=seed, out=out)


def sweep_open(
    project: Project,
    *,
    vary: Mapping[str, str | Sequence[Any]] | None = None,
    trials: int = 20,
    seed: int = 7,
    out: str | Path | None = None,
) -> SweepResult:
    """As `sweep`, for an open project."""
    space = read_space(vary or {})
    _ = project.chat  # a base that cannot be used is reported before anything is read
    if not space:
        settings = project.settings
        space = usual_space(settings.train.learning_rate, adapter=settings.method.kind != "full")
    from tunesmith.ops.sweep.sweeping import sweep_project

    return sweep_project(project, space, trials=trials, seed=seed, out=None if out is None else Path(out))
