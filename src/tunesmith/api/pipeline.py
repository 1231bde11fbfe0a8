"""The pipeline as functions: they take sources and return the artifact of a stage; earlier stages run as needed.

    outcome = run("./posts", base="smollm2", settings={"train.epochs": 3})

`open_project` gives the same as an object whose stages are properties. Finished stages are reused.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

from tunesmith.api.recipes import as_overrides, find_recipe
from tunesmith.api.tracking import tracked
from tunesmith.core.artifacts import Artifact, Store
from tunesmith.core.errors import Problem, RecipeError
from tunesmith.core.reporter import Reporter, SilentReporter
from tunesmith.pipeline.recipe import Recipe

if TYPE_CHECKING:  # what loads torch is imported when it is used: reading sources does not need it
    from tunesmith.pipeline.chain import Chain
    from tunesmith.pipeline.outcome import Outcome
    from tunesmith.pipeline.plan import Plan
    from tunesmith.pipeline.project import Project
    from tunesmith.pipeline.reading import Documents

__all__ = [
    "PipelineOptions",
    "build",
    "chain_of",
    "cross_fit",
    "crossfit",
    "evaluate",
    "follow",
    "ingest",
    "merge",
    "open_chain",
    "open_project",
    "plan",
    "project_of",
    "run",
    "single_project",
    "train",
]


class PipelineOptions(TypedDict, total=False):
    """Options of every stage; all are optional.

    `project`: the folder of the project, whose `.tunesmith` holds the artifacts; this folder by default. `recipe`: a recipe to
    use in place of the project's `tunesmith.yaml`; with sources, none is needed. `base`: the base model: a known name, a
    folder, a GGUF file or a hub id. `settings`: settings of the recipe by their names, such as `{"train.epochs": 3}`. `allow`:
    blocking findings to ignore. `offline`: fetch neither a base nor an address. `allow_private`: allow addresses of this
    machine and the local network. `reporter`: receives progress and warnings; silent by default. `stage`: of a recipe with
    `stages:`, the stage that is meant; the last by default.
    """

    project: str | Path
    recipe: str | Path | None
    base: str
    settings: Mapping[str, Any]
    allow: Sequence[str]
    offline: bool
    allow_private: bool
    reporter: Reporter | None
    stage: str


def open_project(*sources: str | Path, **options: Unpack[PipelineOptions]) -> Project:
    """The project of a recipe; `sources` replace its own. Its stages are properties and run when they are first used.

    Of a recipe with `stages:`, the project of one stage, whose base is the merged model of the stage before.

    Raises:
        RecipeError: everything that is wrong with the recipe and the settings; a stage that it does not have.
    """
    return project_of(_recipe(sources, options), options)


def open_chain(*sources: str | Path, **options: Unpack[PipelineOptions]) -> Chain:
    """The chain of a recipe with `stages:`; its `outcome` trains and judges one after the other. Errors as `open_project`."""
    return chain_of(_recipe(sources, options), options)


def project_of(recipe: Recipe, options: PipelineOptions) -> Project:
    """As `open_project`, for a recipe that is read."""
    from tunesmith.pipeline.project import Project

    if recipe.stages or options.get("stage"):
        return chain_of(recipe, options).stage(options.get("stage", "")).project
    return Project(recipe, Path(options.get("project", ".")), **_how(recipe, options))


def single_project(*sources: str | Path, **options: Unpack[PipelineOptions]) -> Project:
    """As `open_project`, for what is about one run: a recipe with `stages:` is refused."""
    from tunesmith.pipeline.project import Project

    recipe = _recipe(sources, options)
    return Project(recipe, Path(options.get("project", ".")), **_how(recipe, options))


def chain_of(recipe: Recipe, options: PipelineOptions) -> Chain:
    """As `open_chain`, for a recipe that is read."""
    from tunesmith.pipeline.chain import Chain

    return Chain(recipe, Path(options.get("project", ".")), **_how(recipe, options))


def _how(recipe: Recipe, options: PipelineOptions) -> dict[str, Any]:
    web = {name: options.get(name, False) for name in ("allow_private", "offline")}
    return {"reporter": tracked(recipe, Path(options.get("project", ".")), options.get("reporter")), **web}


def ingest(*sources: str | Path, **options: Unpack[PipelineOptions]) -> Documents:
    """Read the sources into documents, and report how much was fetched; those of one `stage`, if it is named.

    Raises:
        RecipeError: as `open_project`.
        SourceError: a source that is missing, or an address where `offline` forbids fetching.
    """
    from tunesmith.pipeline.reading import read_sources

    recipe = _recipe(sources, options)
    return read_sources(
        recipe.stage_recipes.get(options.get("stage", ""), recipe),
        Store(Path(options.get("project", ".")) / ".tunesmith"),
        reporter=options.get("reporter") or SilentReporter(),
        allow_private=options.get("allow_private", False),
        offline=options.get("offline", False),
    )


def build(*sources: str | Path, **options: Unpack[PipelineOptions]) -> Artifact:
    """The dataset: examples in train, val and test, split by document, free of copies between them, labels audited.

    Raises:
        BlockedError: a leak or ruined labels that `allow` does not name.
        DatasetError: a split that is left empty.
    """
    return project_of(_there(sources, options), options).dataset


def plan(*sources: str | Path, **options: Unpack[PipelineOptions]) -> Plan:
    """Every number of the run with its reason; builds the dataset but trains nothing. Errors as `build`."""
    return project_of(_there(sources, options), options).plan


def train(*sources: str | Path, **options: Unpack[PipelineOptions]) -> Artifact:
    """The training run, with the adapter in its folder `adapter`; an interrupted run is resumed. Errors as `build`.

    Raises:
        TrainingError: training cannot continue; the hint says what to change.
    """
    return project_of(_there(sources, options), options).run


def merge(*sources: str | Path, **options: Unpack[PipelineOptions]) -> Artifact:
    """Base and adapter merged into one model folder in standard files. Errors as `train`."""
    return project_of(_there(sources, options), options).model


def evaluate(*sources: str | Path, **options: Unpack[PipelineOptions]) -> Outcome:
    """Base, prompted, tuned and merged model measured on the test split, with the verdict. Errors as `train`.

    Of a recipe with `stages:`, every stage is judged, and the outcome is that of the whole chain unless a `stage` is named.

    Raises:
        EvaluationError: the evidence on disk gives another verdict than it holds.
    """
    recipe = _there(sources, options)
    if recipe.stages and not options.get("stage"):
        return chain_of(recipe, options).outcome.deciding
    return project_of(recipe, options).outcome


def run(*sources: str | Path, **options: Unpack[PipelineOptions]) -> Outcome:
    """From the sources to the verdict. A base that cannot be used is refused before anything is read.

    As `evaluate` for a recipe with `stages:`, and with its errors.
    """
    recipe = _there(sources, options)
    if recipe.stages:
        return evaluate(*sources, **options)
    project = project_of(recipe, options)
    follow(project)
    return project.outcome


def crossfit(*sources: str | Path, folds: int = 4, seeds: int = 1, **options: Unpack[PipelineOptions]) -> Outcome:
    """For few documents: an adapter for each fold and training seed, and one verdict about the recipe on all documents.

    Errors as `evaluate`, and:

    Raises:
        DatasetError: fewer than two folds or seeds, more than 50 adapters, or too few documents for that many folds.
    """
    return cross_fit(single_project(*sources, **options), folds=folds, seeds=seeds)


def cross_fit(project: Project, *, folds: int, seeds: int) -> Outcome:
    """As `crossfit`, for an open project. A base that cannot be used is refused before anything is read."""
    from tunesmith.pipeline.cross_fitting import cross_fit as fit

    _ = project.chat
    return fit(project, folds=folds, seeds=seeds)


def follow(project: Project, *, until: str = "eval") -> None:
    """Take a project through its stages in order, as far as the kind of artifact `until`, reporting each. `eval` is the
    verdict, whatever stage gives it.

    Raises:
        KeyError: no stage makes that kind.
        EvaluationError: a stage that is not for what the objective trains, such as merging a model that writes no answers.
    """
    if until != "documents":
        _ = project.chat  # a base that cannot be used is reported before anything is read, and so is a suite
        _ = project.suites
    from tunesmith.pipeline.stage import check_serves, find_stage, in_order

    find_stage(until)
    if until != "eval":
        check_serves(until, project.objective)
    for stage in in_order(project.objective):
        if stage.kind == "run":  # what is about to be trained is reported before it is
            project.report_plan()
        project.artifact(stage.kind)
        if stage.kind == until:
            break
    if until == "eval":
        _ = project.outcome


def _recipe(sources: Sequence[str | Path], options: PipelineOptions) -> Recipe:
    known = PipelineOptions.__annotations__.keys()
    if unknown := [name for name in options if name not in known]:
        raise RecipeError([_unknown_option(name, sorted(known)) for name in unknown])
    changes: dict[str, Any] = {}
    if sources:
        changes["sources"] = [str(source) for source in sources]
    changes |= {name: value for name in ("base", "allow") if (value := options.get(name))}
    overrides = as_overrides(options.get("settings", {}))
    return find_recipe(changes, overrides, project=options.get("project", "."), recipe=options.get("recipe"))


def _there(sources: Sequence[str | Path], options: PipelineOptions) -> Recipe:
    """As `_recipe`. SourceError for a named source that is missing, before a base is fetched for nothing."""
    from tunesmith.data.ingest.gather import refuse_missing

    recipe = _recipe(sources, options)
    refuse_missing([str(source) for source in sources])
    return recipe


def _unknown_option(name: str, known: Sequence[str]) -> Problem:
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]}=?" if near else 'settings of the recipe go into settings={"train.epochs": 3}'
    return Problem(what="unknown option", value=name, expected=f"one of {', '.join(known)}", hint=hint)
