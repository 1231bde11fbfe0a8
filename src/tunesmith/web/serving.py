"""Serving a page to this machine: bound to the loopback address and nothing else."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from threading import Thread
from typing import TYPE_CHECKING

from tunesmith.core.errors import StorageError, TunesmithError

if TYPE_CHECKING:
    from tunesmith.api import Arena

__all__ = ["serve_arena", "serving_arena"]

_LOOPBACK = "127.0.0.1"


def serve_arena(arena: Arena, *, port: int = 0, voter: str = "", ready: Callable[[str], None]) -> None:
    """Serve an arena until Ctrl-C. `port` 0 takes a free one; `ready` is called with the address once it answers.

    TunesmithError if the port is taken, or without the libraries of the extra `web`.
    """
    with _server(arena, port, voter) as (server, taken):
        server.on_started = lambda: ready(f"http://{_LOOPBACK}:{taken.getsockname()[1]}/")
        with suppress(KeyboardInterrupt):  # which is how a page is closed
            server.run(sockets=[taken])


@contextmanager
def serving_arena(arena: Arena, *, port: int = 0, voter: str = "") -> Iterator[str]:
    """Serve an arena from a thread for as long as the block runs; gives its address."""
    with _server(arena, port, voter) as (server, taken):
        thread = Thread(target=server.run, kwargs={"sockets": [taken]}, daemon=True)
        thread.start()
        try:
            server.began.wait()
            yield f"http://{_LOOPBACK}:{taken.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


@contextmanager
def _server(arena: Arena, port: int, voter: str):  # type: ignore[no-untyped-def]  # uvicorn is imported here only
    try:
        from tunesmith.web.app import arena_app
        from tunesmith.web.server import PageServer
    except ModuleNotFoundError as error:
        raise TunesmithError(
            "the page needs libraries that are not installed",
            value=error.name,
            expected="starlette and uvicorn",
            hint="pip install 'tunesmith[web]', or tunesmith arena --terminal",
        ) from error
    taken = _socket(port)
    with taken:
        number = taken.getsockname()[1]
        yield PageServer(arena_app(arena, port=number, voter=voter)), taken


def _socket(port: int) -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        made.bind((_LOOPBACK, port))
    except OSError as error:
        made.close()
        raise StorageError(
            "this port cannot be used",
            value=port,
            expected=f"a free port of {_LOOPBACK} ({error.strerror})",
            hint="tunesmith arena, which takes a free one",
        ) from error
    return made
