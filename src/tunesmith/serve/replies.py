"""Answers as OpenAI's clients read them: whole, or as server-sent events."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from tunesmith.serve.ask import Ask
from tunesmith.serve.engine import CallsOfTools, Delta, Finish, LogProb, TextPlaces, Usage
from tunesmith.serve.pipeline import Answer, Call

__all__ = ["DONE", "Told", "chunks", "event", "whole"]

DONE = b"data: [DONE]\n\n"


@dataclass(slots=True)
class Told:
    """What was sent of an answer, for metrics and the log. `first_s`: time from the request to the first text."""

    usage: Usage = field(default_factory=lambda: Usage(0, 0))
    finishes: list[str] = field(default_factory=list)
    first_s: float | None = None
    last_s: float = 0.0
    pieces: int = 0

    def came_in_pieces(self, stream: bool) -> bool:
        """Whether its first token was heard before its last: a server behind an address sends what is not a stream at once."""
        return stream or self.pieces > len(self.finishes)

    def hear(self, call: Call, piece: Delta | Usage) -> None:
        """Count a piece."""
        now = time.monotonic() - call.begun
        if isinstance(piece, Usage):
            self.usage = piece
            return
        self.pieces += not piece.is_empty
        if self.first_s is None and not piece.is_empty:
            self.first_s = now
        self.last_s = now
        if piece.finish:
            self.finishes.append(piece.finish)


@dataclass(slots=True)
class _Choice:
    texts: list[str] = field(default_factory=list)
    logprobs: list[LogProb] = field(default_factory=list)
    finish: Finish | None = None
    extra: dict[str, Any] = field(default_factory=dict)
    calls: CallsOfTools = field(default_factory=CallsOfTools)

    def hear(self, piece: Delta) -> None:
        """Take in a piece."""
        self.texts.append(piece.text)
        self.logprobs += piece.logprobs
        self.finish = piece.finish or self.finish
        self.calls.hear(piece)
        self.extra |= piece.extra or {}
        if self.calls.whole:
            self.extra["tool_calls"] = self.calls.whole


async def whole(call: Call, answer: Answer, told: Told) -> dict[str, Any]:
    """The body of an answer that is not streamed."""
    choices: dict[int, _Choice] = {}
    async for piece in answer.pieces:
        told.hear(call, piece)
        if isinstance(piece, Delta):
            choices.setdefault(piece.index, _Choice()).hear(piece)
    form = _chat_choice if call.ask.kind == "chat" else _completion_choice
    return {
        **_head(call, answer, streamed=False),
        "choices": [form(index, choices[index], call.ask) for index in sorted(choices)],
        "usage": _usage(told.usage),
    }


async def chunks(call: Call, answer: Answer, told: Told) -> AsyncIterator[bytes]:
    """The events of an answer that is streamed, each as it is made, without the last `[DONE]`."""
    head = _head(call, answer, streamed=True)
    if call.ask.include_usage:
        head["usage"] = None
    begun: set[int] = set()
    places: dict[int, TextPlaces] = {}
    async for piece in answer.pieces:
        told.hear(call, piece)
        if isinstance(piece, Usage):
            if call.ask.include_usage:
                yield event({**head, "choices": [], "usage": _usage(piece)})
        elif piece.is_empty:
            continue
        elif call.ask.kind == "chat":
            role = {} if piece.index in begun else {"role": "assistant"}
            begun.add(piece.index)
            empty = None if "tool_calls" in (piece.extra or {}) else ""
            delta = {**role, **({"content": piece.text or empty} if piece.text or role else {}), **(piece.extra or {})}
            logprobs = {"content": _chat_logprobs(piece.logprobs), "refusal": None} if piece.logprobs else None
            choice = {"index": piece.index, "delta": delta, "logprobs": logprobs, "finish_reason": piece.finish}
            yield event({**head, "choices": [choice]})
        else:
            own = places.setdefault(piece.index, TextPlaces())
            logprobs = _completion_logprobs(piece.logprobs, own) if piece.logprobs else None
            choice = {"index": piece.index, "text": piece.text, "logprobs": logprobs, "finish_reason": piece.finish}
            yield event({**head, "choices": [choice]})


def event(body: dict[str, Any]) -> bytes:
    """One server-sent event."""
    return b"data: " + orjson.dumps(body) + b"\n\n"


def _head(call: Call, answer: Answer, *, streamed: bool) -> dict[str, Any]:
    if call.ask.kind == "chat":
        kind, prefix = "chat.completion.chunk" if streamed else "chat.completion", "chatcmpl"
    else:
        kind, prefix = "text_completion", "cmpl"
    return {
        "id": f"{prefix}-{call.id}",
        "object": kind,
        "created": int(time.time()),
        "model": answer.version.full_name,
        "system_fingerprint": f"tunesmith-{answer.version.id}",
    }


def _chat_choice(index: int, choice: _Choice, ask: Ask) -> dict[str, Any]:
    text = "".join(choice.texts)
    message = {"role": "assistant", "content": text or (None if choice.extra.get("tool_calls") else ""), "refusal": None}
    logprobs = None if ask.logprobs is None else {"content": _chat_logprobs(choice.logprobs), "refusal": None}
    return {"index": index, "message": message | choice.extra, "logprobs": logprobs, "finish_reason": choice.finish or "stop"}


def _completion_choice(index: int, choice: _Choice, ask: Ask) -> dict[str, Any]:
    logprobs = None if ask.logprobs is None else _completion_logprobs(choice.logprobs, TextPlaces())
    return {"index": index, "text": "".join(choice.texts), "logprobs": logprobs, "finish_reason": choice.finish or "stop"}


def _chat_logprobs(tokens: Sequence[LogProb]) -> list[dict[str, Any]]:
    return [
        {
            "token": one.token,
            "logprob": one.log_p,
            "bytes": list(one.raw),
            "top_logprobs": [{"token": token, "logprob": log_p, "bytes": list(raw)} for token, log_p, raw in one.top],
        }
        for one in tokens
    ]


def _completion_logprobs(tokens: Sequence[LogProb], places: TextPlaces) -> dict[str, Any]:
    return {
        "tokens": [_spelled(one.token, one.raw) for one in tokens],
        "token_logprobs": [one.log_p for one in tokens],
        "top_logprobs": [None if one.log_p is None else _by_text(one) for one in tokens],
        "text_offset": [places.begin(one.raw, one.begin) for one in tokens],
    }


def _by_text(one: LogProb) -> dict[str, float]:
    """The likeliest tokens at a place; of two with one text the likelier."""
    found: dict[str, float] = {}
    for token, log_p, raw in one.top:
        found.setdefault(_spelled(token, raw), log_p)
    return found


def _spelled(token: str, raw: bytes) -> str:
    """A token that is no whole character as OpenAI's older models have it: there is no field for its bytes here."""
    try:
        raw.decode()
    except UnicodeDecodeError:
        return "bytes:" + "".join(f"\\x{byte:02x}" for byte in raw)
    return token


def _usage(usage: Usage) -> dict[str, Any]:
    return {
        "prompt_tokens": usage.prompt,
        "completion_tokens": usage.completion,
        "total_tokens": usage.prompt + usage.completion,
        "prompt_tokens_details": {"cached_tokens": usage.cached},
    }
