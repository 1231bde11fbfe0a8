"""The form in which a chat template writes calls of tools, found by rendering a conversation whose calls are known.

No family of models is named here. Two forms are known: a JSON object that holds name and arguments (alone, between tags, or in
a list), and a name in the text with a JSON object of arguments behind it. llama.cpp finds forms by comparison too
(docs/autoparser.md there). transformers' `parse_response` needs a description of the form, which few models bring.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from tunesmith.core.errors import ModelError
from tunesmith.models.template import PROBE

__all__ = ["Renders", "ToolForm", "Written", "find_form"]

Written = tuple[str | None, ...]
"""Text as the template writes it; None stands for the id of a call."""
_Turn = Mapping[str, Any]

_QUESTION: _Turn = {"role": "user", "content": "Say it."}
_NAMES = ("probe_first_tool", "probe_second_tool")
_IDS = ("Pr0be1d01", "Pr0be1d02")  # nine letters and digits, which is what some templates insist on
_GIVEN = ({"probe_key": "probe words", "probe_number": 17}, {"probe_key": "other words", "probe_number": 18})
_TOOLS = [
    {
        "type": "function",
        "function": {
            "name": name,
            "description": "A tool.",
            "parameters": {
                "type": "object",
                "properties": {
                    "probe_key": {"type": "string", "description": "Words."},
                    "probe_number": {"type": "integer", "description": "A number."},
                },
                "required": ["probe_key", "probe_number"],
            },
        },
    }
    for name in _NAMES
]
_JSON = json.JSONDecoder()


class Renders(Protocol):
    """What writes conversations by a chat template: `ChatTemplate`, or an engine with a template of its own."""

    def render_turns(self, turns: Sequence[_Turn], tools: Sequence[_Turn] | None, *, answer_next: bool = False) -> str:
        """See `ChatTemplate.render_turns`. ModelError if the template refuses the conversation."""


@dataclass(frozen=True, slots=True)
class ToolForm:
    """How calls are written.

    As the template writes them: `begin`, a name, `middle`, arguments, and then `between` and the next name or `end`. `between`
    is None if only one call can be written. `spaced`: JSON has spaces behind commas and colons. `as_text`: the template takes
    the arguments of a call as JSON text. `shows_results`: it writes turns of the role `tool`.

    As they are read, white space aside: `section` around all calls and `call` around each one, empty where there is nothing.
    Between them is a JSON object, or a list of them, with the name at `name_path` and the arguments at `arguments_path`; if
    `name_path` is empty, the name, `middle` and the arguments.
    """

    begin: Written
    middle: Written
    between: Written | None
    end: Written
    section: tuple[str, str]
    call: tuple[str, str]
    name_path: tuple[str, ...]
    arguments_path: tuple[str, ...]
    spaced: bool
    as_text: bool
    shows_results: bool

    @property
    def texts(self) -> tuple[str, ...]:
        """All that the template itself writes for calls."""
        pieces = (*self.begin, *self.middle, *(self.between or ()), *self.end)
        return tuple(piece for piece in pieces if piece)


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a call is in a text: its name, its arguments, and the JSON value that holds both, if there is one."""

    name: tuple[int, int]
    arguments: tuple[int, int]
    value: tuple[int, int] | None


def find_form(template: Renders) -> ToolForm:
    """The form of a template. ModelError if it shows no tools to the model, or writes calls in a form that is not known."""
    listed = template.render_turns([_QUESTION], _TOOLS, answer_next=True)
    if not all(name in listed for name in _NAMES):
        raise ModelError(
            "the model's chat template does not use tools",
            value="tools",
            expected="a template that shows the model the tools of a request",
            hint="serve a model whose template lists tools",
        )
    for as_text in (False, True):
        found = _form(template, as_text=as_text)
        if found is not None:
            return found
    raise ModelError(
        "the model's chat template writes calls of tools in a form that is not known here",
        value="tools",
        expected="calls whose arguments are a JSON object, after their name or in one object with it",
        hint="start vLLM or llama.cpp with this model and serve its address",
    )


def _form(template: Renders, *, as_text: bool) -> ToolForm | None:
    try:
        one = _written(template, 1, as_text=as_text)
    except ModelError:
        return None
    place = _place(one, 0, 0)
    if place is None:
        return None
    name_path: tuple[str, ...] = ()
    arguments_path: tuple[str, ...] = ()
    outer = place.value or (place.name[0], place.arguments[1])
    listed = False
    if place.value is not None:
        value = json.loads(one[slice(*place.value)])
        listed = isinstance(value, list)
        item = value[0] if listed else value
        name_path, arguments_path = _path(item, _NAMES[0]) or (), _path(item, _GIVEN[0]) or ()
        if not name_path or not arguments_path:
            return None
    before, after = one[: outer[0]].strip(), one[outer[1] :].strip()
    section, call, between = ("", ""), (before, after), None
    try:
        two: str | None = _written(template, 2, as_text=as_text)
    except ModelError:
        two = None  # one call at a time
    if two is not None:
        between, gap = _between(one, two, place, outer)
        borders = None if listed else _borders(before, after, gap)
        if borders is not None:
            section, call = borders
        elif not listed:
            between = None
    return ToolForm(
        begin=_pieces(one[: place.name[0]]),
        middle=_pieces(one[place.name[1] : place.arguments[0]]),
        between=between,
        end=_pieces(one[place.arguments[1] :]),
        section=section,
        call=call,
        name_path=name_path,
        arguments_path=arguments_path,
        spaced='": ' in one[slice(*place.arguments)],
        as_text=as_text,
        shows_results=_shows_results(template, as_text=as_text),
    )


def _calls(count: int, *, as_text: bool) -> _Turn:
    return {
        "role": "assistant",
        "content": "",
        "tool_calls": [
            {"id": id, "type": "function", "function": {"name": name, "arguments": json.dumps(given) if as_text else given}}
            for id, name, given in list(zip(_IDS, _NAMES, _GIVEN, strict=True))[:count]
        ],
    }


def _written(template: Renders, count: int, *, as_text: bool) -> str:
    """What the template writes for calls in place of an answer's words."""
    before = template.render_turns([_QUESTION], _TOOLS, answer_next=True)
    plain = template.render_turns([_QUESTION, {"role": "assistant", "content": PROBE}], _TOOLS)
    called = template.render_turns([_QUESTION, _calls(count, as_text=as_text)], _TOOLS)
    begin = _alike(plain, called)
    if called.startswith(before):
        begin = max(begin, len(before))
    rest, tail = called[begin:], plain.rpartition(PROBE)[2]
    return rest[: len(rest) - _alike(rest[::-1], tail[::-1])]


def _alike(one: str, other: str) -> int:
    """Letters with which both texts begin."""
    return next((at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


def _place(text: str, number: int, begin: int) -> _Place | None:
    """Where call `number` is in `text` from `begin` on. None if its name or its arguments are not there as they were given."""
    at = text.find(_NAMES[number], begin)
    if at < 0:
        return None
    named = (at, at + len(_NAMES[number]))
    given = next((span for span, value in _values(text, named[1]) if value == _GIVEN[number]), None)
    if given is None:
        return None
    around = (span for span, _ in _values(text, 0) if span[0] < at and span[1] >= given[1])
    return _Place(named, given, next(around, None))


def _values(text: str, begin: int) -> list[tuple[tuple[int, int], Any]]:
    """All JSON objects and lists in a text, by where they begin."""
    found = []
    for match in re.compile(r"[{\[]").finditer(text, begin):
        try:
            value, end = _JSON.raw_decode(text, match.start())
        except ValueError:
            continue
        found.append(((match.start(), end), value))
    return found


def _path(item: Any, wanted: Any) -> tuple[str, ...] | None:
    """The keys by which a value is found in an object."""
    if not isinstance(item, dict):
        return None
    for key, value in item.items():
        if value == wanted:
            return (key,)
        if (below := _path(value, wanted)) is not None:
            return (key, *below)
    return None


def _between(one: str, two: str, place: _Place, outer: tuple[int, int]) -> tuple[Written | None, str]:
    """What is written from the arguments of a call to the name of the next, and between what holds both calls."""
    first, second = _place(two, 0, 0), _place(two, 1, 0)
    if first is None or second is None or second.name[0] < first.arguments[1]:
        return None, ""
    begins = _pieces(two[: first.name[0]]) == _pieces(one[: place.name[0]])
    ends = _pieces(two[second.arguments[1] :]) == _pieces(one[place.arguments[1] :])
    if not begins or not ends:
        return None, ""
    low = first.arguments[1] + outer[1] - place.arguments[1]
    high = second.name[0] - (place.name[0] - outer[0])
    return _pieces(two[first.arguments[1] : second.name[0]]), two[low:high].strip()


def _borders(before: str, after: str, gap: str) -> tuple[tuple[str, str], tuple[str, str]] | None:
    """What is around all calls and what around each, from what is before, after and between them. None if that is unclear."""
    splits = [(gap[:at].rstrip(), gap[at:].lstrip()) for at in range(len(gap))]
    fitting = [(close, start) for close, start in splits if after.startswith(close) and before.endswith(start)]
    whole = (pair for pair in fitting if all(one.count("<") == one.count(">") for one in pair))  # no border inside a tag
    pair = next(whole, next(iter(fitting), None))
    if pair is None:
        return None
    close, start = pair
    return (before.removesuffix(start).strip(), after.removeprefix(close).strip()), (start, close)


def _pieces(text: str) -> Written:
    """A text with its ids taken out."""
    parts = re.split("|".join(_IDS), text)
    return tuple(piece for part in parts for piece in (part, None))[:-1]


def _shows_results(template: Renders, *, as_text: bool) -> bool:
    result = {"role": "tool", "tool_call_id": _IDS[0], "name": _NAMES[0], "content": PROBE}
    turns: Sequence[_Turn] = [_QUESTION, _calls(1, as_text=as_text), result]
    try:
        return PROBE in template.render_turns(turns, _TOOLS, answer_next=True)
    except ModelError:
        return False
