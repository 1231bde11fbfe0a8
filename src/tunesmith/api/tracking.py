"""Mirrors of runs in trackers: as the recipe says while a pipeline runs, and after the fact."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tunesmith.api.experiments import runs
from tunesmith.core.errors import Problem, RecipeError
from tunesmith.core.reporter import Reporter, SeveralReporters, SilentReporter
from tunesmith.core.settings import section_from
from tunesmith.ops.mirrors.mirror import Mirrored, MirrorReporter, mirror_rows
from tunesmith.ops.runs.table import find_run
from tunesmith.pipeline.recipe import Recipe
from tunesmith.pipeline.sections.tracking import TRACKERS, TrackingConfig

__all__ = ["Mirrored", "mirror_runs", "tracked"]


def tracked(recipe: Recipe, project: Path, reporter: Reporter | None) -> Reporter:
    """The reporter, and one that mirrors each run if the recipe names trackers."""
    first = reporter or SilentReporter()
    if not recipe.tracking.to:
        return first
    return SeveralReporters(first, MirrorReporter(recipe.tracking, project, warn=first.warn))


def mirror_runs(
    *ids: str, to: Sequence[str], project: str | Path = ".", name: str = "tunesmith", mlflow_url: str = ""
) -> tuple[Mirrored, ...]:
    """Write finished runs of a project (all of them, if no id is given) to trackers; each run is there once afterwards.

    `to`: `mlflow`, `trackio`, `wandb` (offline) or `tensorboard`. Settings, numbers and curves are written to
    `.tunesmith/trackers`, or for MLflow to the server at `mlflow_url`; no texts.

    Raises:
        RecipeError: an unknown tracker, or no address of a server.
        ArtifactError: no such run, or one that is not finished or damaged.
        TrackerError: a tracker that is not installed, does not answer or refuses.
    """
    if (unknown := [one for one in to if one not in TRACKERS]) or not to:
        expected = f"one of {', '.join(TRACKERS)}"
        raise RecipeError([Problem(what="unknown tracker", value=", ".join(unknown), expected=expected, hint="--to mlflow")])
    tracking = section_from(
        TrackingConfig, {"to": list(to), "name": name, "mlflow_url": mlflow_url}, name="tracking", why="a setting of trackers"
    )
    rows = runs(project).rows
    chosen = [find_run(id, rows) for id in ids] if ids else [row for row in rows if row.state == "done"]
    return tuple(mirror_rows(chosen, tracking))
