"""A server of raw bytes on loopback: each request is answered with the pieces of a script, and breaks off where it says so."""

from __future__ import annotations

import socketserver
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress

__all__ = ["Script", "upstream"]

Script = Callable[[str, bytes], tuple[int, dict[str, str], Iterable[bytes], bool]]
"""Path and body → status, headers, pieces of the body (sent chunked, each on its own), and whether the answer is whole."""


@contextmanager
def upstream(script: Script) -> Iterator[str]:
    """The address of a server that answers so until the block ends."""

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            with suppress(ConnectionError):  # the other side may go away while we wait for its next request
                self.answer_all()

        def answer_all(self) -> None:
            while line := self.rfile.readline():
                path, size = line.split()[1].decode(), 0
                while (header := self.rfile.readline().strip().lower()) != b"":
                    if header.startswith(b"content-length:"):
                        size = int(header.split(b":")[1])
                status, headers, pieces, is_whole = script(path, self.rfile.read(size))
                head = [f"HTTP/1.1 {status} X", "Transfer-Encoding: chunked", *(f"{k}: {v}" for k, v in headers.items())]
                self.wfile.write("\r\n".join([*head, "", ""]).encode())
                for piece in pieces:
                    self.wfile.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
                    self.wfile.flush()
                if not is_whole:
                    return
                self.wfile.write(b"0\r\n\r\n")

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True
        allow_reuse_address = True

    with Server(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()
