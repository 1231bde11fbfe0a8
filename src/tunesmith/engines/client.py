"""JSON over HTTP to an engine. Whatever goes wrong becomes an EngineError; redirects are not followed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import orjson
import urllib3

from tunesmith.core.errors import EngineError

__all__ = ["Client", "error_text", "together"]

_A = TypeVar("_A")
_B = TypeVar("_B")
_BODY_BYTES = 256 * 2**20
_MESSAGE = 400


def error_text(body: bytes) -> str:
    """The message in an error body: of OpenAI's form, FastAPI's, Ollama's, or the beginning of whatever came."""
    try:
        found: Any = orjson.loads(body)
    except orjson.JSONDecodeError:
        return body.decode("utf-8", errors="replace").strip()[:_MESSAGE]
    for name in ("error", "message", "detail"):
        if isinstance(found, dict) and name in found:
            found = found[name]
    return (found if isinstance(found, str) else orjson.dumps(found).decode())[:_MESSAGE]


class Client:
    """Requests to one address, several at a time. `when_lost` is called where the connection breaks: it may raise a better
    error (a process that ended, with the end of its log)."""

    def __init__(
        self,
        url: str,
        *,
        engine: str,
        timeout_s: float,
        connections: int = 1,
        api_key: str = "",
        when_lost: Callable[[], None] = lambda: None,
        hint: str = "start the server, or check its address",
    ) -> None:
        self.url = url.rstrip("/")
        self._engine, self._timeout_s, self._when_lost, self._hint = engine, timeout_s, when_lost, hint
        self._headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if api_key:
            self._headers["Authorization"] = f"Bearer {api_key}"
        self._pool = urllib3.PoolManager(maxsize=connections, block=True, retries=False)

    def get(self, path: str) -> Any:
        """The JSON of a GET."""
        return self._json("GET", path, None)

    def post(self, path: str, payload: Mapping[str, Any]) -> Any:
        """The JSON of a POST."""
        return self._json("POST", path, orjson.dumps(payload))

    def upload(self, path: str, file: Path) -> None:
        """POST the content of a file, read piece by piece."""
        with file.open("rb") as content:
            self._content("POST", path, content)

    def responds(self, path: str, *, method: str = "GET") -> bool:
        """Whether a request is answered with 200; False while nothing listens there."""
        try:
            status, _ = self._request(method, path, None)
        except (urllib3.exceptions.HTTPError, OSError):
            return False
        return status == 200

    def close(self) -> None:
        """Close all connections."""
        self._pool.clear()

    def _request(self, method: str, path: str, body: bytes | BinaryIO | None) -> tuple[int, bytes]:
        response = self._pool.request(
            method,
            self.url + path,
            body=body,
            headers=self._headers,
            timeout=urllib3.Timeout(connect=min(10.0, self._timeout_s), read=self._timeout_s),
            redirect=False,
            preload_content=False,
        )
        try:
            content = response.read(_BODY_BYTES + 1)
            if len(content) > _BODY_BYTES:
                raise self._error("sends too much", f"over {_BODY_BYTES:,} bytes", "an answer below that")
            return response.status, content
        finally:
            response.drain_conn()
            response.release_conn()

    def _json(self, method: str, path: str, body: bytes | None) -> Any:
        content = self._content(method, path, body)
        try:
            return orjson.loads(content)
        except orjson.JSONDecodeError as error:
            shown = content[-80:].decode("utf-8", errors="replace")
            raise self._error(f"answered {path} with something that is not whole JSON", shown, "JSON") from error

    def _content(self, method: str, path: str, body: bytes | BinaryIO | None) -> bytes:
        """The body of an answer that is not an error."""
        try:
            status, content = self._request(method, path, body)
        except urllib3.exceptions.NewConnectionError as error:  # to urllib3, a kind of timeout
            self._when_lost()
            raise self._error("cannot be reached", self.url, "a server that listens there") from error
        except urllib3.exceptions.TimeoutError as error:
            self._when_lost()
            raise self._error(
                f"did not answer {path} in time", f"{self._timeout_s:g} s", "an answer within that time"
            ) from error
        except (urllib3.exceptions.HTTPError, OSError) as error:
            self._when_lost()
            raise self._error(
                f"broke the connection during {path}: {type(error).__name__}", self.url, "a whole answer"
            ) from error
        if status not in (200, 201):
            raise self._error(
                f"refused {path} with HTTP {status}", error_text(content), "HTTP 200", hint="what the server says is the value"
            )
        return content

    def _error(self, what: str, value: object, expected: str, *, hint: str = "") -> EngineError:
        return EngineError(f"{self._engine} at {self.url} {what}", value=value, expected=expected, hint=hint or self._hint)


def together(do: Callable[[_A], _B], items: Sequence[_A], *, at_once: int, on_done: Callable[[int], None]) -> list[_B]:
    """`do` for every item, several at once, results in their order. The first error ends it."""

    def one(item: _A) -> _B:
        found = do(item)
        on_done(1)
        return found

    with ThreadPoolExecutor(at_once) as pool:
        asked = [pool.submit(one, item) for item in items]
        try:
            return [each.result() for each in asked]
        finally:
            pool.shutdown(cancel_futures=True)
