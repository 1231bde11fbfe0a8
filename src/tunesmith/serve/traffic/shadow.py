"""Shadows: a second model answers the same requests; its answers are kept, never shown.

A shadow begins when the answer that is shown has ended, and only while its engine has room: nobody waits for it, and what it
would delay it is dropped for. Its failures are counted, not seen.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Mapping

from tunesmith.serve.engine import Delta, Usage
from tunesmith.serve.errors import ApiError
from tunesmith.serve.feedback.recording import Log, Recording
from tunesmith.serve.pipeline import Answer, Call, Handler, Pipeline
from tunesmith.serve.queue import FairQueue

__all__ = ["Shadow"]

_MOST_WAITING = 256
_LIMIT_S = 120.0
_LOOK_S = 0.05


class Shadow:
    """The stage, and the task that works off what waits. `counts`: `answered`, `failed`, `dropped`."""

    def __init__(self, shadows: Mapping[str, str], recording: Recording, log: Log, *, limit_s: float = _LIMIT_S) -> None:
        self._shadows, self._recording, self._log, self._limit_s = shadows, recording, log, limit_s
        self._waiting: deque[tuple[Call, str, Handler]] = deque()
        self._more = asyncio.Event()
        self.counts = {"answered": 0, "failed": 0, "dropped": 0}

    async def __call__(self, call: Call, inner: Handler) -> Answer:
        """The answer as it is; at its end the shadow is put into the queue."""
        model = self._shadows.get(call.model)
        answer = await inner(call)
        if model is not None:
            answer.pieces = _Followed(self, call, model, inner, answer.pieces)
        return answer

    def put(self, call: Call, model: str, inner: Handler) -> None:
        """Let a request be asked again later; never waits."""
        if len(self._waiting) >= _MOST_WAITING:
            self._waiting.popleft()
            self.counts["dropped"] += 1
        copied = call.copy(model)
        copied.key = f"shadow of {call.key}"
        self._waiting.append((copied, call.id, inner))
        self._more.set()

    async def work(self, pipeline: Pipeline) -> None:
        """Ask what waits, one at a time, until cancelled."""
        while True:
            await self._more.wait()
            while self._waiting:
                call, id, inner = self._waiting[0]
                if not _has_room(pipeline, call.model):
                    await asyncio.sleep(_LOOK_S)
                    continue
                self._waiting.popleft()
                await self._give_way(pipeline, call, id, inner)
            self._more.clear()

    async def _give_way(self, pipeline: Pipeline, call: Call, id: str, inner: Handler) -> None:
        """Ask, and leave the place as soon as a real request waits for one."""
        asking = asyncio.ensure_future(self._ask(call, id, inner))
        try:
            while not asking.done():
                await asyncio.wait({asking}, timeout=_LOOK_S)
                if not asking.done() and _is_waited_for(pipeline, call.model):
                    self.counts["dropped"] += 1
                    return
        finally:
            asking.cancel()
            await asyncio.wait({asking})

    async def _ask(self, call: Call, id: str, inner: Handler) -> None:
        try:
            async with asyncio.timeout(self._limit_s):
                answer = await inner(call)
                self._recording.keep(call, answer.version.full_name, shadow_of=id)
                heard = self._recording.heard(call, answer.pieces)
                try:
                    async for _ in heard:
                        continue
                finally:
                    answer.pieces = heard
                    await answer.close()
            self.counts["answered"] += 1
        except Exception as error:  # noqa: BLE001 (whatever it is, it is the shadow's own)
            self.counts["failed"] += 1
            self._log("shadow", id=id, model=call.model, failed=f"{type(error).__name__}: {error}"[:300])


class _Followed:
    """The pieces of the answer that is shown; its end puts the shadow into the queue."""

    def __init__(self, shadow: Shadow, call: Call, model: str, inner: Handler, pieces: AsyncIterator[Delta | Usage]) -> None:
        self._shadow, self._call, self._model, self._inner, self._pieces = shadow, call, model, inner, pieces

    def __aiter__(self) -> _Followed:
        return self

    async def __anext__(self) -> Delta | Usage:
        piece = await anext(self._pieces)
        if isinstance(piece, Usage):
            self._shadow.put(self._call, self._model, self._inner)
        return piece

    async def aclose(self) -> None:
        """Close what is read from."""
        close = getattr(self._pieces, "aclose", None)
        if close is not None:
            await close()


def _queue(pipeline: Pipeline, model: str) -> FairQueue | None:
    try:
        return pipeline.queue(pipeline.registry.resolve(model).engine)
    except ApiError:
        return None  # gone: asking it counts the failure


def _has_room(pipeline: Pipeline, model: str) -> bool:
    """Whether the engine has places left over: none waits, and half of them are free."""
    queue = _queue(pipeline, model)
    return queue is None or (queue.waiting == 0 and queue.running * 2 < queue.at_once)


def _is_waited_for(pipeline: Pipeline, model: str) -> bool:
    queue = _queue(pipeline, model)
    return queue is not None and queue.waiting > 0
