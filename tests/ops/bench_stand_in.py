"""A stand-in for `tunesmith serve`: it says that it is ready, streams answers of words, and has the fault that it is given.

It writes what it is asked to a file, so that a test sees the order of servers and prompts.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:  # the server needs nothing of Tunesmith, so that it starts at once
    from tunesmith.eval.gate import State
    from tunesmith.ops.bench.options import Option

__all__ = ["Fault", "stand_in"]

Fault = Literal["", "no start", "dies", "refuses", "few tokens", "breaks off", "left out", "counts nothing"]
_DIES_AFTER = 3


def stand_in(name: str, log: Path, *, fault: Fault = "", state: State = "not measured") -> Option:
    """An option whose server is this file."""
    from tunesmith.ops.bench.options import Judged, Option

    return Option(
        name=name,
        label=f"a stand-in, {fault or 'sound'}",
        judged=Judged(state=state, why="planted"),
        command=(sys.executable, __file__, name, str(log), fault),
        typed=f"tunesmith serve {name}",
    )


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    name, log, fault = "", Path(), ""
    answered, lock = 0, threading.Lock()

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        with self.lock:
            _Handler.answered += 1
            _note(self.log, self.name, body)
        if self.fault == "dies" and self.answered > _DIES_AFTER:
            sys.stderr.write("error  out of memory\n")
            sys.stderr.flush()
            os._exit(3)
        if self.fault == "refuses":
            self._whole(503, {"error": {"message": "no room"}})
            return
        count = 2 if self.fault == "few tokens" else body["max_tokens"]
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        for _ in range(count):
            self._event({"choices": [{"index": 0, "delta": {"content": "word "}, "finish_reason": None}]})
        if self.fault == "breaks off":
            self.close_connection = True
            return
        self._event({"choices": [{"index": 0, "delta": {}, "finish_reason": "length"}]})
        if self.fault != "counts nothing":
            self._event({"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": count, "total_tokens": 3 + count}})
        self._chunk(b"data: [DONE]\n\n")
        self.wfile.write(b"0\r\n\r\n")

    def _event(self, body: Any) -> None:
        self._chunk(b"data: " + json.dumps(body).encode() + b"\n\n")

    def _chunk(self, content: bytes) -> None:
        self.wfile.write(b"%x\r\n" % len(content) + content + b"\r\n")

    def _whole(self, status: int, body: Any) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


def _note(log: Path, name: str, body: Any) -> None:
    with log.open("a", encoding="utf-8") as file:
        file.write(json.dumps({"server": name, **body}) + "\n")


def _main(name: str, log: str, fault: str) -> None:
    if fault == "no start":
        sys.stderr.write("error  the port is taken\n       expected a free one\n")
        raise SystemExit(1)
    _Handler.name, _Handler.log, _Handler.fault = name, Path(log), fault
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    models = ["other"] if fault == "left out" else ["bench"]
    sys.stdout.write(json.dumps({"url": f"http://127.0.0.1:{server.server_address[1]}", "models": models}) + "\n")
    sys.stdout.flush()
    if fault == "left out":
        sys.stderr.write("error  bench is not served: it reads its prompts otherwise\n")
        sys.stderr.flush()
    server.serve_forever()


if __name__ == "__main__":
    _main(*sys.argv[1:])
