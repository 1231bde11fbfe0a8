"""`init`: a commented recipe, fresh or translated from the four YAML files of an older pipeline."""

from __future__ import annotations

import shlex
import sys
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from tunesmith.cli.older import translate
from tunesmith.cli.render import console
from tunesmith.core.errors import Problem, RecipeError
from tunesmith.core.files import replace_file, storage_errors
from tunesmith.core.recipe_file import Knob, knobs, recipe_from

__all__ = ["init", "recipe_text"]


def init(sources: list[str], older: Path | None, project: Path, *, to_stdout: bool, force: bool) -> None:
    """Write `tunesmith.yaml` into the project folder, or print it."""
    values: dict[str, Any] = {"sources": sources or ["./posts"]}
    notes: list[str] = []
    if older is not None:
        values, notes = translate(older)
        if sources:
            values["sources"] = sources
    text = recipe_text(values, notes)
    recipe_from(yaml.safe_load(text))
    if to_stdout:
        sys.stdout.write(text)
        return
    file = project / "tunesmith.yaml"
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
        replace_file(file, text.encode())
    out = console()
    out.print(f"  wrote  {file}")
    for note in notes:
        out.print(f"         {note}")
    where = "" if project == Path(".") else f" --project {shlex.quote(str(project))}"
    out.print(f"  next   tunesmith plan{where}")


def recipe_text(values: Mapping[str, Any], notes: list[str]) -> str:
    """A recipe as YAML: what is set stands open, everything else is commented out at its default, each with its meaning."""
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
