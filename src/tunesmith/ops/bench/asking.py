"""A window of requests to a server over HTTP: so many clients, each of which asks again as soon as it is answered."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from tunesmith.core.errors import EngineError
from tunesmith.core.records import Message
from tunesmith.engines.openai_api import wire_messages
from tunesmith.serve.ask import Ask, Limits, read_chat
from tunesmith.serve.engine import Usage
from tunesmith.serve.engines.forward import Forward
from tunesmith.serve.errors import ApiError

__all__ = ["Answered", "Window", "ask_window", "only_model"]

Conversation = tuple[Message, ...]
_REASON = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """A request. `first_s`: from its start to the first piece of the answer, `seconds`: to its end. `tokens`: by the server's
    own count, None where it gives none. `failed`: why there is no whole answer; then the other figures count for nothing."""

    seconds: float
    first_s: float | None = None
    tokens: int | None = None
    failed: str = ""

    @property
    def tokens_per_s(self) -> float | None:
        """As the client sees it: of the tokens after the first."""
        if self.failed or self.first_s is None or not self.tokens or self.tokens < 2 or self.seconds <= self.first_s:
            return None
        return (self.tokens - 1) / (self.seconds - self.first_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """What one option did in one round with so many clients. `seconds`: from the first request to the end of the last."""

    round: int
    clients: int
    seconds: float
    requests: tuple[Answered, ...]

    @property
    def failures(self) -> tuple[str, ...]:
        """Why requests failed, one for each."""
        return tuple(one.failed for one in self.requests if one.failed)

    @property
    def tokens_per_s(self) -> float | None:
        """Of all clients together; None if a request failed or a server does not count."""
        counts = [one.tokens for one in self.requests]
        if self.failures or self.seconds <= 0 or None in counts:
            return None
        return sum(count or 0 for count in counts) / self.seconds or None


def ask_window(
    url: str,
    model: str,
    prompts: Sequence[Conversation],
    *,
    clients: int,
    tokens: int,
    warm_up: Sequence[Conversation] = (),
    round: int = 0,
    clock: Callable[[], float] = time.perf_counter,
) -> Window:
    """Ask for a streamed answer of up to `tokens` to every prompt, in this order. `warm_up` is asked before and left out.

    Nothing is asked for but the number of tokens and a seed, so that a server answers as it does in use.
    """
    return asyncio.run(_window(url, model, prompts, clients, tokens, warm_up, round, clock))


async def _window(
    url: str,
    model: str,
    prompts: Sequence[Conversation],
    clients: int,
    tokens: int,
    warm_up: Sequence[Conversation],
    round: int,
    clock: Callable[[], float],
) -> Window:
    server = Forward(url, name="server", api_key=os.environ.get("TUNESMITH_UPSTREAM_KEY", ""))
    try:
        await _all(server, [_ask(model, one, 2, at) for at, one in enumerate(warm_up)], clients, clock)
        asked = [_ask(model, one, tokens, at) for at, one in enumerate(prompts)]
        begin = clock()
        requests = await _all(server, asked, clients, clock)
        return Window(round=round, clients=clients, seconds=clock() - begin, requests=tuple(requests))
    finally:
        await server.close()


async def _all(server: Forward, asked: Sequence[Ask], clients: int, clock: Callable[[], float]) -> list[Answered]:
    found: list[Answered | None] = [None] * len(asked)
    places: Iterator[int] = iter(range(len(asked)))

    async def client() -> None:
        for at in places:
            found[at] = await _one(server, asked[at], clock)

    await asyncio.gather(*(client() for _ in range(min(clients, len(asked)))))
    return [one for one in found if one is not None]


async def _one(server: Forward, ask: Ask, clock: Callable[[], float]) -> Answered:
    begin, first, tokens = clock(), None, None
    try:
        async for piece in server.generate(ask.model, ask):
            if isinstance(piece, Usage):
                tokens = piece.completion or None
            elif first is None:
                first = clock() - begin
    except (EngineError, ApiError) as error:
        what = error.message if isinstance(error, ApiError) else error.problems[0].what
        return Answered(seconds=clock() - begin, failed=what[:_REASON])
    return Answered(seconds=clock() - begin, first_s=first, tokens=tokens)


def _ask(model: str, conversation: Conversation, tokens: int, seed: int) -> Ask:
    messages = wire_messages(conversation)
    body = {"model": model, "messages": messages, "max_tokens": tokens, "seed": seed, "stream": True}
    return read_chat(body, Limits())


def only_model(url: str) -> str:
    """The model of a server that has one. EngineError if nothing answers there, or it has several."""

    async def listed() -> list[str]:
        return [str(one["id"]) for one in await Forward(url, api_key=os.environ.get("TUNESMITH_UPSTREAM_KEY", "")).models()]

    names = asyncio.run(listed())
    if len(names) == 1:
        return names[0]
    raise EngineError(
        "the server has not one model",
        value=", ".join(names[:8]) or "none",
        expected="one model, or its name behind the address",
        hint=f"--options {url}#NAME",
    )
