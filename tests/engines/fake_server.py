"""A real HTTP server on this machine that answers like an engine: what each path gives is set by the test."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

__all__ = ["FakeServer", "Reply", "serving"]

Reply = Any | Callable[[dict[str, Any]], Any]


class FakeServer(ThreadingHTTPServer):
    """`replies`: by path, JSON or a function of the request; bytes are sent as they are. `asked`: path and request."""

    daemon_threads = True

    def __init__(self, replies: Mapping[str, Reply]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.replies = dict(replies)
        self.status: dict[str, int] = {}
        self.promised = 0  # bytes announced over those that are sent
        self.asked: list[tuple[str, Any]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def last(self, path: str) -> Any:
        """The last request to a path."""
        return next(body for where, body in reversed(self.asked) if where == path)


class _Handler(BaseHTTPRequestHandler):
    server: FakeServer

    def _answer(self) -> None:
        chunked = self.headers.get("Transfer-Encoding") == "chunked"
        content = self._chunks() if chunked else self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body: Any = json.loads(content) if content.startswith(b"{") else content
        self.server.asked.append((self.path, body))
        there = self.path in self.server.replies
        reply = self.server.replies.get(self.path, {"error": {"message": "no such route"}})
        found = reply(body) if callable(reply) else reply
        sent = found if isinstance(found, bytes) else json.dumps(found).encode()
        self.send_response(self.server.status.get(self.path, 200 if there else 404))
        self.send_header("Content-Length", str(len(sent) + self.server.promised))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(sent)

    def _chunks(self) -> bytes:
        content = b""
        while size := int(self.rfile.readline(), 16):
            content += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return content

    do_GET = do_POST = do_HEAD = _answer

    def log_message(self, format: str, *args: object) -> None:
        """Tests are quiet."""


@contextmanager
def serving(replies: Mapping[str, Reply]) -> Iterator[FakeServer]:
    """A fake server for the length of the block."""
    server = FakeServer(replies)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
