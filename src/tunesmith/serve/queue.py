"""The queue before an engine: bounded, and fair by key. Whoever sends many requests waits behind those who send few."""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tunesmith.serve.errors import ApiError

__all__ = ["FairQueue"]


class FairQueue:
    """At most `at_once` hold a place, at most `most_waiting` wait; places are given to the keys in turn.

    `seconds`: a running mean of how long a place is held, from which Retry-After is estimated.
    """

    def __init__(self, at_once: int, most_waiting: int) -> None:
        self.at_once, self.most_waiting = at_once, most_waiting
        self.running = self.waiting = 0
        self.seconds = 0.0
        self._keys: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()

    @asynccontextmanager
    async def place(self, key: str) -> AsyncIterator[None]:
        """Hold a place for the length of a block. ApiError 429 if too many wait."""
        await self._enter(key)
        begin = asyncio.get_running_loop().time()
        try:
            yield
        finally:
            held = asyncio.get_running_loop().time() - begin
            self.seconds = held if not self.seconds else 0.9 * self.seconds + 0.1 * held
            self._leave()

    async def _enter(self, key: str) -> None:
        if self.running < self.at_once and not self.waiting:
            self.running += 1
            return
        if self.waiting >= self.most_waiting:
            turn = (self.waiting / self.at_once + 1) * self.seconds
            raise ApiError(
                429,
                "too many requests are waiting; try again later",
                code="queue_full",
                retry_after_s=min(max(turn, 1.0), 60.0),
            )
        turn_comes: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._keys.setdefault(key, deque()).append(turn_comes)
        self.waiting += 1
        try:
            await turn_comes
        except asyncio.CancelledError:
            if turn_comes.done() and not turn_comes.cancelled():
                self._leave()  # the place came in the same moment
            elif turn_comes in self._keys.get(key, ()):  # else a place was offered to it meanwhile, and went to the next one
                self._remove(key, turn_comes)
            raise

    def _remove(self, key: str, waiter: asyncio.Future[None]) -> None:
        self._keys[key].remove(waiter)
        self.waiting -= 1
        if not self._keys[key]:
            del self._keys[key]

    def _leave(self) -> None:
        """Hand the place to the next key's oldest waiter, or free it."""
        while self._keys:
            key, waiters = next(iter(self._keys.items()))
            waiter = waiters.popleft()
            self.waiting -= 1
            if not waiters:
                del self._keys[key]
            if waiter.done():  # it was given up a moment ago: the turn is still this key's
                continue
            if waiters:
                self._keys.move_to_end(key)
            waiter.set_result(None)
            return
        self.running -= 1
