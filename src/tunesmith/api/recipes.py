"""Recipes: a commented new one, one converted from an older pipeline, and the one that a command uses."""

from __future__ import annotations

import difflib
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import orjson
import yaml

from tunesmith.api.older_pipeline import translate
from tunesmith.core.errors import Problem, RecipeError
from tunesmith.core.files import replace_file, storage_errors
from tunesmith.core.settings import Knob
from tunesmith.data.ingest.policy import Extra
from tunesmith.pipeline.recipe import Recipe
from tunesmith.pipeline.recipe_file import knobs, load_recipe, recipe_from

__all__ = [
    "NewRecipe",
    "Recipe",
    "as_overrides",
    "find_recipe",
    "has_recipe",
    "new_recipe",
    "recipe_from",
    "recipe_text",
    "write_recipe",
]

_NAME = "tunesmith.yaml"


@dataclass(frozen=True, slots=True)
class NewRecipe:
    """A recipe in YAML, and `notes` on settings of an older pipeline that mean something else here or were not converted."""

    text: str
    notes: tuple[str, ...] = ()


def new_recipe(*sources: str | Path, older: str | Path | None = None) -> NewRecipe:
    """A recipe with every setting at its default and its meaning, for `sources` (`./posts` if none is given).

    `older`: a folder with data_, model_, training_ and evaluation_config.yaml to convert.

    Raises:
        RecipeError: files of the older pipeline that are missing, not understood, or make no valid recipe.
    """
    values: dict[str, Any] = {"sources": [str(source) for source in sources] or ["./posts"]}
    notes: list[str] = []
    if older is not None:
        values, notes = translate(Path(older))
        if sources:
            values["sources"] = [str(source) for source in sources]
    text = recipe_text(values, notes)
    recipe_from(yaml.safe_load(text))
    return NewRecipe(text, tuple(notes))


def write_recipe(recipe: NewRecipe, *, project: str | Path = ".", force: bool = False) -> Path:
    """Write `tunesmith.yaml` into the project folder, and return its path.

    Raises:
        RecipeError: there is one already, and `force` is False.
        StorageError: the file cannot be written.
    """
    file = Path(project) / _NAME
    if file.exists() and not force:
        raise RecipeError(
            [
                Problem(
                    what="there is a recipe already",
                    value=str(file),
                    expected="a folder without one",
                    hint="tunesmith init --force replaces it, --print shows the new one",
                )
            ]
        )
    with storage_errors("writing the recipe", file):
        replace_file(file, recipe.text.encode())
    return file


def as_overrides(settings: Mapping[str, Any]) -> list[str]:
    """Settings by their names (`{"train.epochs": 3}`) as the overrides that `--set` takes."""
    return [f"{name}={orjson.dumps(value, default=str).decode()}" for name, value in settings.items()]


def find_recipe(
    changes: Mapping[str, Any] | None = None,
    overrides: Sequence[str] = (),
    *,
    project: str | Path = ".",
    recipe: str | Path | None = None,
    extras: Sequence[str] = (),
) -> Recipe:
    """The recipe in the file `recipe`, else in the project's `tunesmith.yaml`, else one made from the sources only.

    `changes` replaces whole top-level keys (`sources`, `base`, `allow`); `overrides` are settings such as `train.epochs=3`.
    `extras` are added to `ingest.extras`: what is left out of the sources by default.

    Raises:
        RecipeError: everything that is wrong; also if there is neither a recipe nor a source.
    """
    if extras:
        _known_extras(extras)
        stated = find_recipe(changes, overrides, project=project, recipe=recipe).ingest.extras
        overrides = [*overrides, *as_overrides({"ingest.extras": list(dict.fromkeys([*stated, *extras]))})]
    wanted = dict(changes or {})
    file = Path(recipe) if recipe is not None else Path(project) / _NAME
    if has_recipe(project, recipe):
        return load_recipe(file, overrides, changes=wanted)
    if not wanted.get("sources"):
        raise RecipeError(
            [
                Problem(
                    what="no recipe and no source",
                    value=str(file),
                    expected="a recipe in the project folder, or --source",
                    hint="tunesmith run --source ./posts   or   tunesmith init",
                )
            ]
        )
    return recipe_from(wanted, overrides)


def has_recipe(project: str | Path, recipe: str | Path | None) -> bool:
    """Whether a recipe is named, or the project has one."""
    return recipe is not None or (Path(project) / _NAME).exists()


def _known_extras(extras: Sequence[str]) -> None:
    known = get_args(Extra)
    problems = []
    for extra in extras:
        if extra not in known:
            nearest = difflib.get_close_matches(extra, known, n=1, cutoff=0.4) or known[:1]
            expected = ", ".join(known)
            problems.append(
                Problem(what="unknown word for --include", value=extra, expected=expected, hint=f"--include {nearest[0]}")
            )
    if problems:
        raise RecipeError(problems)


def recipe_text(values: Mapping[str, Any], notes: Sequence[str] = ()) -> str:
    """A recipe as YAML: set values as they are, all others commented out at their defaults, each with its meaning."""
    lines = [
        "# Tunesmith recipe. What is commented out has the value shown; remove the `# ` to change it.",
        *(f"# {note}" for note in notes),
    ]
    section = ""
    for knob in knobs():
        head = knob.name.rpartition(".")[0]
        if not head:
            lines += ["", *_comment(knob, ""), _entry(knob, values, "")]
        elif head != section:
            section = head
            lines += ["", f"{head}:", *_entries(head, values)]
    return "\n".join(lines) + "\n"


def _entries(head: str, values: Mapping[str, Any]) -> list[str]:
    lines = []
    for knob in knobs():
        if knob.name.rpartition(".")[0] == head:
            lines += [*_comment(knob, "  "), _entry(knob, values.get(head, {}), "  ")]
    return lines


def _comment(knob: Knob, indent: str) -> list[str]:
    text = f"{knob.text} ({knob.type})"
    return [f"{indent}# {line}" if indent == "" else f"#{indent} {line}" for line in textwrap.wrap(text, 110)]


def _entry(knob: Knob, values: Mapping[str, Any], indent: str) -> str:
    name = knob.name.rsplit(".", 1)[-1]
    if name in values:
        return f"{indent}{name}: {_yaml(values[name])}"
    return f"#{indent} {name}: {_yaml(knob.default)}" if indent else f"# {name}: {_yaml(knob.default)}"


def _yaml(value: Any) -> str:
    text: str = yaml.safe_dump(value, default_flow_style=True, width=10_000, allow_unicode=True)
    return text.removesuffix("\n").removesuffix("\n...").removesuffix("...").strip()
