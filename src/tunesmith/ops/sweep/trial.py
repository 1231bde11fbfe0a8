"""A trial: an ordinary run of a project with other settings, stopped at a validation where the sweep says so.

The test split is not read: the rehearsal of the evaluation, which other runs begin with, is left to the run of the best recipe.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import orjson

from tunesmith.core.artifacts import Artifact
from tunesmith.core.files import replace_file
from tunesmith.core.reporter import Event, Progress, Reporter, StageDone
from tunesmith.pipeline.project import Project
from tunesmith.pipeline.recipe import Recipe
from tunesmith.pipeline.recipe_file import recipe_from
from tunesmith.pipeline.stage import FilledStage, find_stage

__all__ = ["PRUNED", "Pruned", "run_id", "run_trial", "with_settings"]

PRUNED = "pruned"  # the file in a run's workspace that says so


class Pruned(Exception):
    """The sweep stopped a trial after the validation at `step`."""

    def __init__(self, step: int) -> None:
        self.step = step
        super().__init__(f"stopped at step {step}")


def with_settings(recipe: Recipe, values: Mapping[str, Any]) -> Recipe:
    """The recipe with other values for settings by their names. RecipeError for values that it cannot have."""
    plain = recipe.model_dump(exclude_unset=True, by_alias=True)
    return recipe_from(plain, [f"{name}={orjson.dumps(value).decode()}" for name, value in values.items()])


def run_id(project: Project) -> str:
    """The id that the run of a project has or will have."""
    stage = find_stage("run")
    assert isinstance(stage, FilledStage)
    return project.store.identify("run", stage.inputs(project), stage.settings(project))


def run_trial(project: Project, values: Mapping[str, Any], stop: Callable[[int, float], bool]) -> Artifact:
    """The run of `project` with other settings. `stop(number, loss)` is asked after each validation, counted from 1.

    Raises:
        Pruned: `stop` said yes; the run's checkpoint stays, and its workspace says that it was pruned.
        TunesmithError: the run cannot be made with these settings.
    """
    trial = project.with_recipe(with_settings(project.recipe, values))
    trial.scorable = 0
    workspace = trial.store.workspace(run_id(trial))
    trial.reporter = _Watching(project.reporter, workspace / "metrics.jsonl", stop)
    try:
        return trial.run
    except Pruned as pruned:
        replace_file(workspace / PRUNED, f"by a sweep, at step {pruned.step}".encode())
        raise


class _Watching:
    """A reporter that looks into the metric log whenever training advances; of the stages it reports the run alone."""

    def __init__(self, of: Reporter, log: Path, stop: Callable[[int, float], bool]) -> None:
        self._of, self._log, self._stop = of, log, stop
        self._seen, self._size = 0, -1

    def note(self, text: str) -> None:
        self._of.note(text)

    def warn(self, text: str) -> None:
        self._of.warn(text)

    def event(self, event: Event) -> None:
        if isinstance(event, StageDone) and event.kind == "run":
            self._of.event(event)

    def progress(self, name: str, *, total: float, unit: str, done: float = 0) -> Progress:
        inner = self._of.progress(name, total=total, unit=unit, done=done)
        return _Asking(inner, self.look) if name == "train" else inner

    def look(self) -> None:
        """Report validations that are new in the log. Raises Pruned."""
        size = self._log.stat().st_size if self._log.exists() else 0
        if size == self._size:
            return
        self._size = size
        lines = self._log.read_bytes().split(b"\n") if size else []
        rows = [orjson.loads(line) for line in lines if b'"val_loss"' in line]
        trained = [row for row in rows if row["step"] > 0]
        for number, row in enumerate(trained[self._seen :], self._seen + 1):
            self._seen = number
            if self._stop(number, row["val_loss"]):
                raise Pruned(row["step"])


class _Asking:
    """A progress that looks into the log after each step."""

    def __init__(self, of: Progress, look: Callable[[], None]) -> None:
        self._of, self._look = of, look

    def advance(self, amount: float = 1, text: str | None = None) -> None:
        self._of.advance(amount, text)
        if amount:
            self._look()

    def __enter__(self) -> Self:
        self._of.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._of.__exit__(kind, error, trace)
