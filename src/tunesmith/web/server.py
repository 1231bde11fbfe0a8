"""The server of the local pages: uvicorn, which says when it answers."""

from __future__ import annotations

from collections.abc import Callable
from threading import Event
from typing import Any

import uvicorn

__all__ = ["PageServer"]


class PageServer(uvicorn.Server):
    """`began` is set, and `on_started` called, once requests are answered."""

    def __init__(self, app: Any) -> None:
        quiet = uvicorn.Config(app, log_level="error", access_log=False, lifespan="off", server_header=False)
        super().__init__(quiet)
        self.began = Event()
        self.on_started: Callable[[], None] = lambda: None

    async def startup(self, sockets: Any = None) -> None:
        """As uvicorn's; then say so."""
        await super().startup(sockets=sockets)
        self.began.set()
        self.on_started()
