"""What stands before every route: Host and Origin, keys, rates, sizes, the end of service. Plain ASGI, so that streams pass.

`/healthz` alone answers without a key: 200 while the process lives; `/healthz?ready` is 503 from the moment the end begins.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from tunesmith.serve.errors import ApiError
from tunesmith.serve.keys import Client, Keys

__all__ = ["Gate", "Rates", "Service"]

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

_DISCARDED_BYTES = 64 * 2**20  # of a body that is too large
_MOST_CLIENTS = 10_000  # of which a rate is remembered
LOOPBACK = ("localhost", "127.0.0.1", "[::1]", "::1")


@dataclass(slots=True)
class Service:
    """Where the service stands. `ready` turns false first; then `refusing` new requests begins, and those in work are ended."""

    ready: bool = False
    refusing: bool = False
    in_work: int = 0


class Rates:
    """Requests per minute and key: a bucket that holds a minute's worth and fills evenly. 0 per minute: no limit."""

    def __init__(self, per_minute: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_minute, self._clock = per_minute, clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, key: str) -> None:
        """ApiError 429 with the time to wait if the bucket of this key is empty."""
        if not self._per_minute:
            return
        now = self._clock()
        left, then = self._buckets.pop(key, (self._per_minute, now))
        left = min(self._per_minute, left + (now - then) * self._per_minute / 60)
        self._buckets[key] = (max(0.0, left - 1) if left >= 1 else left, now)
        while len(self._buckets) > _MOST_CLIENTS:
            self._buckets.popitem(last=False)
        if left < 1:
            wait = (1 - left) * 60 / self._per_minute
            raise ApiError(
                429,
                f"this key may send {self._per_minute:g} requests per minute",
                code="rate_limit_exceeded",
                retry_after_s=wait,
            )


@dataclass(slots=True, kw_only=True)
class Gate:
    """The application `app` behind the checks. `hosts`: names by which the server may be addressed, `origins`: web pages that
    may call it. What passed is in `scope["state"]`: `key`, the name of the client's key or its address, its `role`, and
    `request_id`."""

    app: App
    service: Service
    keys: Keys
    rates: Rates
    hosts: Sequence[str]
    origins: Sequence[str] = ()
    body_bytes: int = 2**20
    body_s: float = 30.0
    _open: frozenset[str] = field(default=frozenset({"/healthz"}))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request, or the lifespan."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":
            raise RuntimeError(f"only HTTP is served, not {scope['type']}")
        if scope["path"] in self._open:
            await self._health(scope, send)
            return
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        given = headers.get("x-request-id", "")
        request_id = given if given.isascii() and given.replace("-", "").isalnum() and len(given) <= 64 else uuid.uuid4().hex
        scope.setdefault("state", {})["request_id"] = request_id
        send = _with_id(send, request_id)
        try:
            self._check_caller(headers)
            scope["state"]["key"], scope["state"]["role"] = self._client(scope, headers)
            if self.service.refusing:
                raise ApiError(503, "the server is shutting down; try another one", code="shutting_down", retry_after_s=5)
            if scope["method"] == "POST":
                self.rates.take(scope["state"]["key"])
            try:
                async with asyncio.timeout(self.body_s):
                    receive = await self._body(headers, receive)
            except TimeoutError:
                raise ApiError(408, f"the body did not come within {self.body_s:g} s", code="body_too_slow") from None
        except ApiError as error:
            await send_error(error, send)
            return
        self.service.in_work += 1
        try:
            await self.app(scope, receive, send)
        finally:
            self.service.in_work -= 1

    def _check_caller(self, headers: Mapping[str, str]) -> None:
        host = headers.get("host", "").lower()
        bare = host.rsplit(":", 1)[0] if host.rpartition(":")[2].isdigit() else host
        if bare not in self.hosts and "*" not in self.hosts:
            raise ApiError(421, f"this server does not answer for the host {host[:80]!r}", code="wrong_host")
        origin = headers.get("origin")
        if origin is not None and origin not in self.origins:
            own = origin.lower().partition("://")[2]
            if own != host:
                raise ApiError(403, f"pages of {origin[:80]} may not call this server", code="wrong_origin")

    def _client(self, scope: Scope, headers: Mapping[str, str]) -> Client:
        address = scope.get("client")
        if not self.keys:
            return Client(str(address[0]) if address else "", "admin")
        kind, _, given = headers.get("authorization", "").partition(" ")
        client = self.keys.client_of(given.strip()) if kind.lower() == "bearer" else None
        if client is None:
            what = "a key is needed: Authorization: Bearer KEY" if not given else "this key is not known here"
            raise ApiError(401, what, code="invalid_api_key")
        return client

    async def _body(self, headers: Mapping[str, str], receive: Receive) -> Receive:
        """The whole body, read up to the limit; what comes after it (the end of the connection) is still heard."""
        stated = headers.get("content-length", "")
        if stated.isdigit() and int(stated) > self.body_bytes:
            if "expect" not in headers:  # else the body is not sent at all
                await _discard(receive)
            raise self._too_large()
        parts: list[bytes] = []
        size, more = 0, True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return _again(message, receive)
            parts.append(message.get("body", b""))
            size += len(parts[-1])
            more = message.get("more_body", False)
            if size > self.body_bytes:
                parts.clear()
                if more:
                    await _discard(receive)
                raise self._too_large()
        return _again({"type": "http.request", "body": b"".join(parts), "more_body": False}, receive)

    def _too_large(self) -> ApiError:
        return ApiError(413, f"the body is larger than {self.body_bytes} bytes", code="body_too_large")

    async def _health(self, scope: Scope, send: Send) -> None:
        status = 503 if b"ready" in scope["query_string"] and not self.service.ready else 200
        status = status if scope["method"] in ("GET", "HEAD") else 405
        extra = [(b"retry-after", b"5")] if status == 503 else []
        await send({"type": "http.response.start", "status": status, "headers": [(b"content-length", b"0"), *extra]})
        await send({"type": "http.response.body", "body": b""})


async def send_error(error: ApiError, send: Send) -> None:
    """The error as a whole response. The connection is closed where a body may not have been read."""
    body = orjson.dumps(error.body())
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    headers += [(name.encode(), value.encode()) for name, value in error.headers().items()]
    if error.status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    if error.status == 413:
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": error.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _discard(receive: Receive) -> None:
    """Read on for a while without keeping anything: a client that is still sending would not hear the answer."""
    size, more = 0, True
    while more and size < _DISCARDED_BYTES:
        message = await receive()
        size += len(message.get("body", b""))
        more = message["type"] == "http.request" and message.get("more_body", False)


def _again(first: MutableMapping[str, Any], receive: Receive) -> Receive:
    waiting = [first]

    async def again() -> MutableMapping[str, Any]:
        return waiting.pop() if waiting else await receive()

    return again


def _with_id(send: Send, request_id: str) -> Send:
    async def marked(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message.get("headers", ()), (b"x-request-id", request_id.encode())]
        await send(message)

    return marked
