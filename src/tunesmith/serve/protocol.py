"""HTTP as uvicorn reads it, with limits on what comes before a body: uvicorn itself has none."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from tunesmith.serve.errors import ApiError

__all__ = ["limited_protocol"]

_HEAD_BYTES = 64 * 1024


class _Limited(HttpToolsProtocol):
    """A connection. Its request lines and headers must come within `head_s` seconds and be at most 64 KiB."""

    head_s = 30.0
    _head_bytes = 0
    _in_head = False
    _late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for the first request."""
        super().connection_made(transport)
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for nothing any more."""
        self._head_came()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read on, unless the head of a request becomes too large."""
        super().data_received(data)
        self._head_bytes = self._head_bytes + len(data) if self._in_head else 0
        if self._head_bytes > _HEAD_BYTES and not self.transport.is_closing():
            self._refuse(ApiError(431, f"the headers are larger than {_HEAD_BYTES} bytes", code="headers_too_large"))

    def on_message_begin(self) -> None:
        """A request begins."""
        super().on_message_begin()
        self._in_head = True
        self._await_head()

    def on_headers_complete(self) -> None:
        """Its head is whole."""
        self._in_head = False
        self._head_came()
        super().on_headers_complete()

    def send_400_response(self, msg: str) -> None:
        """What is not HTTP, in the shape of all errors."""
        self._refuse(ApiError(400, msg, code="invalid_http"))

    def _await_head(self) -> None:
        self._head_came()
        self._late = self.loop.call_later(self.head_s, self._head_is_late)

    def _head_came(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _head_is_late(self) -> None:
        if not self.transport.is_closing():
            self._refuse(ApiError(408, f"the headers did not come within {self.head_s:g} s", code="headers_too_slow"))

    def _refuse(self, error: ApiError) -> None:
        if self.cycle is not None and not self.cycle.response_complete:  # an answer is on its way: nothing may be put into it
            self.transport.close()
            return
        body = orjson.dumps(error.body())
        head = f"HTTP/1.1 {error.status} {error.code}\r\ncontent-type: application/json\r\ncontent-length: {len(body)}"
        self.transport.write(head.encode() + b"\r\nconnection: close\r\n\r\n" + body)
        self.transport.close()


def limited_protocol(head_s: float = 30.0) -> type[Any]:
    """The class that uvicorn makes for each connection."""
    return type("Limited", (_Limited,), {"head_s": head_s})
