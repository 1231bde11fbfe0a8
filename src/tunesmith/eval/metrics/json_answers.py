"""Answers in JSON: whether they parse, follow a schema, and have the right fields with the right values.

The answer is the whole text; white space around it and one Markdown fence are allowed, a sentence before it is not. Field names
are compared exactly. Values are compared as JSON: `1` equals `1.0`, `"1"` is another value of another type.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from tunesmith.eval.metrics.metric import Expected, Metric, Scorer, Unscored, each

__all__ = ["METRICS", "field_values", "read_json"]

_FENCE = re.compile(r"\A```[\w-]*[ \t]*\n(.*?)\n?```\Z", re.DOTALL)
_NO_JSON = "the reference is not JSON"
Path = tuple[str | int, ...]
_ABSENT = object()


def read_json(text: str) -> tuple[bool, Any]:
    """Whether the text is JSON, and its value. NaN, comments, trailing commas and text around it are not JSON."""
    stripped = text.strip()
    fenced = _FENCE.match(stripped)
    try:
        return True, orjson.loads(fenced.group(1) if fenced else stripped)
    except orjson.JSONDecodeError:
        return False, None


def field_values(value: Any, at: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Every field with a plain value, by its path; an empty object or list counts as a value. List items by position."""
    if isinstance(value, dict) and value:
        for name, inner in value.items():
            yield from field_values(inner, (*at, name))
    elif isinstance(value, list) and value:
        for number, inner in enumerate(value):
            yield from field_values(inner, (*at, number))
    else:
        yield at, value


def _kind(value: Any) -> str:
    kinds = {bool: "boolean", int: "number", float: "number", str: "string", dict: "object", list: "array"}
    return "null" if value is None else kinds[type(value)]


def _equal(a: Any, b: Any) -> bool:
    return _kind(a) == _kind(b) and bool(a == b)


def _reference(expected: Expected) -> Mapping[Path, Any] | None:
    """The fields of the first reference that is JSON."""
    for text in expected.references:
        valid, value = read_json(text)
        if valid:
            return dict(field_values(value))
    return None


def _fields(answer: str, expected: Expected) -> tuple[Mapping[Path, Any], Mapping[Path, Any]] | None:
    """The fields of reference and answer; an answer that is not JSON has none. None if no reference is JSON."""
    right = _reference(expected)
    if right is None:
        return None
    valid, value = read_json(answer)
    return right, dict(field_values(value)) if valid else {}


def _num_right(right: Mapping[Path, Any], given: Mapping[Path, Any]) -> int:
    return sum(path in given and _equal(value, given[path]) for path, value in right.items())


def _valid(answer: str, expected: Expected) -> float:
    return float(read_json(answer)[0])


def _schema_valid(answer: str, expected: Expected) -> float | Unscored:
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import SchemaError
    from referencing import Registry
    from referencing.exceptions import Unresolvable

    try:
        Draft202012Validator.check_schema(expected.schema)
        valid, value = read_json(answer)
        # an empty registry, so that a schema with "$ref": "https://…" fetches nothing
        return float(valid and Draft202012Validator(expected.schema, registry=Registry()).is_valid(value))
    except SchemaError as error:
        return Unscored(f"the item's schema is not valid: {' '.join(error.message.split())[:120]}")
    except Unresolvable as error:
        return Unscored(f"the item's schema refers to something outside of it: {error.ref}")


def _field_accuracy(answer: str, expected: Expected) -> float | Unscored:
    found = _fields(answer, expected)
    return Unscored(_NO_JSON) if found is None else _num_right(*found) / len(found[0])


def _field_f1(answer: str, expected: Expected) -> float | Unscored:
    found = _fields(answer, expected)
    return Unscored(_NO_JSON) if found is None else 2 * _num_right(*found) / (len(found[0]) + len(found[1]))


def _named_fields(names: str) -> Scorer:
    """1 for an answer whose fields `names`, separated by commas, all have the reference's values, else 0."""
    wanted = [name.strip() for name in names.split(",") if name.strip()]

    def score(answer: str, expected: Expected) -> float | Unscored:
        right = next((value for valid, value in map(read_json, expected.references) if valid), _ABSENT)
        if right is _ABSENT:
            return Unscored(_NO_JSON)
        values = [_at(right, name) for name in wanted]
        if missing := [name for name, value in zip(wanted, values, strict=True) if value is _ABSENT]:
            return Unscored(f"the reference has no field {missing[0]}")
        _, given = read_json(answer)
        return float(all(_same(value, _at(given, name)) for name, value in zip(wanted, values, strict=True)))

    return each(score)


def _at(value: Any, name: str) -> Any:
    """What stands at `name`: a key of an object, or keys and places in lists with dots between them, as in items.0.price."""
    if isinstance(value, dict) and name in value:
        return value[name]
    head, dot, rest = name.partition(".")
    if isinstance(value, list) and head.isdecimal() and int(head) < len(value):
        value = value[int(head)]
    elif dot and isinstance(value, dict) and head in value:
        value = value[head]
    else:
        return _ABSENT
    return _at(value, rest) if dot else value


def _same(right: Any, given: Any) -> bool:
    """Whether two JSON values are equal, with everything inside them. A value that is not there is None or absent."""
    if given is _ABSENT:
        return False
    one, other = dict(field_values(right)), dict(field_values(given))
    return one.keys() == other.keys() and all(_equal(value, other[path]) for path, value in one.items())


def _type_errors(answer: str, expected: Expected) -> float | Unscored:
    right = next((value for valid, value in map(read_json, expected.references) if valid), _ABSENT)
    if right is _ABSENT:
        return Unscored(_NO_JSON)
    valid, value = read_json(answer)
    return float(_num_wrong_types(right, value)) if valid else Unscored("the answer is not JSON")


def _num_wrong_types(right: Any, given: Any) -> int:
    """Fields that both have with values of different types; below such a field nothing more is compared."""
    if _kind(right) != _kind(given):
        return 1
    if isinstance(right, dict):
        return sum(_num_wrong_types(value, given[name]) for name, value in right.items() if name in given)
    if isinstance(right, list):
        return sum(_num_wrong_types(a, b) for a, b in zip(right, given, strict=False))
    return 0


_SHARE = (0.0, 1.0)
METRICS = (
    Metric(
        name="json_valid",
        label="valid JSON",
        task="json",
        unit="share",
        bounds=_SHARE,
        higher_is_better=True,
        measures="Share of answers that are one JSON value, with at most a Markdown fence around it.",
        misses="whether the content is right; a field name that occurs twice passes (the last one counts).",
        needs=(),
        score=each(_valid),
    ),
    Metric(
        name="schema_valid",
        label="valid by the schema",
        task="json",
        unit="share",
        bounds=_SHARE,
        higher_is_better=True,
        measures="Share of answers that are JSON and follow the item's JSON schema (2020-12).",
        misses="whether the values are right; `format` is not checked, and schemas from the web are not fetched.",
        needs=("schema",),
        score=each(_schema_valid),
    ),
    Metric(
        name="field_accuracy",
        label="fields right",
        task="json",
        unit="share",
        bounds=_SHARE,
        higher_is_better=True,
        measures="Share of the reference's fields, nested ones included, that the answer has with the same value.",
        misses="fields that the answer invents; list items in another order and other wording count as wrong.",
        score=each(_field_accuracy),
    ),
    Metric(
        name="field_f1",
        label="fields F1",
        task="json",
        unit="share",
        bounds=_SHARE,
        higher_is_better=True,
        measures="F1 of the fields with their values: missing and invented fields both cost.",
        misses="list items in another order and other wording of a text, which count as wrong.",
        score=each(_field_f1),
    ),
    Metric(
        name="json_field",
        label="right:",
        task="json",
        unit="share",
        bounds=_SHARE,
        higher_is_better=True,
        measures="Share of answers in which every named field has the reference's value: `json_field:action,order`.",
        misses="all other fields; items whose reference lacks a named field are unscored.",
        argument="FIELD[,FIELD…], with dots for what is inside another (`items.0.price`)",
        scored_by=_named_fields,
    ),
    Metric(
        name="type_errors",
        label="wrong types",
        task="json",
        unit="fields",
        bounds=(0.0, float("inf")),
        higher_is_better=False,
        measures='Fields that the answer has with a value of another type than the reference (`"3"` for `3`).',
        misses="missing fields and wrong values; answers that are not JSON are unscored.",
        score=each(_type_errors),
    ),
)
