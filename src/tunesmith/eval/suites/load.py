"""Opening a suite: a folder with `suite.yaml` and items, a file of items, or one that comes with Tunesmith.

docs/concepts/suites.md shows every key. A fault of the whole suite is an error; a fault of one item makes that item *unscored*.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import yaml

import tunesmith
from tunesmith.core.errors import EvaluationError
from tunesmith.core.records import Message, Role
from tunesmith.eval.suites.files import suite_rows
from tunesmith.eval.suites.scorers import SCORERS, lettered
from tunesmith.eval.suites.suite import Suite, SuiteItem

__all__ = ["BUILT_IN", "load_suite"]

BUILT_IN = Path(tunesmith.__file__).parent / "examples" / "suites"
_MEMORY = "memory"  # of a dataset, so no file could hold its questions
_SHEET = "suite.yaml"
_SHEET_KEYS = {"name", "version", "licence", "description", "scorer", "max_new_tokens"}
_ITEM_KEYS = {"id", "messages", "prompt", "references", "reference", "options", "group", "tags", "scorer", "max_new_tokens"}
_ENDINGS = (".jsonl", ".json", ".csv", ".gz")


def load_suite(where: str | Path) -> Suite:
    """The suite in a folder or file, or the built-in one of that name (`general`, `safety`).

    Raises:
        EvaluationError: nothing there, no items or one, two with one id, an unknown key or scorer, no item that can be scored.
    """
    path = Path(where).expanduser()
    if not path.exists() and (BUILT_IN / str(where) / _SHEET).is_file():
        path = BUILT_IN / str(where)
    sheet: Mapping[str, Any] = {}
    if path.is_dir() and (path / _SHEET).is_file():
        sheet = _sheet(path / _SHEET)
        files = sorted(file for file in path.iterdir() if file.suffix in _ENDINGS)
    else:
        files = [path] if path.is_file() else []
    if not files:
        raise EvaluationError(
            "there is no suite of this name",
            value=str(where),
            expected=f"a file of items, a folder with {_SHEET} and items, or one of {', '.join(_built_in_names())}",
            hint="what is learned by heart is measured in every evaluation, by the gate not_recited: leave `memory` out"
            if str(where) == _MEMORY
            else "check the path",
        )
    rows = [row for file in files for row in suite_rows(file)]
    items = tuple(_item(place, row, number, sheet) for number, (place, row) in enumerate(rows, 1))
    _check(items, path)
    return Suite(
        name=str(sheet.get("name", path.name.split(".")[0])),
        version=str(sheet.get("version", "0")),
        licence=str(sheet.get("licence", "not stated")),
        description=str(sheet.get("description", "")),
        items=items,
        source=str(path),
    )


def _built_in_names() -> list[str]:
    return sorted(file.parent.name for file in BUILT_IN.glob(f"*/{_SHEET}"))


def _sheet(path: Path) -> Mapping[str, Any]:
    try:
        sheet = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise EvaluationError(
            f"{_SHEET} cannot be read", value=f"{path}: {error}", expected="YAML in UTF-8", hint=f"fix {path}"
        ) from error
    unknown = sorted(set(sheet) - _SHEET_KEYS) if isinstance(sheet, dict) else [str(sheet)]
    if unknown:
        raise EvaluationError(
            f"{_SHEET} has a key that a suite does not have",
            value=unknown[0],
            expected=f"only {', '.join(sorted(_SHEET_KEYS))}",
            hint=f"fix {path}",
        )
    return dict(sheet)


def _item(place: str, row: Mapping[str, Any], number: int, sheet: Mapping[str, Any]) -> SuiteItem:
    if unknown := sorted(set(row) - _ITEM_KEYS):
        raise EvaluationError(
            f"{place} has a key that an item does not have",
            value=unknown[0],
            expected=f"only {', '.join(sorted(_ITEM_KEYS))}",
            hint=f"rename or remove {unknown[0]}",
        )
    name, arguments = _scorer(place, row.get("scorer", sheet.get("scorer", "exact")))
    if "options" in row:
        arguments = {**arguments, "options": row["options"]}
    id = str(row.get("id", number))
    limit = row.get("max_new_tokens", sheet.get("max_new_tokens", 64))
    if not isinstance(limit, int) or isinstance(limit, bool) or limit < 1:
        raise _wrong(place, "max_new_tokens", limit, "a whole number, 1 at least")
    item = SuiteItem(
        id=id,
        messages=_messages(place, row),
        scorer=name,
        group=str(row.get("group", id)),
        references=_references(place, row),
        arguments=arguments,
        tags=_tags(place, row.get("tags", ())),
        max_new_tokens=limit,
    )
    fault = "" if item.messages[-1].content.strip() else "the question is empty"
    fault = fault or SCORERS[name].fault(item)
    if fault:
        return replace(item, unscored=fault)
    return replace(item, messages=_with_options(item)) if "options" in row else item


def _wrong(place: str, key: str, value: object, expected: str) -> EvaluationError:
    return EvaluationError(f"{key} of {place} cannot be used", value=value, expected=expected, hint=f"fix {place}")


def _scorer(place: str, wanted: object) -> tuple[str, Mapping[str, Any]]:
    name = wanted.get("name") if isinstance(wanted, Mapping) else wanted
    if name not in SCORERS:
        raise EvaluationError(
            f"the scorer of {place} does not exist",
            value=name,
            expected=f"one of {', '.join(SCORERS)}",
            hint=f"fix {place}; docs/concepts/suites.md describes them",
        )
    arguments = {key: value for key, value in wanted.items() if key != "name"} if isinstance(wanted, Mapping) else {}
    return str(name), arguments


def _messages(place: str, row: Mapping[str, Any]) -> tuple[Message, ...]:
    if ("prompt" in row) == ("messages" in row):
        raise _wrong(place, "the question", sorted(row), "prompt or messages, one of the two")
    if "prompt" in row:
        if not isinstance(row["prompt"], str):
            raise _wrong(place, "prompt", row["prompt"], "a text")
        return (Message(role="user", content=row["prompt"]),)
    turns = row["messages"]
    good = isinstance(turns, list) and all(
        isinstance(turn, dict) and turn.get("role") in get_args(Role) and isinstance(turn.get("content"), str) for turn in turns
    )
    if not good or not turns or turns[-1]["role"] != "user":
        raise _wrong(place, "messages", turns, "a list of {role, content} whose last turn is the user's")
    return tuple(Message(role=turn["role"], content=turn["content"]) for turn in turns)


def _references(place: str, row: Mapping[str, Any]) -> tuple[str, ...]:
    given = row.get("references", [row["reference"]] if row.get("reference") is not None else [])
    if not isinstance(given, list) or not all(isinstance(one, str | int | float) for one in given):
        raise _wrong(place, "references", given, "a list of texts or numbers")
    return tuple(str(one) for one in given)


def _tags(place: str, given: object) -> tuple[str, ...]:
    if isinstance(given, Mapping):
        return tuple(f"{name}={value}" for name, value in given.items())
    if not isinstance(given, Sequence) or isinstance(given, str) or not all(isinstance(tag, str) for tag in given):
        raise _wrong(place, "tags", given, "an object of names and values, or a list of texts")
    return tuple(given)


def _with_options(item: SuiteItem) -> tuple[Message, ...]:
    """The question with its options under it, a letter each."""
    *before, last = item.messages
    return (*before, Message(role="user", content=f"{last.content}\n{lettered(item.arguments['options'])}"))


def _check(items: Sequence[SuiteItem], path: Path) -> None:
    if len(items) < 2:
        raise EvaluationError(
            "a suite of one item says nothing" if items else "this suite has no items",
            value=str(path),
            expected="two items at least, so that there is an interval",
            hint="add items",
        )
    twice = [id for id, count in Counter(item.id for item in items).items() if count > 1]
    if twice:
        raise EvaluationError(
            f"{len(twice)} ids occur more than once in this suite",
            value=twice[0],
            expected="each id once",
            hint=f"rename one of the items {twice[0]} in {path}",
        )
    if all(item.unscored for item in items):
        raise EvaluationError(
            "no item of this suite can be scored",
            value=f"{items[0].id}: {items[0].unscored}",
            expected="references and arguments as the scorer needs them",
            hint=f"fix the items of {path}",
        )
