"""Which adapters are in memory: read when they are first asked for, the least recently used ones put out. Pinned ones stay."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from tunesmith.serve.errors import ApiError

__all__ = ["AdapterPlaces"]


@dataclass(slots=True)
class _Held:
    loaded: asyncio.Future[None]
    users: int = 0
    pinned: bool = field(default=False)


class AdapterPlaces:
    """At most `most` adapters in memory. `load(key)` brings one in and `unload(key)` puts it out; used by one event loop."""

    def __init__(self, most: int, load: Callable[[str], Awaitable[None]], unload: Callable[[str], Awaitable[None]]) -> None:
        self.most = most
        self._load, self._unload = load, unload
        self._held: OrderedDict[str, _Held] = OrderedDict()

    @property
    def keys(self) -> tuple[str, ...]:
        """Of those in memory, the least recently used first."""
        return tuple(self._held)

    @property
    def pinned(self) -> frozenset[str]:
        """Those that stay."""
        return frozenset(key for key, one in self._held.items() if one.pinned)

    @asynccontextmanager
    async def use(self, key: str, *, pin: bool = False) -> AsyncIterator[None]:
        """Have an adapter in memory for the length of a block; `pin` keeps it there for good.

        ApiError 503 if every place is taken by an adapter in use. What `load` raises is raised to all that wait for it.
        """
        held = self._held.get(key)
        if held is None:
            await self._make_room()
            held = self._held.get(key)
        if held is None:
            held = self._held[key] = _Held(asyncio.get_running_loop().create_future())
            held.users += 1
            await self._bring(key, held)
        else:
            held.users += 1
            self._held.move_to_end(key)
        try:
            await asyncio.shield(held.loaded)
            held.pinned = held.pinned or pin
            yield
        finally:
            held.users -= 1

    async def _bring(self, key: str, held: _Held) -> None:
        try:
            await self._load(key)
        except BaseException as error:
            self._held.pop(key, None)
            held.users -= 1
            if isinstance(error, asyncio.CancelledError):
                held.loaded.set_exception(ApiError(503, "the adapter was not loaded; try again", code="model_loading"))
            else:
                held.loaded.set_exception(error)
            held.loaded.exception()  # seen: others may or may not wait for it
            raise
        held.loaded.set_result(None)

    async def _make_room(self) -> None:
        while len(self._held) >= self.most:
            idle = [key for key, one in self._held.items() if not one.users and not one.pinned and one.loaded.done()]
            if not idle:
                raise ApiError(503, "all places for adapters are in use; try again", code="adapters_busy")
            del self._held[idle[0]]
            await self._unload(idle[0])
