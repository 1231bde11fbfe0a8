"""Request logs of an OpenAI-compatible server: what was asked and the first answer, as the turns of a conversation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tunesmith.data.text.decode import UnreadableError

__all__ = ["logged_turns"]


def logged_turns(row: Mapping[str, Any]) -> list[object] | None:
    """The turns of one logged call, or None if the row is none: `request.messages`, then `response.choices[0].message`.

    A `body` around either is looked into, as batch files have it; a text completion's `prompt` and `text` count as turns.
    UnreadableError for a call that failed, an answer cut at the token limit, and one that only calls tools.
    """
    request, response = _body(row.get("request")), _body(row.get("response"))
    if request is None or response is None:
        return None
    asked = request.get("messages")
    if not isinstance(asked, list):
        asked = [{"role": "user", "content": request["prompt"]}] if isinstance(request.get("prompt"), str) else []
    choices = response.get("choices")
    first = choices[0] if isinstance(choices, list) and choices else None
    if not asked or not isinstance(first, Mapping):
        raise UnreadableError("the logged call has no answer" if asked else "the logged call has no messages")
    if first.get("finish_reason") == "length":
        raise UnreadableError("its answer was cut at the token limit")
    message = first.get("message")
    text = message.get("content") if isinstance(message, Mapping) else first.get("text")
    if not isinstance(text, str) or not text.strip():
        raise UnreadableError("its answer has no text")
    return [*asked, {"role": "assistant", "content": text}]


def _body(value: object) -> Mapping[str, Any] | None:
    if not isinstance(value, Mapping):
        return None
    inner = value.get("body")
    return inner if isinstance(inner, Mapping) else value
