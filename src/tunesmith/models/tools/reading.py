"""Calls of tools read from the text of an answer as it grows. What is not a whole call of an offered tool is text."""

from __future__ import annotations

import json
import re
import secrets
import string
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from tunesmith.models.tools.form import ToolForm

__all__ = ["CallReader", "ToolCall", "new_id", "read_json"]

Takes = Callable[[dict[str, Any]], bool]
_ID_LETTERS = string.ascii_letters + string.digits
_NAME = r"\s*(?P<name>[\w.:-]{1,64})"
_DEPTH = 64  # of arguments, as of the body of a request
_MOST_HEAD = 256  # characters between the beginning of a call and its arguments
_More = Literal["more"]
_MORE: _More = "more"  # what is there may become a call


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call: its id, the tool's name, and the arguments as JSON text."""

    id: str
    name: str
    arguments: str

    def streamed(self, index: int) -> dict[str, Any]:
        """As a stream of OpenAI's interface has it: call number `index` of its answer."""
        function = {"name": self.name, "arguments": self.arguments}
        return {"tool_calls": [{"index": index, "id": self.id, "type": "function", "function": function}]}


def new_id() -> str:
    """The id of a call: nine letters and digits, which every template takes."""
    return "".join(secrets.choice(_ID_LETTERS) for _ in range(9))


@dataclass(slots=True)
class _Value:
    """Where a JSON object or list ends, found while its text grows: each character is looked at once."""

    at: int = -1
    stop: int | None = None
    depth: int = 0
    quoted: bool = False
    escaped: bool = False

    def end(self, text: str, begin: int) -> int | None:
        """The place behind the value that begins at `begin`, or None if it is not there yet."""
        self.at = max(self.at, begin)
        while self.stop is None and self.at < len(text):
            letter = text[self.at]
            self.at += 1
            if self.escaped:
                self.escaped = False
            elif self.quoted:
                self.escaped, self.quoted = letter == "\\", letter != '"'
            elif letter == '"':
                self.quoted = True
            elif letter in "{[":
                self.depth += 1
            elif letter in "}]":
                self.depth -= 1
                self.stop = self.at if self.depth == 0 else None
        return self.stop


@dataclass(slots=True)
class CallReader:
    """Feed text with `add`. `offered`: the tools of the request, each with what says whether it takes some arguments.
    `most`: calls after which the answer ends; 0 for any number. `count`: calls read so far."""

    form: ToolForm
    offered: Mapping[str, Takes]
    most: int = 0
    count: int = 0
    _pending: str = ""
    _inside: bool = False  # whether what is pending begins like a call
    _begun: bool = False
    _value: _Value = field(default_factory=_Value)

    @property
    def is_full(self) -> bool:
        """Whether the answer has all the calls that it may have."""
        return 0 < self.most <= self.count

    def add(self, text: str, *, last: bool = False) -> list[str | ToolCall]:
        """What is certain now, in its order. `last`: nothing comes after this text, so nothing is held back."""
        self._pending += text
        found: list[str | ToolCall] = []
        while self._pending and not self.is_full:
            before = (self._pending, self._inside)
            found += self._read_call(last) if self._inside else self._read_text(last)
            if (self._pending, self._inside) == before:
                break
        return [one for one in found if one]

    @property
    def _starts(self) -> list[str]:
        return [text for text in dict.fromkeys((self.form.section[0], self.form.call[0])) if text]

    def _read_text(self, last: bool) -> list[str | ToolCall]:
        """Text up to where a call may begin, white space before it included: that belongs to the call."""
        text = self._pending
        if not self._starts:  # the whole answer is a call, or none
            if not text.strip() and not last:
                return []
            self._inside = not self._begun and text.lstrip()[:1] in ("{", "[")
            self._begun = True
            return [] if self._inside else self._give(len(text))
        places = [at for start in self._starts if (at := text.find(start)) >= 0]
        if places:
            self._inside, self._value = True, _Value()
            return self._give(len(text[: min(places)].rstrip()))
        if last:
            return self._give(0 if self.count and not text.strip() else len(text))
        held = max(n for start in self._starts for n in range(min(len(start), len(text) + 1)) if text.endswith(start[:n]))
        return self._give(len(text[: len(text) - held].rstrip()))

    def _give(self, size: int) -> list[str | ToolCall]:
        piece, self._pending = self._pending[:size], self._pending[size:]
        return [piece]

    def _read_call(self, last: bool) -> list[str | ToolCall]:
        found = self._call(last)
        if found == _MORE and not last:
            return []
        self._inside = False
        if isinstance(found, tuple):
            calls, end = found
            self._pending = self._pending[end:]
            calls = calls[: self.most - self.count] if self.most else calls
            self.count += len(calls)
            return list(calls)
        if not self._starts:
            return self._give(len(self._pending))
        at, start = min((at, start) for start in self._starts if (at := self._pending.find(start)) >= 0)
        return self._give(at + len(start))

    def _call(self, last: bool) -> tuple[list[ToolCall], int] | _More | None:
        """The calls with which the pending text begins and where they end, or None if it does not begin with any."""
        head = self._head()
        if not isinstance(head, tuple):
            return head
        name, begin = head
        if begin == len(self._pending):
            return _MORE
        if self._pending[begin] not in "{[":
            return None
        stop = self._value.end(self._pending, begin)
        if stop is None:
            return _MORE
        end = self._tail(stop, last)
        if not isinstance(end, int):
            return end
        calls = self._made(name, self._pending[begin:stop])
        return None if calls is None else (calls, end)

    def _head(self) -> tuple[str, int] | _More | None:
        """The name before the arguments, if the form has it there, and where the JSON value begins."""
        text, at = self._pending, _skip(self._pending, 0)
        section, call = self.form.section[0], self.form.call[0]
        if section and text.startswith(section, at):
            at = _skip(text, at + len(section))
        if call:
            if not text.startswith(call, at):
                return _MORE if call.startswith(text[at:]) else None
            at = _skip(text, at + len(call))
        if self.form.name_path:
            return "", at
        middle = r"\s*".join(r"[\w-]+" if piece is None else re.escape(piece.strip()) for piece in self.form.middle)
        found = re.compile(_NAME + r"\s*" + middle + r"\s*(?=\{)").match(text, at)
        if found is None:
            return None if "{" in text[at:] or len(text) - at > _MOST_HEAD else _MORE
        return found["name"], found.end()

    def _tail(self, stop: int, last: bool) -> int | _More | None:
        """Where a call ends whose JSON value ends at `stop`. Without its closing tag it is one only at the answer's end."""
        text, at = self._pending, _skip(self._pending, stop)
        if not self._starts:
            return _MORE if not last else len(text) if at == len(text) else None
        call, section = self.form.call[1], self.form.section[1]
        if call and not text.startswith(call, at):
            if not call.startswith(text[at:]):
                return None
            return len(text) if last else _MORE
        end = at + len(call) if call else stop
        at = _skip(text, end)
        if section and text.startswith(section, at):
            return at + len(section)
        return _MORE if section and section.startswith(text[at:]) and not last else end

    def _made(self, name: str, text: str) -> list[ToolCall] | None:
        """The calls of a JSON value. None if one of them is not a call of an offered tool."""
        try:
            value = read_json(text)
        except ValueError:
            return None
        if not self.form.name_path:
            return _each([self._one(name, value)])
        items = value if isinstance(value, list) else [value]
        named = ((_at(item, self.form.name_path), _at(item, self.form.arguments_path)) for item in items)
        return _each([self._one(name, arguments) for name, arguments in named])

    def _one(self, name: Any, arguments: Any) -> ToolCall | None:
        if isinstance(arguments, str):  # some models write the JSON of the arguments as a text
            try:
                arguments = read_json(arguments)
            except ValueError:
                return None
        if not isinstance(arguments, dict) or not isinstance(name, str):
            return None
        takes = self.offered.get(name)
        if takes is None or not takes(arguments):
            return None
        return ToolCall(new_id(), name, json.dumps(arguments, ensure_ascii=False))


def read_json(text: str) -> Any:
    """The value of a JSON text. ValueError for what others do not read: NaN, half a pair of surrogates, more than 64 levels."""
    try:
        value = json.loads(text, parse_constant=_refuse)
        json.dumps(value, ensure_ascii=False).encode()
    except RecursionError as error:
        raise ValueError("it is nested too deep") from error
    level, depth = [value], 0
    while level:
        depth += 1
        if depth > _DEPTH + 1:
            raise ValueError("it is nested too deep")
        below = (one.values() if isinstance(one, dict) else one for one in level if isinstance(one, dict | list))
        level = [child for children in below for child in children]
    return value


def _each(calls: list[ToolCall | None]) -> list[ToolCall] | None:
    whole = [call for call in calls if call is not None]
    return whole if whole and len(whole) == len(calls) else None


def _at(item: Any, path: tuple[str, ...]) -> Any:
    for key in path:
        item = item.get(key) if isinstance(item, dict) else None
    return item


def _skip(text: str, at: int) -> int:
    """The first place from `at` on that is not white space."""
    while at < len(text) and text[at].isspace():
        at += 1
    return at


def _refuse(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")
