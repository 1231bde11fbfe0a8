"""A chain: stages that are trained one after the other, each an ordinary project on the merged model of the one before.

    chain = Chain(load_recipe(Path("tunesmith.yaml")), Path("."))
    outcome = chain.outcome

A stage's base is the stage before, so its verdict is the verdict against that stage. What is done is found again, as in every
project: a chain that was killed continues where it was.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import orjson

from tunesmith.core.artifacts import Artifact, Store
from tunesmith.core.errors import EvaluationError, Problem, RecipeError
from tunesmith.core.reporter import ChainStageBegan, Reporter, SilentReporter
from tunesmith.core.settings import nearest
from tunesmith.eval.verdict import Verdict
from tunesmith.pipeline.chain_page import StageLine, shown_base, write_chain
from tunesmith.pipeline.context import ChainPlace
from tunesmith.pipeline.outcome import Outcome
from tunesmith.pipeline.overall import judge_overall, overall_event
from tunesmith.pipeline.plan import Plan
from tunesmith.pipeline.project import Project
from tunesmith.pipeline.recipe import Recipe
from tunesmith.pipeline.recipe_stages import named_stage
from tunesmith.pipeline.sections.stages import StageConfig, Then
from tunesmith.pipeline.stage import check_serves

__all__ = ["Chain", "ChainOutcome", "ChainStage", "StageResult"]

KIND = "chain"


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainStage:
    """One stage: its name, its settings in the chain, and its project."""

    name: str
    config: StageConfig
    project: Project


@dataclass(frozen=True, slots=True, kw_only=True)
class StageResult:
    """A stage that was judged against the model that it began from (`began`: a stage, or the name of the base).

    `then`: `keep` if the next stage begins from this one, `skip` if it begins where this one began, `stop` if there is none.
    """

    name: str
    began: str
    outcome: Outcome
    then: Then

    @property
    def shown_began(self) -> str:
        """What it began from, on one line."""
        return shown_base(self.began)

    @property
    def helped(self) -> bool:
        """Whether it was shown to help."""
        return self.outcome.verdict.verdict == "SHIP"


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainOutcome:
    """What a chain comes to. `deciding`: the model after the last stage that was kept against the base that the chain began
    with; where a single stage is left, that is its own outcome. Of a chain that was `stopped` at a stage, the outcome of that
    stage. `left_out`: stages that the recipe skips. `page`: the artifact with the page of the chain."""

    stages: tuple[StageResult, ...]
    deciding: Outcome
    page: Artifact
    stopped: str = ""
    left_out: tuple[str, ...] = ()

    @property
    def verdict(self) -> Verdict:
        """The verdict of the deciding outcome."""
        return self.deciding.verdict

    @property
    def did_not_help(self) -> tuple[str, ...]:
        """The stages that ended in DON'T SHIP."""
        return tuple(one.name for one in self.stages if one.outcome.verdict.verdict == "DON'T SHIP")

    @property
    def advice(self) -> tuple[str, ...]:
        """What to type to leave out the stages that did not help, one line each."""
        return tuple(f"stage {name} did not help: --set stages.{name}.skip=true leaves it out" for name in self.did_not_help)

    def as_dict(self) -> dict[str, Any]:
        """The object that `tunesmith run --json` prints for a chain."""
        told = orjson.loads((self.page.path / "chain.json").read_bytes())
        chosen = ("stages", "against_base", "stopped", "skipped", "not_trained")
        return {**self.verdict.as_dict(), **{name: told[name] for name in chosen}, "did_not_help": list(self.did_not_help)}


class Chain:
    """The stages of a recipe at work in `root/.tunesmith`. RecipeError for a recipe without stages, or if all are skipped."""

    def __init__(
        self,
        recipe: Recipe,
        root: Path,
        *,
        reporter: Reporter | None = None,
        allow_private: bool = False,
        offline: bool = False,
    ) -> None:
        self.reporter: Reporter = reporter or SilentReporter()
        self.left_out = tuple(name for name, config in recipe.stages.items() if config.skip)
        self._store = Store(root / ".tunesmith")
        self._results: dict[str, StageResult] = {}
        stages: list[ChainStage] = []
        for name, own in recipe.stage_recipes.items():
            if name in self.left_out:
                continue
            earlier = tuple(stage.project for stage in stages)
            place = ChainPlace(name=name, earlier=earlier, before=partial(self._begins_from, len(stages)))
            with named_stage(name):
                project = Project(
                    own, root, reporter=self.reporter, allow_private=allow_private, offline=offline, chained=place
                )
                check_serves("eval", project.objective)
            stages.append(ChainStage(name=name, config=recipe.stages[name], project=project))
        self.stages = tuple(stages)
        if not stages:
            raise RecipeError([_nothing_to_do(recipe)])

    def stage(self, name: str = "") -> ChainStage:
        """The stage of that name; without one, the last. RecipeError if there is none, or the recipe skips it."""
        if not name:
            return self.stages[-1]
        for stage in self.stages:
            if stage.name == name:
                return stage
        known = [stage.name for stage in self.stages]
        raise RecipeError(
            [
                Problem(
                    what="the recipe skips this stage" if name in self.left_out else "no such stage",
                    value=name,
                    expected=f"one of {', '.join(known)}",
                    hint=f"--set stages.{name}.skip=false"
                    if name in self.left_out
                    else nearest(name, known) or f"--stage {known[-1]}",
                )
            ]
        )

    def prepare(self, until: str = "", *, planned: bool = True) -> None:
        """The dataset of every stage as far as `until`, and if `planned` its plan, before anything is trained: what a stage
        lacks is found here, and the error names the stage."""
        for number, stage in enumerate(self._as_far_as(until), 1):
            self._announce(stage, number, "data and plan" if planned else "data")
            with named_stage(stage.name):
                _ = stage.project.chat, stage.project.suites  # what cannot be read is reported before the sources are
                _ = stage.project.dataset
                if planned:
                    stage.project.report_plan()

    @property
    def plans(self) -> dict[str, Plan]:
        """The plan of every stage by its name; nothing is trained."""
        found = {}
        for stage in self.stages:
            with named_stage(stage.name):
                found[stage.name] = stage.project.plan
        return found

    def result(self, name: str = "") -> StageResult:
        """The stage trained and judged, those before it first. EvaluationError if one of these ends the chain."""
        stage = self.stage(name)
        if stage.name not in self._results:
            number = self.stages.index(stage)
            before = self._kept_before(number)
            began = before.name if before else stage.project.origin.name
            self._announce(stage, number + 1, f"{stage.project.recipe.objective.kind}, from {shown_base(began)}")
            with named_stage(stage.name):
                outcome = stage.project.outcome
            then = _then(outcome.verdict, stage.config)
            self._results[stage.name] = StageResult(name=stage.name, began=began, outcome=outcome, then=then)
        return self._results[stage.name]

    def make(self, kind: str, name: str = "") -> Artifact:
        """The artifact of a kind that a stage (the last, without a name) makes, once the data and plans of all stages as far as
        it are there."""
        self.prepare(name, planned=kind != "dataset")
        stage = self.stage(name)
        return stage.project.artifact(kind)

    @cached_property
    def outcome(self) -> ChainOutcome:
        """The whole chain: every stage in order with its verdict, and the verdict of the whole against the base.

        Errors as those of a project; they name the stage.
        """
        self.prepare()
        results: list[StageResult] = []
        for stage in self.stages:
            results.append(self.result(stage.name))
            if results[-1].then == "stop":
                break
        stopped = results[-1].name if results[-1].then == "stop" else ""
        kept = [(one.name, self.stage(one.name).project) for one in results if one.then == "keep"]
        overall = None
        if len(kept) > 1 and not stopped:
            about = f"as a whole, against {shown_base(kept[-1][1].origin.name)}"
            self.reporter.event(ChainStageBegan(name=kept[-1][0], number=0, total=len(self.stages), text=about))
            overall = judge_overall(kept)
        deciding = next((one for one in results if one.then == "keep" and not stopped), results[-1]).outcome
        for artifact in _of_end(kept):
            self._store.mark_latest(artifact)
        page = self._page(results, kept, overall, stopped)
        if overall is not None:
            self.reporter.event(overall_event(overall, page=str(page.path / "report.html")))
        return ChainOutcome(
            stages=tuple(results), deciding=overall or deciding, page=page, stopped=stopped, left_out=self.left_out
        )

    def _page(
        self,
        results: Sequence[StageResult],
        kept: Sequence[tuple[str, Project]],
        overall: Outcome | None,
        stopped: str,
    ) -> Artifact:
        """The artifact with the page of the chain. Its inputs are what it tells of; the run is that of its end."""
        end = kept[-1][1] if kept else self.stage(results[-1].name).project
        judged = [one.outcome.evaluation for one in results] + ([overall.evaluation] if overall else [])
        inputs = [artifact.reference() for artifact in (*judged, end.run, end.model)]
        told = [
            StageLine(one.name, self.stage(one.name).project.recipe.objective.kind, one.began, one.then, one.outcome)
            for one in results
        ]
        fate = {"skipped": list(self.left_out), "not_trained": [stage.name for stage in self.stages[len(results) :]]}
        settings = {"stages": [{"name": one.name, "began": one.began, "then": one.then} for one in told], **fate}
        fill = partial(write_chain, base=end.origin.name, stages=told, overall=overall, stopped=stopped, fate=fate)
        return self._store.obtain(KIND, inputs, settings, fill)

    def _as_far_as(self, name: str) -> tuple[ChainStage, ...]:
        return self.stages[: self.stages.index(self.stage(name)) + 1]

    def _announce(self, stage: ChainStage, number: int, text: str) -> None:
        self.reporter.event(ChainStageBegan(name=stage.name, number=number, total=len(self.stages), text=text))

    def _begins_from(self, number: int) -> Project | None:
        before = self._kept_before(number)
        return before.project if before else None

    def _kept_before(self, number: int) -> ChainStage | None:
        """The stage that the `number`-th begins from, from 0: the last one before it that was kept; None: the base."""
        found = None
        for stage in self.stages[:number]:
            result = self.result(stage.name)
            if result.then == "stop":
                raise EvaluationError(
                    f"the chain ends at the stage {stage.name}, which was not shown to help",
                    value=f"{result.outcome.verdict.verdict}: {result.outcome.verdict.sentence}",
                    expected="SHIP, or stages.NAME.on_no_help and on_cant_tell that say what else follows",
                    hint=f"tunesmith run --set stages.{stage.name}.skip=true leaves it out",
                )
            found = stage if result.then == "keep" else found
        return found


def _then(verdict: Verdict, config: StageConfig) -> Then:
    named: dict[str, Then] = {"SHIP": "keep", "DON'T SHIP": config.on_no_help, "CAN'T TELL": config.on_cant_tell}
    return named[verdict.verdict]


def _of_end(kept: Sequence[tuple[str, Project]]) -> list[Artifact]:
    """What the chain hands over, for it to be the latest of its kind."""
    if not kept:
        return []
    end = kept[-1][1]
    return [end.documents, end.dataset, end.run, end.use, end.model, end.outcome.evaluation]


def _nothing_to_do(recipe: Recipe) -> Problem:
    names = list(recipe.stages)
    if not names:
        return Problem(
            what="this recipe has no stages",
            value="stages",
            expected="a recipe with `stages:`",
            hint="leave --stage out",
        )
    return Problem(
        what="every stage of the recipe is skipped",
        value=", ".join(names),
        expected="at least one that is not",
        hint=f"--set stages.{names[0]}.skip=false",
    )
