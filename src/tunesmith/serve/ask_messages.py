"""The messages of a request: their texts, and what else they carry, which some engines can use and others cannot."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from tunesmith.core.records import Message
from tunesmith.serve.ask_tools import ToolCallBody
from tunesmith.serve.errors import bad_field

__all__ = ["OF_MESSAGES", "TurnBody", "check_text", "read_message", "used_of"]

_ROLES = {"developer": "system"}
_CARRIED = ("name", "refusal", "function_call", "reasoning_content", "annotations", "audio")
OF_MESSAGES = frozenset((*(f"messages.{name}" for name in _CARRIED), "messages.role"))
"""Fields of messages that a model may or may not be told, by the names that engines know them under. `messages.role`: that of
a function, which OpenAI had before tools."""


class TurnBody(BaseModel):
    """A message of a request. `annotations` and `audio` are in every message that OpenAI's client makes a dictionary of."""

    model_config = ConfigDict(extra="forbid", strict=True)

    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: str | list[dict[str, Any]] | None = None
    name: str | None = None
    tool_calls: list[ToolCallBody] | None = None
    tool_call_id: str | None = None
    refusal: str | None = None
    function_call: dict[str, Any] | None = None
    reasoning_content: str | None = None
    annotations: list[Any] | None = None
    audio: dict[str, Any] | None = None


def used_of(turns: Sequence[TurnBody]) -> dict[str, str]:
    """The fields of messages that say something beside their text, each with the place where it is first met. The name of a
    tool is told by its call."""
    found: dict[str, str] = {}
    for at, turn in enumerate(turns):
        for name in _CARRIED:
            if getattr(turn, name) and not (name == "name" and turn.role in ("tool", "function")):
                found.setdefault(f"messages.{name}", f"messages[{at}].{name}")
        if turn.role == "function":
            found.setdefault("messages.role", f"messages[{at}].role")
    return found


def read_message(turn: TurnBody, at: int) -> Message:
    """The text of a turn. Turns of tools are kept as texts here; engines that forward read the body."""
    parts = turn.content
    if isinstance(parts, list):
        for number, part in enumerate(parts):
            if part.get("type") != "text" or not isinstance(part.get("text"), str):
                raise bad_field(
                    f"messages[{at}].content", f"parts of the kind {part.get('type')!r} are not supported, only text"
                )
            if odd := sorted(part.keys() - {"type", "text"}):
                param = f"messages[{at}].content[{number}].{odd[0]}"
                raise bad_field(param, f"unknown field: {param}", code="unknown_parameter")
        text = "".join(part["text"] for part in parts)
    else:
        text = parts or ""
    if parts is None and not (turn.tool_calls or turn.function_call or turn.refusal):
        raise bad_field(f"messages[{at}].content", "a message needs content")
    if turn.tool_call_id is not None and turn.role != "tool":
        raise bad_field(f"messages[{at}].tool_call_id", "only a message of the role tool answers a call")
    check_text(text, f"messages[{at}].content")
    role = _ROLES.get(turn.role, turn.role)
    return Message(role="user" if role in ("tool", "function") else role, content=text)  # type: ignore[arg-type]


def check_text(text: str, param: str) -> None:
    """ApiError 400 for a text that no tokenizer should get."""
    if "\0" in text:
        raise bad_field(param, f"{param} contains a NUL character")
