"""What a row says, whatever format it was written in: the one form between any two formats."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

__all__ = ["Entry", "FormatError", "Kind", "Speaker", "ToolCall", "Turn", "type_name"]

Speaker = Literal["system", "user", "assistant", "tool"]
Kind = Literal["conversation", "preference", "label", "ranking", "text"]


class FormatError(ValueError):
    """A row that a format cannot read or hold; the message is the reason, in words for the user."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCall:
    """A call of a tool by the assistant. `arguments` stay as they were written: JSON text or an object."""

    name: str
    arguments: Any
    id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One turn. `tool_call_id` says which call a tool answers; `more` are further fields of the turn (`name`, `weight`)."""

    role: Speaker
    content: str
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str = ""
    more: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One row. Texts are exactly as written, blanks included.

    `turns`: a whole conversation; of a preference, label or ranking, the turns before the answers.
    `answers`: chosen and rejected; the one that is labelled; or the ranked ones, best first (with `scores`, if there are any).
    `tools`: the definitions of tools, as written. `extras`: every field of the row that the format itself does not name.
    """

    kind: Kind
    turns: tuple[Turn, ...] = ()
    answers: tuple[str, ...] = ()
    label: bool | None = None
    scores: tuple[float, ...] = ()
    text: str = ""
    tools: Any = None
    extras: Mapping[str, Any] = field(default_factory=dict)


def type_name(value: object) -> str:
    """The type of a JSON value in words."""
    names = {
        "NoneType": "null",
        "int": "a number",
        "float": "a number",
        "bool": "true or false",
        "list": "a list",
        "str": "text",
        "dict": "an object",
    }
    return names.get(type(value).__name__, type(value).__name__)
