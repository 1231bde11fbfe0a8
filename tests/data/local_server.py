"""A real HTTP server on a free port of this machine, which counts the connections made to it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socket import socket
from typing import Any

__all__ = ["Answer", "LocalServer", "serving"]

Answer = tuple[int, dict[str, str], bytes]


class LocalServer(ThreadingHTTPServer):
    """Answers by path; `connections` counts accepted ones, `requests` keeps the headers of each request."""

    daemon_threads = True

    def __init__(self, answers: dict[str, Answer | Callable[[BaseHTTPRequestHandler], None]]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers = answers
        self.connections = 0
        self.requests: list[dict[str, str]] = []

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
        try:
            if callable(answer):
                answer(self)
                return
            status, headers, body = answer
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True  # the client had enough: what the limits are for

    def log_message(self, format: str, *args: object) -> None:
        """Tests are quiet."""


@contextmanager
def serving(answers: dict[str, Answer | Callable[[BaseHTTPRequestHandler], None]]) -> Iterator[LocalServer]:
    server = LocalServer(answers)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
