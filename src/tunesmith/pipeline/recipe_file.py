"""Reading a recipe: YAML with places, `--set` overrides, the preset, and every problem at once with its nearest match."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from tunesmith.core.errors import Problem, RecipeError
from tunesmith.core.settings import Knob, Places, declared, nearest_knob, problem_of
from tunesmith.pipeline.base_defaults import REWARDED
from tunesmith.pipeline.recipe import PRESETS, Recipe
from tunesmith.pipeline.recipe_stages import all_sources, own_name, own_settings, stage_knobs, stage_recipes
from tunesmith.pipeline.sections.dataset import MixConfig
from tunesmith.pipeline.sections.eval import BiggerConfig
from tunesmith.pipeline.sections.run import TrainConfig

__all__ = ["knobs", "load_recipe", "recipe_from"]

_Path = tuple[str, ...]
_WITHOUT_EXAMPLES = ("cpt", "dpo", "kto", "orpo", "reward", "simpo")  # their rows are texts, pairs or ratings
_OF_QUESTIONS = ("eval.baselines", "eval.additions")
_OF_ANSWERS = (*_OF_QUESTIONS, "eval.primary", "eval.suites", "eval.max_new_tokens", "use.temperature", "bigger.url")
_OF_PLAIN_ADAPTERS = ("lora_plus", "init", "rank_pattern", "alpha_pattern", "from", "modules")
_OF_ADAPTERS = (
    *("rank", "alpha", "dropout", "targets", "quantise", "lora_plus"),
    *("init", "rank_pattern", "alpha_pattern", "from", "modules"),
)


def knobs() -> list[Knob]:
    """Every setting of the recipe, in the order of declaration."""
    return declared(Recipe)


def load_recipe(path: Path, overrides: Sequence[str] = (), *, changes: Mapping[str, Any] | None = None) -> Recipe:
    """The recipe in a YAML file, with whole keys replaced by `changes` and `key.path=value` overrides.

    RecipeError carries everything that is wrong.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        hint = "tunesmith init" if isinstance(error, FileNotFoundError) else "ls -l shows its permissions"
        if isinstance(error, UnicodeDecodeError):
            hint = f"open {path} in an editor and save it as UTF-8"
        raise RecipeError(
            [Problem(what="cannot read the recipe", value=str(path), expected=f"a YAML file in UTF-8 ({error})", hint=hint)]
        ) from error
    data, places = _parse(text, path)
    return recipe_from({**data, **(changes or {})}, overrides, places=places, file=str(path))


def recipe_from(
    data: Mapping[str, Any],
    overrides: Sequence[str] = (),
    *,
    places: Places | None = None,
    file: str = "",
    of_chain: bool = False,
) -> Recipe:
    """The recipe from plain values: preset first, then `data`, then overrides; for every stage of a chain as well.

    `of_chain`: these are the values of a stage, which shares settings with stages of other objectives.
    """
    merged = _without_empty_sections(_copy(data))
    problems = [problem for text in overrides if (problem := _override(merged, text)) is not None]
    if isinstance(merged.get("stages"), dict):
        merged["stages"] = own_settings(merged) | {k: v for k, v in merged["stages"].items() if v is not None}
    written, quality = _copy(merged), merged.get("quality", "good")
    if sources := all_sources(merged):
        merged["sources"] = sources
    preset = next((values for name, values in PRESETS.items() if name == quality), {})
    for section, values in preset.items():
        target = merged.setdefault(section, {})
        if isinstance(target, dict):
            merged[section] = {**values, **target}
    try:
        recipe = Recipe.model_validate(merged)
    except ValidationError as error:
        every = [*knobs(), *stage_knobs(list(own_settings(merged)))]
        found = (problem_of(dict(detail), merged, every, places=places, file=file) for detail in error.errors())
        told = {(problem.what, repr(problem.value), problem.where): problem for problem in found}  # `auto | int` fails twice
        problems += told.values()
        raise RecipeError(sorted(problems, key=_line)) from None
    problems += [] if of_chain else _of_objective(written, recipe.objective.kind)
    problems += [*_without_effect(written, recipe), *_generator_problems(written, recipe), *_bigger_problems(written, recipe)]
    if problems:
        raise RecipeError(problems)
    names = {f"{key}.{inner}" for key, value in written.items() if isinstance(value, dict) for inner in value}
    stages = stage_recipes(
        written, places=places, read=lambda own, own_places: recipe_from(own, places=own_places, file=file, of_chain=True)
    )
    return recipe.with_stages(stages).marked(written=names)


def _without_empty_sections(data: dict[str, Any]) -> dict[str, Any]:
    """`train:` with nothing below it, as in a recipe whose lines are all commented out, sets nothing."""
    sections = {knob.name.partition(".")[0] for knob in knobs() if "." in knob.name}
    return {key: value for key, value in data.items() if value is not None or key not in sections}


def _copy(data: Mapping[str, Any]) -> dict[str, Any]:
    return {key: _copy(value) if isinstance(value, Mapping) else value for key, value in data.items()}


def _line(problem: Problem) -> tuple[int, ...]:
    return tuple(int(part) for part in problem.where.split(":")[-2:] if part.isdigit())


def _parse(text: str, path: Path) -> tuple[dict[str, Any], dict[_Path, tuple[int, int]]]:
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        data = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{path}:{mark.line + 1}:{mark.column + 1}" if mark else str(path)
        reason = getattr(error, "problem", None) or "not YAML"
        raise RecipeError(
            [
                Problem(
                    what="the recipe is not valid YAML",
                    value=str(reason),
                    expected="key: value lines, indented with spaces",
                    hint="compare with `tunesmith init --print`",
                    where=where,
                )
            ]
        ) from error
    if not isinstance(data, dict):
        raise RecipeError(
            [
                Problem(
                    what="the recipe holds no settings",
                    value=type(data).__name__,
                    expected="a mapping such as `sources: [./posts]`",
                    hint="tunesmith init",
                    where=str(path),
                )
            ]
        )
    places: dict[_Path, tuple[int, int]] = {}
    twice: list[Problem] = []
    _places(root, (), places, twice, path)
    if twice:
        raise RecipeError(twice)
    return data, places


def _places(
    node: yaml.Node | None, path: _Path, places: dict[_Path, tuple[int, int]], twice: list[Problem], file: Path
) -> None:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            here = (*path, str(key.value))
            if here in places:  # YAML would keep the last without a word
                twice.append(
                    Problem(
                        what="a setting is written twice",
                        value=".".join(here),
                        expected=f"one place; the other is line {places[here][0]}",
                        hint="put what belongs together under one heading",
                        where=f"{file}:{key.start_mark.line + 1}:{key.start_mark.column + 1}",
                    )
                )
            places[here] = (key.start_mark.line + 1, key.start_mark.column + 1)
            _places(value, here, places, twice, file)


def _override(data: dict[str, Any], text: str) -> Problem | None:
    name, equals, raw = text.partition("=")
    if not equals or not name:
        return Problem(what="cannot read a --set value", value=text, expected="key.path=value", hint="--set train.epochs=3")
    value: Any = raw
    is_text = _type_of(name.strip()) == "str"  # is taken as it is typed, quotes around it apart: no comment, no number in it
    if not is_text or raw[:1] in {"'", '"'}:
        with suppress(yaml.YAMLError):
            value = yaml.safe_load(raw)
    if not is_text:
        value = _number_like(value)
    *sections, last = name.strip().split(".")
    target = data
    for section in sections:
        target = target.setdefault(section, {})
        if not isinstance(target, dict):
            return Problem(
                what="no such setting", value=name, expected="a path such as train.epochs", hint=nearest_knob(name, knobs())
            )
    target[last] = value
    return None


def _type_of(name: str) -> str:
    return next((knob.type for knob in knobs() if knob.name == own_name(name)), "")


def _number_like(value: Any) -> Any:
    """YAML 1.1 reads 2e-4 as a string; people who type it mean a number."""
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return value
    return value


def _without_effect(data: Mapping[str, Any], recipe: Recipe) -> list[Problem]:
    """Settings in the recipe that have no effect."""
    train = data.get("train", {})
    problems = []

    def complain(name: str, value: object, because: str, hint: str) -> None:
        problems.append(Problem(what=f"{name} has no effect", value=value, expected=because, hint=hint))

    if recipe.train.evaluate_every == 0:
        for name in ("patience", "min_delta"):
            if train.get(name):
                complain(
                    f"train.{name}",
                    train[name],
                    "train.evaluate_every above 0; without validations there is no early stopping",
                    f"remove train.{name}, or set train.evaluate_every: 25",
                )
    elif recipe.train.patience == 0 and train.get("min_delta"):
        complain(
            "train.min_delta", train["min_delta"], "train.patience above 0", "remove train.min_delta, or set train.patience: 5"
        )
    if recipe.train.max_steps and "epochs" in train:
        complain("train.epochs", train["epochs"], "only one of train.epochs and train.max_steps", "remove one of the two")
    _of_weights(data, recipe, complain)
    for name in ("passage_words", "min_words", "missing_parts") if recipe.build.style == "examples" else ():
        if name in data.get("build", {}):
            complain(f"build.{name}", data["build"][name], "build.style: passages", f"remove build.{name}")
    if recipe.mix.share != MixConfig().share and not (recipe.mix.general or recipe.mix.own_answers):
        complain(
            "mix.share", recipe.mix.share, "mix.general: files of general examples", "remove mix.share, or set mix.general"
        )
    if "seed" in data.get("split", {}) and recipe.split.by == "time":
        complain("split.seed", recipe.split.seed, "a split.by that draws; time goes by the days", "remove split.seed")
    return problems


def _of_weights(data: Mapping[str, Any], recipe: Recipe, complain: Callable[[str, object, str, str], None]) -> None:
    """Complain of settings of weights and schedule that have no effect."""
    train = data.get("train", {})
    method = data.get("method", {})
    without: dict[str, tuple[Sequence[str], str]] = {
        "full": (_OF_ADAPTERS, "a method.kind with an adapter; with full there is none"),
        "adalora": (_OF_PLAIN_ADAPTERS, "method.kind lora, rslora or dora; adalora begins and gives ranks in its own way"),
    }
    names, expected = without.get(recipe.method.kind, ((), ""))
    for name in (name for name in names if name in method):
        complain(f"method.{name}", method[name], expected, f"remove method.{name}")
    if recipe.method.continued and recipe.method.init != "default":
        complain("method.init", recipe.method.init, "a fresh adapter; method.from names another start", "remove one of the two")
    if recipe.method.continued and recipe.method.modules:
        complain("method.modules", recipe.method.modules, "a fresh adapter, without method.from", "remove one of the two")
    uses = {"floor": recipe.train.schedule != "constant", "decay": recipe.train.schedule == "wsd"}
    usual = TrainConfig()
    for name in (
        name for name, used in uses.items() if train.get(name, getattr(usual, name)) != getattr(usual, name) and not used
    ):
        falling = "wsd" if name == "decay" else "cosine"
        complain(
            f"train.{name}", train[name], f"train.schedule {falling}", f"remove train.{name}, or set train.schedule: {falling}"
        )


def _of_objective(data: Mapping[str, Any], kind: str) -> list[Problem]:
    """Settings that an objective of this kind does not read: of answers where none are asked for or written."""
    unread: list[tuple[str, str]] = []
    if kind == "cpt":
        unread = [(name, "an objective whose rows ask something; a text has no question") for name in _OF_QUESTIONS]
    if kind == "reward":
        unread = [(name, "an objective whose model writes answers; a reward model writes none") for name in _OF_ANSWERS]
    if kind in _WITHOUT_EXAMPLES:
        unread.append(("mix.own_answers", "an objective that learns from examples"))
    if kind in REWARDED:
        unread.append(("mix.own_answers", "an objective that learns from answers in rows; a reward scores drawn ones"))
    found = []
    for name, expected in unread:
        section, _, key = name.partition(".")
        if value := (data.get(section) or {}).get(key):
            found.append(Problem(what=f"{name} has no effect", value=value, expected=expected, hint=f"remove {name}"))
    return found


def _generator_problems(data: Mapping[str, Any], recipe: Recipe) -> list[Problem]:
    """A style that needs a language model where none is named; settings about one that can have no effect."""
    style, g = recipe.build.style, recipe.generator
    problems = []
    if style in {"qa", "rewrite"} and not (g.url and g.model):
        missing = " and ".join(f"generator.{name}" for name in ("url", "model") if not getattr(g, name))
        problems.append(
            Problem(
                what=f"build.style {style} needs a language model",
                value=style,
                expected=f"{missing}: an OpenAI-compatible server and the name of a model there",
                hint="--set generator.url=http://127.0.0.1:11434/v1 --set generator.model=NAME"
                "   or   --set build.style=passages, which needs none",
            )
        )
    written = data.get("build", {})
    for name in sorted({"words_per_pair", "real_share"} & written.keys() if style not in {"auto", "qa"} else ()):
        problems.append(
            Problem(
                what=f"build.{name} has no effect",
                value=written[name],
                expected="build.style: qa",
                hint=f"remove build.{name}",
            )
        )
    if g.max_cost and not (g.price_per_million_in or g.price_per_million_out):
        problems.append(
            Problem(
                what="generator.max_cost has no effect",
                value=g.max_cost,
                expected="prices to count with",
                hint="set generator.price_per_million_in and generator.price_per_million_out",
            )
        )
    return problems


def _bigger_problems(data: Mapping[str, Any], recipe: Recipe) -> list[Problem]:
    """A bigger model of which only the half is named; settings about one where none is."""
    url, model = recipe.bigger.url, recipe.bigger.model
    written = data.get("bigger", {})
    if bool(url) != bool(model):
        return [
            Problem(
                what="only one of bigger.url and bigger.model is set",
                value=url or model,
                expected="the address of an OpenAI-compatible server and the name of a model there",
                hint="--set bigger.url=http://127.0.0.1:11434/v1 --set bigger.model=NAME",
            )
        ]
    if url:
        return []
    if "bigger" in recipe.eval.additions:
        return [
            Problem(
                what="eval.additions names the bigger model, and nothing says where it is",
                value="bigger",
                expected="bigger.url and bigger.model",
                hint="--set bigger.url=http://127.0.0.1:11434/v1 --set bigger.model=NAME",
            )
        ]
    usual = BiggerConfig().model_dump()
    without = [f"bigger.{name}" for name, value in sorted(written.items()) if value != usual[name]]
    return [
        Problem(
            what=f"{name} has no effect",
            value=written[name.partition(".")[2]],
            expected="bigger.url and bigger.model",
            hint=f"remove {name}, or set bigger.url",
        )
        for name in without
    ]
