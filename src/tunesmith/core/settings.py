"""How settings are declared and checked: sections, their settings by name, and what is wrong with a value."""

from __future__ import annotations

import difflib
import re
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, ValidationError, ValidationInfo, field_validator

from tunesmith.core.errors import Problem, RecipeError

__all__ = [
    "Knob",
    "Places",
    "Section",
    "declared",
    "nearest",
    "nearest_knob",
    "plain_address",
    "problem_of",
    "section_from",
    "shown",
]

Places = Mapping[tuple[str, ...], tuple[int, int]]  # path of a setting → line and column


class Section(BaseModel):
    """Settings that belong together: frozen, strict about keys, each documented in place."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, use_attribute_docstrings=True, validate_default=True, allow_inf_nan=False
    )

    @field_validator("*", mode="before")
    @classmethod
    def _yes_is_no_number(cls, value: Any, info: ValidationInfo) -> Any:
        """Python counts True as 1; who writes `patience: true` did not mean 1."""
        kind = cls.model_fields[info.field_name or ""].annotation
        if isinstance(value, bool) and kind is not bool and bool not in get_args(kind):
            raise ValueError("a value of another type than yes or no")
        return value


S = TypeVar("S", bound=Section)


@dataclass(frozen=True, slots=True)
class Knob:
    """One setting as people type it (`train.epochs`), its type, default and meaning."""

    name: str
    type: str
    default: Any
    text: str


def declared(model: type[BaseModel], prefix: str = "") -> list[Knob]:
    """Every setting of `model` and the sections in it, in the order of declaration."""
    found: list[Knob] = []
    for name, info in model.model_fields.items():
        annotation = info.annotation
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            found += declared(annotation, f"{prefix}{name}.")
        else:
            default = None if info.is_required() else info.get_default(call_default_factory=True)
            found.append(Knob(f"{prefix}{info.alias or name}", _type_text(annotation), default, info.description or ""))
    return found


def _type_text(annotation: Any) -> str:
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Literal:
        return " | ".join(str(a) for a in arguments)
    if origin in (typing.Union, types.UnionType):
        return " | ".join(_type_text(a) for a in arguments)
    if origin is typing.Annotated:
        return _type_text(arguments[0])
    if origin is list:
        return f"list of {_type_text(arguments[0])}"
    return str(getattr(annotation, "__name__", annotation))


def section_from(kind: type[S], values: Mapping[str, Any], *, name: str, why: str) -> S:
    """A section that is declared where it is used, from plain values. `why`: what its keys are, for a key that it lacks.

    RecipeError carries everything that is wrong.
    """
    own = declared(kind, f"{name}.")
    try:
        return kind.model_validate(dict(values))
    except ValidationError as error:
        data = {name: values}
        details = [{**detail, "loc": (name, *detail["loc"])} for detail in error.errors()]
        raise RecipeError([problem_of(detail, data, own, key=why) for detail in details]) from None


def problem_of(
    detail: Mapping[str, Any],
    data: Mapping[str, Any],
    known: Sequence[Knob],
    *,
    places: Places | None = None,
    file: str = "",
    key: str = "a setting of the recipe; tunesmith init --print lists them",
) -> Problem:
    """What pydantic found wrong (`detail`, one of `ValidationError.errors()`) in `data`, in four parts.

    `known`: the settings that there are. `places`: where each stands in `file`. `key`: what a key should have been.
    """
    places = places or {}
    location = tuple(str(part) for part in detail["loc"])
    paths = [tuple(knob.name.split(".")) for knob in known]
    path = next((location[:n] for n in range(len(location), 0, -1) if location[:n] in paths), location)
    place = next((places[path[:n]] for n in range(len(path), 0, -1) if path[:n] in places), None)
    where = f"{file}:{place[0]}:{place[1]}" if place else file
    name = ".".join(path)
    knob = next((k for k in known if k.name == name), None)
    if detail["type"] == "extra_forbidden":
        return Problem(what="unknown setting", value=name, expected=key, hint=nearest_knob(name, known), where=where)
    if detail["type"] == "missing":
        meaning = knob.text if knob else name
        return Problem(
            what="missing setting", value=name, expected="a value: " + meaning, hint=f"{name}: [./posts]", where=where
        )
    message = str(detail["msg"]).removeprefix("Value error, ")
    value = _value_at(data, path)
    expected = f"{knob.type} ({_lower(message)})" if knob else _lower(message)
    hint = "tunesmith init --print lists every setting"
    if knob and knob.type.startswith("list of") and isinstance(value, str):
        hint = f"{name}: [{value}]"
    elif knob and knob.default is None:
        hint = f"{name}: [./posts]"
    elif knob:
        hint = f"{name}: {shown(knob.default)}  (the default). {knob.text}"
    return Problem(what=f"wrong value for {name}", value=value, expected=expected, hint=hint, where=where)


def nearest(word: str, known: Sequence[str]) -> str:
    """`did you mean …?` with the word most like this one; empty if none is."""
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.4)
    return f"did you mean {close[0]}?" if close else ""


def nearest_knob(name: str, known: Sequence[Knob]) -> str:
    """A hint that names the setting most like `name`, by its last word first."""
    names = [knob.name for knob in known]
    close = [n for n in names if n.split(".")[-1] == name.split(".")[-1]]
    if "." not in name:
        names = sorted({n.partition(".")[0] for n in names})
    hint = f"did you mean {close[0]}?" if close else nearest(name, names)
    return hint or "tunesmith init --print lists every setting"


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]


def plain_address(url: str) -> str:
    """The address of a server as a recipe may hold it; ValueError for one with a secret or a query in it. Empty is none."""
    if url and not re.fullmatch(r"https?://[^\s@?#/]+(?:/[^\s@?#]*)?", url):
        raise ValueError("an http:// or https:// address without user name, key, query string or spaces")
    return url


def shown(value: Any) -> str:
    """A value as it is written in a recipe."""
    return "[]" if value == [] else "''" if value == "" else str(value)


def _value_at(data: Any, path: tuple[str, ...]) -> Any:
    for part in path:
        if not isinstance(data, Mapping) or part not in data:
            return data if not isinstance(data, Mapping) else None
        data = data[part]
    return data
