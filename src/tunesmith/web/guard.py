"""What every local page checks before it answers: who asks (Host, Origin), how much is sent, and what the browser may load.

A page on another site can make a browser send requests to this machine, under a name that it has pointed here (DNS
rebinding) or as a form posted across sites. The first has another Host, the second another Origin; both are refused.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import parse_qs

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

__all__ = ["MOST_BYTES", "Guard", "form_of"]

MOST_BYTES = 4096  # of a form
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; script-src 'self'; form-action 'self'; base-uri 'none';"
    " frame-ancestors 'none'",
    "Cache-Control": "no-store",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


class Guard:
    """Wraps an application that is served at `port` of this machine."""

    def __init__(self, app: App, port: int) -> None:
        self._app = app
        self._hosts = {f"{name}:{port}" for name in ("127.0.0.1", "localhost", "[::1]")}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse or pass on, and add the headers that keep other sites out."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if (refused := self._refused(Request(scope))) is not None:
            await refused(scope, receive, send)
            return

        async def with_headers(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                added = [(name.lower().encode(), value.encode()) for name, value in _HEADERS.items()]
                message["headers"] = [*message["headers"], *added]
            await send(message)

        await self._app(scope, receive, with_headers)

    def _refused(self, request: Request) -> Response | None:
        host = request.headers.get("host", "")
        if host.lower() not in self._hosts:
            return PlainTextResponse(f"this page is served to {sorted(self._hosts)[0]} only\n", status_code=421)
        if request.method in ("GET", "HEAD"):
            return None
        origin = request.headers.get("origin")
        if origin is not None and origin.lower() not in {f"http://{name}" for name in self._hosts}:
            return PlainTextResponse("a form of another site is not accepted\n", status_code=403)
        if request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
            return PlainTextResponse("a form of another site is not accepted\n", status_code=403)
        length = request.headers.get("content-length", "")
        if not length.isdigit() or int(length) > MOST_BYTES:
            return PlainTextResponse(f"a form has at most {MOST_BYTES} bytes\n", status_code=413)
        return None


async def form_of(request: Request) -> dict[str, str]:
    """The fields of a form, each once; the guard has bounded its length."""
    body = (await request.body())[:MOST_BYTES]
    return {name: values[0] for name, values in parse_qs(body.decode("utf-8", "replace"), max_num_fields=20).items()}
