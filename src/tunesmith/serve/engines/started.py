"""A server that we start and watch (llama.cpp, vLLM): requests are passed on to it; when it has ended, it is started again."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from threading import Event
from typing import Generic, Protocol, TypeVar

from tunesmith.core.errors import EngineError, TunesmithError
from tunesmith.core.records import Message
from tunesmith.serve.ask import Ask
from tunesmith.serve.engine import Delta, Usage
from tunesmith.serve.engines.forward import Forward
from tunesmith.serve.errors import ApiError, bad_field

__all__ = ["Server", "StartedEngine", "start_engine"]

_LOG = logging.getLogger("tunesmith.serve")
_MOST_LIVES, _WITHIN_S = 3, 120.0  # so many lives that took less than that together are followed by a pause of that length
_PATIENCE_S = 1.0  # until a process whose connection broke has ended


class Server(Protocol):
    """A server in a process of its own."""

    def check_alive(self, *, patience_s: float = 0.0) -> None:
        """EngineError with the end of its log if its process has ended, or ends within `patience_s`."""

    def close(self) -> None:
        """Stop it. May be repeated."""


S = TypeVar("S", bound=Server)


async def start_engine(
    start: Callable[[Event], S],
    way: Callable[[S], Forward],
    prompt: Callable[[S, str, Sequence[Message]], Sequence[int]],
    *,
    context: int,
    clock: Callable[[], float] = time.monotonic,
) -> StartedEngine[S]:
    """The engine, once its server answers. `context`: tokens of prompt and answer together. Raises what `start` raises.

    `start` runs in a thread and gives up when its event is set; `way` makes what passes requests on to a server; `prompt` gives
    the token ids that a server makes of a conversation for a target.
    """
    return StartedEngine(await _started(start), start, way, prompt, context=context, clock=clock)


async def _started(start: Callable[[Event], S]) -> S:
    given_up = Event()
    work = asyncio.ensure_future(asyncio.to_thread(start, given_up))
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        given_up.set()
        with suppress(TunesmithError):
            (await work).close()
        raise


class StartedEngine(Generic[S]):
    """See `start_engine`. `server`: the one that runs now."""

    def __init__(
        self,
        server: S,
        start: Callable[[Event], S],
        way: Callable[[S], Forward],
        prompt: Callable[[S, str, Sequence[Message]], Sequence[int]],
        *,
        context: int,
        clock: Callable[[], float],
    ) -> None:
        self.server, self._start, self._way, self._prompt, self._context = server, start, way, prompt, context
        self._forward, self._clock, self._changed = way(server), clock, clock()
        self._lives: deque[float] = deque(maxlen=_MOST_LIVES)
        self._starting: asyncio.Task[None] | None = None
        self._ended: TunesmithError | None = None
        self.name, self.honours, self.at_once = self._forward.name, self._forward.honours, self._forward.at_once

    # --- the server's life ----------------------------------------------------------------------------------------------

    async def _running(self) -> Forward:
        """The way to the server, started again if it has ended. ApiError 503 if it keeps ending, or what its start raises."""
        if self._starting is None:
            self._begin_if_ended()
        if self._starting is not None:
            await asyncio.shield(self._starting)  # a client that goes away does not stop the start
        return self._forward

    def _begin_if_ended(self) -> None:
        try:
            self.server.check_alive()
        except EngineError as error:
            if self._ended is None:
                self._died(error, self._clock() - self._changed)
            left = self._changed + _WITHIN_S - self._clock()
            if len(self._lives) == _MOST_LIVES and sum(self._lives) < _WITHIN_S and left > 0:
                what = f"{self.name} ended {_MOST_LIVES} times in a row and is started again later"
                raise ApiError(503, what, code="model_unavailable", retry_after_s=left) from error
            self._starting = asyncio.ensure_future(self._start_again())
            self._starting.add_done_callback(_hear)

    def _died(self, error: TunesmithError, lived_s: float) -> None:
        _LOG.error("%s", error)  # with the end of its log, which clients are not told
        self._ended, self._changed = error, self._clock()
        self._lives.append(lived_s)

    async def _start_again(self) -> None:
        try:
            await self._forward.close()
            await asyncio.to_thread(self.server.close)
            self.server = await _started(self._start)
            self._forward, self._ended, self._changed = self._way(self.server), None, self._clock()
        except TunesmithError as error:
            self._died(error, 0.0)
            raise
        finally:
            self._starting = None

    def _ends(self) -> bool:
        try:
            self.server.check_alive(patience_s=_PATIENCE_S)
        except EngineError:
            return True
        return False

    async def health(self) -> str:
        """Empty while the process runs."""
        try:
            self.server.check_alive()
        except EngineError as error:
            return (self._ended or error).problems[0].what
        return ""

    async def close(self) -> None:
        """Stop the process, or its start."""
        if self._starting is not None:
            self._starting.cancel()
            with suppress(asyncio.CancelledError, TunesmithError):
                await self._starting
        await self._forward.close()
        await asyncio.to_thread(self.server.close)

    # --- requests -------------------------------------------------------------------------------------------------------

    async def generate(self, target: str, ask: Ask) -> AsyncIterator[Delta | Usage]:
        """See `serve.engine.Engine`. If the server ends before the first piece, it is started again and asked once more."""
        if ask.max_tokens is not None and ask.max_tokens > self._context:
            message = f"this model's context is {self._context} tokens, and {ask.max_tokens} were asked for"
            raise bad_field("max_tokens", message, code="context_length_exceeded")
        forward, begun = await self._running(), False
        try:
            async for piece in forward.generate(target, ask):
                begun = True
                yield piece
            return
        except (EngineError, ApiError) as error:
            is_request = isinstance(error, ApiError) and error.status < 500
            if is_request or not await asyncio.to_thread(self._ends):
                raise
            if begun:
                with suppress(ApiError):
                    self._begin_if_ended()  # the next request then waits less
                raise
        async for piece in (await self._running()).generate(target, ask):
            yield piece

    async def embed(self, target: str, texts: Sequence[str]) -> tuple[list[list[float]], int]:
        """ApiError: a model that writes gives no embeddings."""
        raise bad_field("model", "this model writes answers; it gives no embeddings", code="unsupported_model")

    async def prompt_ids(self, target: str, messages: Sequence[Message]) -> tuple[int, ...]:
        """As the server makes them."""
        return tuple(await asyncio.to_thread(self._prompt, self.server, target, messages))

    async def prepare(self, target: str, *, pin: bool = False) -> None:
        """Nothing: all models are in memory from the start."""


def _hear(start: asyncio.Task[None]) -> None:
    """A start that nobody waited for has failed: that is logged, and the next request is told."""
    if not start.cancelled():
        start.exception()
