"""The server of `serve` as an ASGI application, for programs that bring the address themselves: Ray Serve, uvicorn."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tunesmith.core.errors import EngineError, TunesmithError

if TYPE_CHECKING:
    from tunesmith.api.serving import Wanted

__all__ = ["AsgiApp", "asgi_app"]

_LOG = logging.getLogger("tunesmith.serve")
_Message = MutableMapping[str, Any]
_Receive = Callable[[], Awaitable[_Message]]
_Send = Callable[[_Message], Awaitable[None]]


class AsgiApp:
    """The application. Models are opened when the program begins its lifespan, and closed when it ends it; requests in work
    must have ended by then."""

    def __init__(self, wanted: Wanted) -> None:
        self._wanted = wanted
        self._gate: Any = None
        self._registry: Any = None

    async def __call__(self, scope: _Message, receive: _Receive, send: _Send) -> None:
        """One request, or the lifespan."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif self._gate is None:
            raise RuntimeError("the application's lifespan has not begun, so no model is open")
        else:
            await self._gate(scope, receive, send)

    async def check_health(self) -> None:
        """EngineError if an engine cannot work."""
        for engine in {id(version.engine): version.engine for version in self._registry or ()}.values():
            if wrong := await engine.health():
                raise EngineError(wrong, value=engine.name, expected="an engine that works", hint="the server's log says why")

    async def _live(self, receive: _Receive, send: _Send) -> None:
        from tunesmith.api.serving import open_gate

        await receive()
        step = "startup"
        try:
            async with open_gate(self._wanted) as (gate, registry, refused):
                self._gate, self._registry = gate, registry
                for reason in refused:
                    _LOG.error("left out: %s", reason)
                gate.service.ready = True
                await send({"type": "lifespan.startup.complete"})
                step = "shutdown"
                await receive()
                gate.service.ready = False
        except TunesmithError as error:
            await send({"type": f"lifespan.{step}.failed", "message": str(error)})
            return
        await send({"type": "lifespan.shutdown.complete"})


def asgi_app(
    references: Sequence[str] = (), *, project: str | Path = ".", recipe: str | Path | None = None, **settings: Any
) -> AsgiApp:
    """The application that serves what `serve` would. `host`, `port`, `drain` and `pause` are matters of the program.

    Raises:
        RecipeError: a setting that does not exist or has no such value.
        EngineError: there is no key. Who can reach the address is not known here, so one is needed.
    """
    from tunesmith.api.serving import read_wanted

    wanted = read_wanted(references, Path(project), recipe, settings)
    if not wanted.keys:
        raise EngineError(
            "an application for another program needs a key",
            value="no key",
            expected="at least one key, since others may reach the address",
            hint="set TUNESMITH_SERVE_KEY, or give keys=FILE",
        )
    return AsgiApp(wanted)
