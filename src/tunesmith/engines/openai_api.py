"""The part of OpenAI's HTTP interface that engines share: models, completions by token ids, chat by messages."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from tunesmith.core.errors import EngineError
from tunesmith.core.records import Message
from tunesmith.engines.client import Client
from tunesmith.engines.engine import EngineAnswer, EngineRequest

__all__ = ["ask", "check_answered", "check_listed", "listed_models", "wire_messages"]


def wire_messages(messages: Sequence[Message]) -> list[dict[str, str]]:
    """Messages as the interface writes them."""
    return [{"role": message.role, "content": message.content} for message in messages]


def listed_models(client: Client) -> tuple[str, ...]:
    """The models that the server says it serves."""
    return tuple(str(one["id"]) for one in client.get("/v1/models")["data"])


def check_listed(client: Client, model: str, *, engine: str) -> None:
    """EngineError if the server does not list the model."""
    there = listed_models(client)
    if model not in there:
        raise EngineError(
            f"{engine} at {client.url} does not serve this model",
            value=model,
            expected=", ".join(there[:8]) or "a model",
            hint="name one of these models, or start the server with yours",
        )


def check_answered(found: Mapping[str, Any], model: str, *, engine: str) -> None:
    """EngineError if the answer comes from another model than was asked; a server that does not say is believed."""
    if found.get("model") not in (None, "", model):
        raise EngineError(
            f"{engine} answered with another model than was asked",
            value=found["model"],
            expected=model,
            hint="start the server with this model, or name the model that it serves",
        )


def ask(client: Client, request: EngineRequest, model: str, settings: Mapping[str, Any], *, engine: str) -> EngineAnswer:
    """One answer: from `/v1/completions` for token ids, from `/v1/chat/completions` for messages."""
    begin = time.perf_counter()
    payload: dict[str, Any] = {"model": model, "max_tokens": request.max_new_tokens, "stream": False, **settings}
    if request.stop:
        payload["stop"] = list(request.stop)
    if request.ids is not None:
        found = client.post("/v1/completions", {**payload, "prompt": list(request.ids)})
    else:
        found = client.post("/v1/chat/completions", {**payload, "messages": wire_messages(request.messages or ())})
    check_answered(found, model, engine=engine)
    try:
        choice, used = found["choices"][0], found["usage"]
        text = choice["text"] if request.ids is not None else choice["message"]["content"]
        ids = choice.get("token_ids")
        return EngineAnswer(
            text=text or "",
            ids=None if ids is None else tuple(ids),
            finish_reason="length" if choice["finish_reason"] == "length" else "stop",
            ended_by=str(choice["finish_reason"]),
            num_tokens=int(used["completion_tokens"]),
            prompt_tokens=int(used["prompt_tokens"]),
            seconds=time.perf_counter() - begin,
        )
    except (KeyError, IndexError, TypeError) as error:
        raise EngineError(
            f"{engine} answered in a form that is not OpenAI's",
            value=str(found)[:200],
            expected="choices and usage",
            hint="use a server with an OpenAI-compatible interface",
        ) from error
