"""Turns of a conversation, from and to the objects that messages and ShareGPT rows hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from tunesmith.data.rows.entry import FormatError, Speaker, ToolCall, Turn, type_name

__all__ = ["ROLES", "as_messages", "as_sharegpt", "turn_from", "turns_from"]

ROLES: dict[str, Speaker] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "human": "user",
    "question": "user",
    "q": "user",
    "prompter": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "bot": "assistant",
    "model": "assistant",
    "ai": "assistant",
    "chatgpt": "assistant",
    "answer": "assistant",
    "a": "assistant",
    "function_call": "assistant",
    "tool_call": "assistant",
    "tool": "tool",
    "function": "tool",
    "observation": "tool",
    "ipython": "tool",
}
_CALLS = ("function_call", "tool_call")
_ROLE_KEYS = ("role", "from", "speaker")
_TEXT_KEYS = ("content", "value", "text")
_KNOWN = frozenset([*_ROLE_KEYS, *_TEXT_KEYS, "tool_calls", "function_call", "tool_call_id"])
_SHAREGPT: dict[Speaker, str] = {"system": "system", "user": "human", "assistant": "gpt", "tool": "observation"}


def turns_from(value: object) -> tuple[Turn, ...]:
    """The turns of a list of objects. FormatError for anything else."""
    if not isinstance(value, Sequence) or isinstance(value, str):
        raise FormatError(f"its conversation must be a list of turns, not {type_name(value)}")
    return tuple(turn_from(turn) for turn in value)


def turn_from(turn: object) -> Turn:
    """One turn of an object with a role (`role`, `from`, `speaker`) and a text (`content`, `value`, `text`).

    Parts of a text are joined by line breaks. FormatError for unknown roles, other things than text, and silent turns.
    """
    if not isinstance(turn, Mapping):
        raise FormatError(f"a turn must be an object with role and content, not {type_name(turn)}")
    said = next((turn[key] for key in _ROLE_KEYS if turn.get(key)), None)
    name = str(said).strip().lower()
    role = ROLES.get(name)
    if role is None:
        raise FormatError(f"unknown role {str(said)[:40]!r}; known are system, user, assistant and tool")
    content = _content(next((turn[key] for key in _TEXT_KEYS if key in turn), None), role)
    if name in _CALLS:
        calls, content = _calls_from_text(content), ""
    else:
        calls = _calls(turn)
    if content is None:
        if not calls:
            raise FormatError(f"the turn of the {role} has no text")
        content = ""
    answers = turn.get("tool_call_id")
    more = {key: value for key, value in turn.items() if key not in _KNOWN and value is not None}
    return Turn(
        role=role, content=content, tool_calls=calls, tool_call_id=answers if isinstance(answers, str) else "", more=more
    )


def _content(value: object, role: str) -> str | None:
    """Text, the text of parts, or None where there is none; a tool's result may be any JSON."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, list) and all(isinstance(part, str | Mapping) for part in value) and role != "tool":
        return "\n".join(_part(part) for part in value)
    if role == "tool":
        return orjson.dumps(value).decode()
    raise FormatError(f"the turn of the {role} must be text, not {type_name(value)}")


def _part(part: str | Mapping[str, Any]) -> str:
    if isinstance(part, str):
        return part
    kind = part.get("type", "text")
    if kind not in ("text", "input_text", "output_text") or not isinstance(part.get("text"), str):
        raise FormatError(f"a turn holds a part of the kind {str(kind)[:40]!r}; only text is read")
    return str(part["text"])


def _calls(turn: Mapping[str, Any]) -> tuple[ToolCall, ...]:
    listed = turn.get("tool_calls") or []
    if not isinstance(listed, list):
        raise FormatError(f"tool_calls must be a list, not {type_name(listed)}")
    if isinstance(turn.get("function_call"), Mapping):
        listed = [*listed, turn["function_call"]]
    return tuple(_call(call) for call in listed)


def _calls_from_text(text: str | None) -> tuple[ToolCall, ...]:
    """The calls of a ShareGPT turn: its text is one call as JSON, or a list of them."""
    try:
        value = orjson.loads(text or "")
    except orjson.JSONDecodeError as error:
        raise FormatError("its call of a tool is not valid JSON") from error
    return tuple(_call(call) for call in (value if isinstance(value, list) else [value]))


def _call(call: object) -> ToolCall:
    if not isinstance(call, Mapping):
        raise FormatError(f"a call of a tool must be an object, not {type_name(call)}")
    inner = call.get("function") if isinstance(call.get("function"), Mapping) else call
    name = inner.get("name") if isinstance(inner, Mapping) else None
    if not isinstance(inner, Mapping) or not isinstance(name, str) or not name:
        raise FormatError("a call of a tool has no name")
    id = call.get("id")
    return ToolCall(
        name=name, arguments=inner.get("arguments", inner.get("parameters", {})), id=id if isinstance(id, str) else ""
    )


def as_messages(turns: Sequence[Turn]) -> list[dict[str, Any]]:
    """Turns as `{"role", "content"}` objects; calls as OpenAI's `tool_calls`."""
    rows = []
    for turn in turns:
        row: dict[str, Any] = {"role": turn.role, "content": turn.content}
        if turn.tool_calls:
            row["tool_calls"] = [_openai_call(call) for call in turn.tool_calls]
        if turn.tool_call_id:
            row["tool_call_id"] = turn.tool_call_id
        rows.append({**turn.more, **row})
    return rows


def _openai_call(call: ToolCall) -> dict[str, Any]:
    named = {"id": call.id} if call.id else {}
    return {**named, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}


def as_sharegpt(turns: Sequence[Turn]) -> tuple[list[dict[str, Any]], list[str]]:
    """Turns as `{"from", "value"}` objects, and what they cannot hold: ids of calls. FormatError for words beside a call."""
    rows: list[dict[str, Any]] = []
    lost = []
    for turn in turns:
        if turn.tool_calls:
            if turn.content:
                raise FormatError("a turn has both text and a tool call, which ShareGPT rows cannot hold")
            calls = [{"name": call.name, "arguments": call.arguments} for call in turn.tool_calls]
            value = orjson.dumps(calls[0] if len(calls) == 1 else calls).decode()
            rows.append({**turn.more, "from": "function_call", "value": value})
        else:
            rows.append({**turn.more, "from": _SHAREGPT[turn.role], "value": turn.content})
        if turn.tool_call_id or any(call.id for call in turn.tool_calls):
            lost.append("ids of tool calls")
    return rows, lost
