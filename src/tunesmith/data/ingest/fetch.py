"""Fetch one address: public hosts only, the checked address is the one connected to, bounded in size, time and redirects."""

from __future__ import annotations

import http.client
import ssl
import threading
import time
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from urllib.parse import urljoin

from tunesmith import __version__
from tunesmith.core.errors import SourceError
from tunesmith.data.ingest.address import checked_url, connection_to, hang_up, refused, request_target, resolve
from tunesmith.data.text.decode import MAX_INFLATED_BYTES, UnreadableError, inflate

__all__ = ["MAX_BODY_BYTES", "MAX_REDIRECTS", "MAX_SECONDS", "Fetched", "Validators", "ask", "fetch", "status_error"]

MAX_BODY_BYTES = 20 * 1024 * 1024
MAX_REDIRECTS = 5
MAX_SECONDS = 30.0
_HEADERS = {
    "User-Agent": f"tunesmith/{__version__}",
    "Accept": "application/atom+xml,application/rss+xml,application/feed+json,text/html,application/xhtml+xml,*/*;q=0.5",
    "Accept-Encoding": "gzip, deflate",
    "Connection": "close",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """An answer: its body, decompressed, and where it came from in the end. `headers` have lower-case names.

    The body of any status but 200 is empty.
    """

    url: str
    body: bytes
    content_type: str | None
    status: int = 200
    reason: str = "OK"
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Validators:
    """What a server said of a body that is kept: sent back, and to that one address only, it may answer 304."""

    url: str
    etag: str | None = None
    last_modified: str | None = None

    def headers(self) -> dict[str, str]:
        """The headers of a conditional request."""
        named = {"If-None-Match": self.etag, "If-Modified-Since": self.last_modified}
        return {name: value for name, value in named.items() if value}


def fetch(url: str, *, allow_private: bool = False, seconds: float = MAX_SECONDS) -> Fetched:
    """The body at an http(s) address; SourceError says what stood in the way. The limits are those of `ask`."""
    answer = ask(url, allow_private=allow_private, seconds=seconds)
    if answer.status != 200:
        raise status_error(answer)
    return answer


def ask(
    url: str,
    *,
    allow_private: bool = False,
    seconds: float = MAX_SECONDS,
    validators: Validators | None = None,
    before: Callable[[str], None] = lambda url: None,
) -> Fetched:
    """The answer of any status at an http(s) address, after at most five redirects, each checked like the first.

    Every address that the host resolves to must be public (`allow_private` also takes loopback and private networks).
    20 MB at most, 50 MB after decompression, `seconds` for all requests; TLS is verified; no cookies, no credentials.
    `before` is called with each address right before it is asked, and may raise. SourceError says what stood in the way.
    """
    current, left = url, seconds
    for _ in range(MAX_REDIRECTS + 1):
        checked_url(current)
        before(current)
        begin = time.monotonic()
        try:
            answer = _request(current, allow_private=allow_private, seconds=left, validators=validators)
        except TimeoutError as error:
            raise _too_slow(url, seconds) from error
        left = max(0.1, left - (time.monotonic() - begin))
        if isinstance(answer, Fetched):
            return answer
        target = urljoin(current, answer.strip())
        if current.lower().startswith("https:") and target.lower().startswith("http:"):
            raise refused(
                current,
                "it redirects from https to http",
                "an address that stays encrypted",
                f"tunesmith ingest {target}",
            )
        current = target
    raise refused(
        url, f"more than {MAX_REDIRECTS} redirects", "an address that answers by itself", f"try the last one: {current}"
    )


def status_error(answer: Fetched) -> SourceError:
    """The error for an answer that is no 200."""
    return refused(
        answer.url,
        f"the server answered {answer.status} {answer.reason}",
        "200 OK",
        "open the address in a browser and copy it again",
    )


def _request(url: str, *, allow_private: bool, seconds: float, validators: Validators | None) -> Fetched | str:
    """One request: the answer, or the target of a redirect."""
    deadline = time.monotonic() + seconds
    parts = checked_url(url)
    address = resolve(parts, url, allow_private=allow_private)
    connection = connection_to(parts, address, timeout=max(0.1, deadline - time.monotonic()))
    watchdog = threading.Timer(max(0.1, deadline - time.monotonic()), hang_up, (connection,))  # a server may drip bytes
    watchdog.daemon = True
    watchdog.start()
    conditional = validators.headers() if validators is not None and validators.url == url else {}
    try:
        connection.request("GET", request_target(parts), headers=_HEADERS | conditional)
        response = connection.getresponse()
        if response.status in {301, 302, 303, 307, 308} and response.headers.get("Location"):
            return str(response.headers["Location"])
        answer = Fetched(
            url=url,
            body=b"",
            content_type=response.headers.get("Content-Type"),
            status=response.status,
            reason=response.reason[:80],
            headers={name.lower(): value for name, value in response.headers.items()},
        )
        if response.status != 200:
            return answer
        body = _bounded_body(response, url, deadline)
        return replace(answer, body=_decompress(body, response, url))
    except ssl.SSLCertVerificationError as error:
        raise refused(
            url,
            "its certificate cannot be verified",
            f"a valid certificate ({error.verify_message})",
            "check the address and this machine's clock",
        ) from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        if time.monotonic() >= deadline - 0.05:
            raise TimeoutError("out of time") from error
        raise refused(
            url,
            "the address cannot be fetched",
            f"a server that answers ({str(error) or type(error).__name__})",
            "check the address and the network",
        ) from error
    finally:
        watchdog.cancel()
        connection.close()


def _bounded_body(response: http.client.HTTPResponse, url: str, deadline: float) -> bytes:
    declared = response.headers.get("Content-Length", "")
    if declared.isdecimal() and int(declared) > MAX_BODY_BYTES:
        raise _too_big(url)
    parts, size = [], 0
    while part := response.read(65_536):
        parts.append(part)
        size += len(part)
        if size > MAX_BODY_BYTES:
            raise _too_big(url)
    if time.monotonic() >= deadline:
        raise TimeoutError("out of time")
    if declared.isdecimal() and size < int(declared):
        raise http.client.IncompleteRead(b"", int(declared) - size)
    return b"".join(parts)


def _decompress(body: bytes, response: http.client.HTTPResponse, url: str) -> bytes:
    encodings = [name.strip().lower() for name in response.headers.get("Content-Encoding", "").split(",") if name.strip()]
    if len(encodings) > 2:
        raise refused(
            url,
            "its body is compressed more than twice",
            "gzip, deflate or none",
            "save the page or feed as a file and name the file",
        )
    for name in reversed(encodings):
        try:
            if name in {"gzip", "x-gzip"}:
                body = inflate(body, wbits=31, limit=MAX_INFLATED_BYTES)
            elif name == "deflate":
                body = _inflate_deflate(body)
            elif name != "identity":
                raise UnreadableError(f"it is compressed as {name}, which was not requested")
        except UnreadableError as error:
            raise refused(
                url,
                f"its body cannot be unpacked: {error}",
                "gzip, deflate or none",
                "save the page or feed as a file and name the file",
            ) from error
    return body


def _inflate_deflate(body: bytes) -> bytes:
    """`deflate` means zlib, but some servers send the raw stream."""
    try:
        zlib.decompressobj(15).decompress(body[:64], 1)
    except zlib.error:
        return inflate(body, wbits=-15, limit=MAX_INFLATED_BYTES)
    return inflate(body, wbits=15, limit=MAX_INFLATED_BYTES)


def _too_big(url: str) -> SourceError:
    return refused(url, "the body is larger than 20 MB", "at most 20 MB", "save it as files in a folder and name the folder")


def _too_slow(url: str, seconds: float) -> SourceError:
    return refused(
        url,
        f"it took longer than {seconds:g} s",
        "an answer within that time",
        "try again later, or save it as a file and name the file",
    )
