"""What a stage is, and the registry: a stage is a file in `tunesmith.pipeline.stages` that defines `STAGE`."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from tunesmith.core.artifacts import Artifact, Draft
from tunesmith.core.errors import EvaluationError
from tunesmith.core.reporter import Line, StageBegan
from tunesmith.pipeline import stages
from tunesmith.pipeline.context import Context
from tunesmith.train.method import Method, generates, method_name

__all__ = ["FilledStage", "Reference", "Serves", "Stage", "StageText", "check_serves", "find_stage", "in_order", "kinds"]

Reference = dict[str, str]  # the kind and id of an input
Serves = Literal["all", "answers", "scores"]  # stages for models that write answers, for those that score them, or for both


@dataclass(frozen=True, slots=True, kw_only=True)
class StageText:
    """The text that describes an artifact: one line (empty: none), a note to its right, and lines below."""

    text: str = ""
    note: str = ""
    lines: tuple[Line, ...] = ()


class Stage(Protocol):
    """One step of the pipeline, which makes artifacts of one kind. `title` is its name for people."""

    @property
    def kind(self) -> str: ...

    @property
    def title(self) -> str: ...

    @property
    def order(self) -> int:
        """Its place when a whole pipeline runs: stages run from the lowest to the highest."""

    @property
    def serves(self) -> Serves:
        """Which trained models it is for."""

    def obtain(self, project: Context) -> Artifact:
        """The artifact for the project's recipe: an existing one, or a new one made from those of earlier stages."""

    def describe(self, project: Context, artifact: Artifact) -> StageText:
        """The result, in words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FilledStage:
    """The usual stage: its artifact is named by `inputs` and `settings`; `fill` makes it if it does not exist yet.

    `finish` runs after the artifact is committed, also if it existed already.
    """

    kind: str
    title: str
    order: int
    inputs: Callable[[Context], list[Reference]]
    settings: Callable[[Context], Mapping[str, Any]]
    fill: Callable[[Context, Draft], None]
    words: Callable[[Context, Artifact], StageText]
    finish: Callable[[Context, Artifact], None] = lambda project, artifact: None
    serves: Serves = "all"

    def obtain(self, project: Context) -> Artifact:
        """As of every stage."""
        inputs = self.inputs(project)
        project.reporter.event(StageBegan(kind=self.kind, title=self.title))
        made = project.store.obtain(self.kind, inputs, self.settings(project), lambda draft: self.fill(project, draft))
        self.finish(project, made)
        return made

    def describe(self, project: Context, artifact: Artifact) -> StageText:
        """As of every stage."""
        return self.words(project, artifact)


def kinds() -> tuple[str, ...]:
    """The kinds of artifacts that stages make."""
    return tuple(sorted(module.name for module in pkgutil.iter_modules(stages.__path__)))


def in_order(objective: Method) -> tuple[Stage, ...]:
    """The stages for what this objective trains, in the order in which a whole pipeline runs them."""
    fitting = (stage for stage in map(find_stage, kinds()) if _fits(stage, objective))
    return tuple(sorted(fitting, key=lambda stage: (stage.order, stage.kind)))


def check_serves(kind: str, objective: Method) -> None:
    """EvaluationError for a stage that is not for what this objective trains."""
    if not _fits(find_stage(kind), objective):
        has, lacks = ("writes answers", "scores") if generates(objective) else ("scores answers and writes none", "answers")
        raise EvaluationError(
            f"the step '{find_stage(kind).title}' does not fit this model: it {has}",
            value=f"objective.kind {method_name(objective)}",
            expected=f"an objective whose model gives {lacks}",
            hint="tunesmith run trains it and gives the verdict on it",
        )


def _fits(stage: Stage, objective: Method) -> bool:
    return stage.serves in ("all", "answers" if generates(objective) else "scores")


def find_stage(kind: str) -> Stage:
    """The stage that makes artifacts of this kind; its module is imported when it is first asked for."""
    if kind not in kinds():
        raise KeyError(f"unknown stage {kind!r}; there are {', '.join(kinds())}")
    stage: Stage = importlib.import_module(f"{stages.__name__}.{kind}").STAGE
    return stage
