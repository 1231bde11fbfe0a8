"""The stages of a chain as recipes: each is the recipe with the settings that the stage writes, and has no stages itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from tunesmith.core.errors import Problem, RecipeError, TunesmithError
from tunesmith.core.settings import Knob, Places, declared
from tunesmith.pipeline.sections.stages import StageConfig

__all__ = ["all_sources", "named_stage", "own_name", "own_settings", "refuse_stages", "stage_knobs", "stage_recipes"]

_OF_THE_CHAIN = {
    "base": "the base of the chain, above `stages:`: a stage begins from the merged model of the stage before",
    "stages": "settings of the recipe: a stage has no stages of its own",
    "serve": "the server's settings, above `stages:`: one server serves what the chain makes",
}


def stage_knobs(names: Sequence[str]) -> list[Knob]:
    """The settings that every stage has, under the names of these stages (`stages.NAME.skip`)."""
    return [knob for name in names for knob in declared(StageConfig, f"stages.{name}.")]


def own_name(name: str) -> str:
    """The setting of the recipe that `stages.NAME.train.epochs` is about; any other name as it is."""
    parts = name.split(".")
    return ".".join(parts[2:]) if parts[0] == "stages" and len(parts) > 2 else name


def own_settings(data: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """What each stage writes, in order. A stage with nothing below its name writes nothing."""
    stages = data.get("stages") or {}
    written = stages if isinstance(stages, Mapping) else {}
    return {str(name): dict(own or {}) for name, own in written.items() if own is None or isinstance(own, Mapping)}


def refuse_stages(recipe: Any) -> None:
    """RecipeError for the recipe of a chain where that of one run is needed."""
    if recipe.stages:
        names = list(recipe.stages)
        raise RecipeError(
            [
                Problem(
                    what="this recipe is a chain of stages, and one run is needed here",
                    value=", ".join(names),
                    expected="the recipe of one stage, or one without `stages:`",
                    hint=f"tunesmith run, and --stage {names[-1]} for the verbs that take it",
                )
            ]
        )


def all_sources(data: Mapping[str, Any]) -> list[Any]:
    """The sources above the stages and those of each stage, each once; nothing without a stage that names some."""
    named = [own["sources"] for own in own_settings(data).values() if "sources" in own]
    if not named or not isinstance(above := data.get("sources") or [], list):
        return []
    return list(dict.fromkeys(source for sources in (above, *named) if isinstance(sources, list) for source in sources))


def stage_recipes(
    data: Mapping[str, Any], *, places: Places | None, read: Callable[[Mapping[str, Any], Places], Any]
) -> dict[str, Any]:
    """The recipe of each stage, in order, as `read` makes it from plain values and their places.

    RecipeError with everything that is wrong in all of them, each problem under the name of its stage.
    """
    shared = {key: value for key, value in data.items() if key != "stages"}
    problems: list[Problem] = []
    recipes: dict[str, Any] = {}
    for name, own in own_settings(data).items():
        written = {key: value for key, value in own.items() if key not in StageConfig.model_fields}
        try:
            with named_stage(name):
                _refuse(name, written)
                recipes[name] = read(_overridden(shared, written), _places(places or {}, name))
        except RecipeError as error:
            problems += error.problems
    if problems:
        raise RecipeError(problems)
    return recipes


@contextmanager
def named_stage(name: str) -> Iterator[None]:
    """Errors of this block say which stage they are about, and hints set what they set for that stage."""
    try:
        yield
    except TunesmithError as error:
        error.problems = tuple(_named(problem, name) for problem in error.problems)
        raise


def _named(problem: Problem, name: str) -> Problem:
    start = f"stage {name}: "
    if problem.what.startswith("stage "):  # of an earlier stage, which this one asked for
        return problem
    return replace(problem, what=start + problem.what, hint=problem.hint.replace("--set ", f"--set stages.{name}."))


def _refuse(name: str, written: Mapping[str, Any]) -> None:
    problems = [
        Problem(what="this name is taken", value=name, expected="another name: run:latest is the last run", hint="rename it")
        for taken in ("latest",)
        if name == taken
    ]
    problems += [
        Problem(
            what=f"a stage has no {key} of its own", value=written[key], expected=instead, hint=f"move {key} above `stages:`"
        )
        for key, instead in _OF_THE_CHAIN.items()
        if key in written
    ]
    if problems:
        raise RecipeError(problems)


def _overridden(shared: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """`shared` with what a stage writes. A section is changed key by key, unless the stage writes its `kind`: the other keys of
    such a section belong to another kind, so that it is replaced as a whole."""
    merged = dict(shared)
    for key, value in own.items():
        before = merged.get(key)
        if isinstance(value, Mapping) and isinstance(before, Mapping) and "kind" not in value:
            merged[key] = {**before, **value}
        elif value is not None:
            merged[key] = value
    return merged


def _places(places: Places, name: str) -> Places:
    """Where each setting of a stage is written: in the stage, or above all of them."""
    inner = {path[2:]: place for path, place in places.items() if path[:2] == ("stages", name) and len(path) > 2}
    return {**places, **inner}
