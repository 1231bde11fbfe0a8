"""How a request is answered: stages around the engines. Traffic (splits, shadows, routing) and feedback are stages.

A stage is a function of the call and of the stages after it: it may change `call.model` before, wrap the answer after, ask
again with another model, or send a copy of the call in the background.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from typing import Any

from tunesmith.serve.ask import Ask
from tunesmith.serve.engine import Delta, Engine, Usage
from tunesmith.serve.errors import ApiError
from tunesmith.serve.queue import FairQueue
from tunesmith.serve.registry import Registry, Version

__all__ = ["Answer", "Call", "Handler", "Pipeline", "Stage"]


def _new_id() -> str:
    return uuid.uuid4().hex


@dataclass(slots=True, kw_only=True)
class Call:
    """One request on its way. `model`: what it asks for now, which a stage may change. `key`: name of the client's key, for
    the fair queue. `id`: that of the response. `stall_s`: seconds of silence in the middle of the answer after which it ends
    with an error; 0 for no limit, None for that of the model. `notes`: what stages leave for others and for the log."""

    ask: Ask
    model: str
    key: str = ""
    id: str = field(default_factory=_new_id)
    trace_id: str = field(default_factory=_new_id)
    headers: Mapping[str, str] = field(default_factory=dict)
    begun: float = field(default_factory=time.monotonic)
    stall_s: float | None = None
    notes: dict[str, Any] = field(default_factory=dict)

    def copy(self, model: str) -> Call:
        """The same request for another model, under an id of its own."""
        return replace(self, model=model, id=_new_id(), notes={})


@dataclass(slots=True)
class Answer:
    """Which version answers, and its pieces: at least one, then a `Usage`. Whoever takes an answer must close `pieces`, so that
    the engine's place is free again. `headers` go to the client."""

    version: Version
    pieces: AsyncIterator[Delta | Usage]
    headers: dict[str, str] = field(default_factory=dict)

    async def close(self) -> None:
        """Give up what is still to come."""
        close = getattr(self.pieces, "aclose", None)
        if close is not None:
            await close()


Handler = Callable[[Call], Awaitable[Answer]]
Stage = Callable[[Call, Handler], Awaitable[Answer]]
Moved = Callable[[str, str, str | None, str, str], Awaitable[None]]
"""Hears of a moved alias: model, alias, from, to, and why."""


class Pipeline:
    """`stages` from the outermost to the innermost, then the engines. `most_waiting`: in the queue before each engine."""

    def __init__(self, registry: Registry, stages: Sequence[Stage] = (), *, most_waiting: int = 512) -> None:
        self.registry = registry
        self.moved: Moved | None = None
        self.meanings: Callable[[], dict[str, list[dict[str, Any]]]] = dict  # of names, beside those of the registry
        self._most_waiting = most_waiting
        self._queues: dict[int, FairQueue] = {}
        handler: Handler = self._ask_engine
        for stage in reversed(stages):
            handler = _around(stage, handler)
        self._handler = handler

    async def __call__(self, call: Call) -> Answer:
        """The answer, once its first piece is there. ApiError or EngineError before that."""
        return await self._handler(call)

    def queue(self, engine: Engine) -> FairQueue:
        """The queue before an engine."""
        if id(engine) not in self._queues:
            self._queues[id(engine)] = FairQueue(engine.at_once, self._most_waiting)
        return self._queues[id(engine)]

    @property
    def load(self) -> tuple[int, int]:
        """Requests in work, and waiting."""
        return sum(one.running for one in self._queues.values()), sum(one.waiting for one in self._queues.values())

    async def _ask_engine(self, call: Call) -> Answer:
        version = self.registry.resolve(call.model)
        if odd := sorted(call.ask.used - version.engine.honours):
            param = call.ask.places.get(odd[0], odd[0])
            what = f"{param} is not supported by {version.name}, which {version.engine.name} answers for"
            raise ApiError(400, what, code="unsupported_parameter", param=param)
        pieces = self._pieces(call, version)
        first = await anext(pieces)
        return Answer(version, _Begun(first, pieces, call, version))

    async def _pieces(self, call: Call, version: Version) -> AsyncIterator[Delta | Usage]:
        async with AsyncExitStack() as held:
            await held.enter_async_context(self.queue(version.engine).place(call.key))
            call.notes["queued_s"] = time.monotonic() - call.begun
            pieces = version.engine.generate(version.target, call.ask)
            close = getattr(pieces, "aclose", None)
            if close is not None:
                held.push_async_callback(close)
            async for piece in pieces:
                yield piece


class _Begun:
    """Pieces of which the first was taken already. If the next one takes too long, the work is given up."""

    def __init__(self, first: Delta | Usage, rest: AsyncIterator[Delta | Usage], call: Call, version: Version) -> None:
        self._first: Delta | Usage | None = first
        self._rest, self._call, self._version = rest, call, version
        self._stall_s = version.stall_s if call.stall_s is None else call.stall_s

    def __aiter__(self) -> _Begun:
        return self

    async def __anext__(self) -> Delta | Usage:
        if self._first is not None:
            first, self._first = self._first, None
            return first
        if not self._stall_s:
            return await anext(self._rest)
        try:
            async with asyncio.timeout(self._stall_s) as limit:
                return await anext(self._rest)  # its end by the limit frees the engine's place
        except TimeoutError as error:
            if not limit.expired():
                raise
            self._call.notes["stalled"] = True
            message = f"{self._version.name} sent nothing for {self._stall_s:g} s in the middle of its answer"
            raise ApiError(504, message, code="stalled") from error

    async def aclose(self) -> None:
        """Close the rest."""
        await self._rest.aclose()  # type: ignore[attr-defined]


def _around(stage: Stage, inner: Handler) -> Handler:
    async def handler(call: Call) -> Answer:
        return await stage(call, inner)

    return handler
