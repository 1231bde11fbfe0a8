"""`GET /` and what belongs to it: a page of this server, which asks nothing but this server."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

from fastapi import FastAPI, Response

from tunesmith.core.page import STYLE

__all__ = ["add_page"]

_HERE = Path(__file__).parent
_FILES = {"/": ("chat.html", "text/html"), "/chat.css": ("chat.css", "text/css"), "/chat.js": ("chat.js", "text/javascript")}
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self';"
    " base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}


def add_page(app: FastAPI) -> None:
    """Add the page. Its texts are read once."""
    for path, (name, kind) in _FILES.items():
        content = (STYLE if name.endswith(".css") else "") + (_HERE / name).read_text(encoding="utf-8")
        app.get(path)(_sender(content, kind))


def _sender(content: str, kind: str) -> Callable[[], Awaitable[Response]]:
    async def send() -> Response:
        return Response(content, media_type=kind, headers=_HEADERS)

    return send
