"""A real HTTP server on a free port of this machine, which counts the connections made to it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socket import socket
from typing import Any, TypeVar

from tunesmith.data.ingest.cache import Cache
from tunesmith.data.ingest.web import Clock, Limits, Web

__all__ = ["Answer", "FakeClock", "LocalServer", "local_web", "running", "serving"]

Answer = tuple[int, dict[str, str], bytes]
S = TypeVar("S", bound=ThreadingHTTPServer)


class LocalServer(ThreadingHTTPServer):
    """Answers by path; `connections` counts accepted ones, `requests` keeps the headers of each request."""

    daemon_threads = True

    def __init__(self, answers: dict[str, Answer | Callable[[BaseHTTPRequestHandler], None]]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers = answers
        self.connections = 0
        self.requests: list[dict[str, str]] = []
        self.asked: list[tuple[str, int]] = []  # path and status of each answer

    def paths(self) -> list[str]:
        """What was asked for, robots.txt apart."""
        return [path for path, _ in self.asked if path != "/robots.txt"]

    def url(self, path: str = "/", *, host: str = "127.0.0.1") -> str:
        return f"http://{host}:{self.server_address[1]}{path}"

    def get_request(self) -> tuple[socket, Any]:
        self.connections += 1
        return super().get_request()


class _Handler(BaseHTTPRequestHandler):
    server: LocalServer

    def do_GET(self) -> None:
        self.server.requests.append(dict(self.headers.items()))
        answer = self.server.answers.get(self.path, (404, {}, b"not here"))
        if not callable(answer) and (tag := answer[1].get("ETag")) and self.headers.get("If-None-Match") == tag:
            answer = (304, answer[1], b"")
        try:
            if callable(answer):
                answer(self)
                return
            status, headers, body = answer
            self.server.asked.append((self.path, status))
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True  # the client had enough: what the limits are for

    def do_HEAD(self) -> None:
        answer = self.server.answers.get(self.path, (404, {}, b""))
        status, headers, body = (404, {}, b"") if callable(answer) else answer
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Tests are quiet."""


@contextmanager
def running(server: S) -> Iterator[S]:
    """The server, answering in a thread of its own until the block ends."""
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def serving(answers: dict[str, Answer | Callable[[BaseHTTPRequestHandler], None]]) -> AbstractContextManager[LocalServer]:
    return running(LocalServer(answers))


class FakeClock:
    """Time that passes only by waiting; `waits` keeps each."""

    def __init__(self, now: float = 1_700_000_000.0) -> None:
        self.time = now
        self.waits: list[float] = []

    def clock(self) -> Clock:
        return Clock(now=lambda: self.time, sleep=self._sleep)

    def _sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.time += seconds


def local_web(folder: Path | None = None, *, clock: FakeClock | None = None, delay_s: float = 0.0, max_pages: int = 500) -> Web:
    """A web that may ask this machine, keeps what it fetched in `folder`, and never really waits."""
    limits = Limits(delay_s=delay_s, max_pages=max_pages)
    cache = Cache(folder) if folder else None
    return Web(cache=cache, allow_private=True, limits=limits, clock=(clock or FakeClock()).clock())
