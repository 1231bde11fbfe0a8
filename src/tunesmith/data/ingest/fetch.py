"""Fetch one address: public hosts only, the checked address is the one connected to, bounded in size, time and redirects."""

from __future__ import annotations

import http.client
import ipaddress
import re
import socket
import ssl
import threading
import time
import zlib
from dataclasses import dataclass
from urllib.parse import SplitResult, quote, urljoin, urlsplit

from tunesmith import __version__
from tunesmith.core.errors import SourceError
from tunesmith.data.ingest.decode import MAX_INFLATED_BYTES, inflate
from tunesmith.data.ingest.item import UnreadableError

__all__ = ["MAX_BODY_BYTES", "MAX_REDIRECTS", "MAX_SECONDS", "Fetched", "fetch"]

MAX_BODY_BYTES = 20 * 1024 * 1024
MAX_REDIRECTS = 5
MAX_SECONDS = 30.0
_HEADERS = {
    "User-Agent": f"tunesmith/{__version__}",
    "Accept": "application/atom+xml,application/rss+xml,application/feed+json,text/html,application/xhtml+xml,*/*;q=0.5",
    "Accept-Encoding": "gzip, deflate",
    "Connection": "close",
}
_Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_NAT64 = ipaddress.ip_network("64:ff9b::/96")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """A body, decompressed, and where it came from in the end."""

    url: str
    body: bytes
    content_type: str | None


def fetch(url: str, *, allow_private: bool = False, seconds: float = MAX_SECONDS) -> Fetched:
    """The body at an http(s) address, after at most five redirects, each checked like the first.

    Every address that the host resolves to must be public (`allow_private` also takes loopback and private networks).
    20 MB at most, 50 MB after decompression, `seconds` in all; TLS is verified; no cookies, no credentials.
    SourceError says what stood in the way.
    """
    deadline = time.monotonic() + seconds
    current = url
    for _ in range(MAX_REDIRECTS + 1):
        answer = _request(current, allow_private=allow_private, deadline=deadline, seconds=seconds)
        if isinstance(answer, Fetched):
            return answer
        target = urljoin(current, answer.strip())
        if current.lower().startswith("https:") and target.lower().startswith("http:"):
            raise _refused(
                current,
                "it redirects from https to http",
                "an address that stays encrypted",
                f"tunesmith run --source {target}",
            )
        current = target
    raise _refused(
        url, f"more than {MAX_REDIRECTS} redirects", "an address that answers by itself", f"try the last one: {current}"
    )


def _request(url: str, *, allow_private: bool, deadline: float, seconds: float) -> Fetched | str:
    """One request: the body, or the target of a redirect."""
    parts = _checked_url(url)
    address = _resolve(parts, url, allow_private=allow_private)
    connection = _connection(parts, address, timeout=max(0.1, deadline - time.monotonic()))
    watchdog = threading.Timer(
        max(0.1, deadline - time.monotonic()), _hang_up, (connection,)
    )  # a server may drip a byte at a time
    watchdog.daemon = True
    watchdog.start()
    try:
        connection.request("GET", _target(parts), headers=_HEADERS)
        response = connection.getresponse()
        if response.status in {301, 302, 303, 307, 308} and response.headers.get("Location"):
            return str(response.headers["Location"])
        if response.status != 200:
            raise _refused(
                url,
                f"the server answered {response.status} {response.reason}",
                "200 OK",
                "open the address in a browser and copy it again",
            )
        body = _bounded_body(response, url, deadline)
        return Fetched(url=url, body=_decompress(body, response, url), content_type=response.headers.get("Content-Type"))
    except ssl.SSLCertVerificationError as error:
        raise _refused(
            url,
            "its certificate cannot be verified",
            f"a valid certificate ({error.verify_message})",
            "check the address and this machine's clock",
        ) from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        if time.monotonic() >= deadline - 0.05:
            raise _too_slow(url, seconds) from error
        raise _refused(
            url,
            "the address cannot be fetched",
            f"a server that answers ({str(error) or type(error).__name__})",
            "check the address and the network",
        ) from error
    finally:
        watchdog.cancel()
        connection.close()


def _checked_url(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise _refused(
            url, "not a usable address", f"http(s)://host/path ({error})", "copy the address from a browser"
        ) from error
    if parts.scheme.lower() not in {"http", "https"}:
        raise _refused(url, "not a web address", "http:// or https://", "save the page or feed as a file and name the file")
    if not parts.hostname or re.search(r"[\x00-\x20\x7f\\]", url) or port == 0:
        raise _refused(url, "not a usable address", "http(s)://host/path without blanks", "copy the address from a browser")
    if parts.username is not None or parts.password is not None:
        raise _refused(
            url,
            "the address carries a user name or password",
            "an address without credentials",
            "save the page or feed as a file and name the file",
        )
    return parts


def _resolve(parts: SplitResult, url: str, *, allow_private: bool) -> str:
    """The first address of the host, after every one of them was checked."""
    host = parts.hostname or ""
    try:
        found = socket.getaddrinfo(
            host.encode("idna").decode() if not _is_ip(host) else host, _port(parts), type=socket.SOCK_STREAM
        )
    except (OSError, UnicodeError) as error:
        raise _refused(
            url, "the host is not known", f"a name that resolves ({host})", "check the spelling and the network"
        ) from error
    addresses = [ipaddress.ip_address(str(entry[4][0]).split("%")[0]) for entry in found]
    for address in addresses:
        if not _allowed(address, allow_private=allow_private):
            hint = "choose a public address" if allow_private else "tunesmith run --allow-private …, if you trust it"
            raise _refused(url, f"the address is not public ({address})", "a host on the public internet", hint)
    if not addresses:
        raise _refused(url, "the host has no address", "a name that resolves", "check the spelling")
    return str(addresses[0])


def _is_ip(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _allowed(address: _Address, *, allow_private: bool) -> bool:
    """Whether we may connect. IPv4 inside IPv6 counts as the IPv4 that it is."""
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour or (address.teredo[1] if address.teredo else None)
        if inner is None and address in _NAT64:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None:
            return _allowed(inner, allow_private=allow_private)
        if address.is_site_local:
            return False
    if address.is_multicast or address.is_unspecified or address.is_link_local:
        return False
    if address.is_loopback or (address.is_private and not address.is_reserved):
        return allow_private
    return address.is_global and not address.is_reserved


def _port(parts: SplitResult) -> int:
    return parts.port or (443 if parts.scheme.lower() == "https" else 80)


def _target(parts: SplitResult) -> str:
    path = quote(parts.path or "/", safe="/%:@!$&'()*+,;=~-._")
    return f"{path}?{quote(parts.query, safe='/%:@!$&()*+,;=~-._?[]{}')}" if parts.query else path


def _connection(parts: SplitResult, address: str, *, timeout: float) -> _Pinned:
    host = (parts.hostname or "").encode("idna").decode() if not _is_ip(parts.hostname or "") else str(parts.hostname)
    if parts.scheme.lower() == "https":
        return _PinnedHTTPS(host, _port(parts), address=address, timeout=timeout)
    return _Pinned(host, _port(parts), address=address, timeout=timeout)


class _Pinned(http.client.HTTPConnection):
    """Connects to an address that was checked, whatever the name would resolve to a moment later."""

    def __init__(self, host: str, port: int, *, address: str, timeout: float) -> None:
        super().__init__(host, port, timeout=timeout)
        self._address = address
        self.line: socket.socket | None = None  # `sock` is taken away by a response that closes the connection

    def connect(self) -> None:
        self.sock = self.line = socket.create_connection((self._address, self.port), self.timeout)


class _PinnedHTTPS(_Pinned):
    """The same with TLS, verified against the name."""

    default_port = 443  # so that the Host header leaves it out

    def connect(self) -> None:
        super().connect()
        self.sock = self.line = ssl.create_default_context().wrap_socket(self.sock, server_hostname=self.host)


def _hang_up(connection: _Pinned) -> None:
    if connection.line is not None:
        try:
            socket.socket.shutdown(
                connection.line, socket.SHUT_RDWR
            )  # below TLS, whose own shutdown is not safe across threads
        except OSError:
            return  # closed a moment before: what the timer wanted


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
        raise _refused(
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
                raise UnreadableError(f"it is compressed as {name}, which nobody asked for")
        except UnreadableError as error:
            raise _refused(
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
    return _refused(url, "the body is larger than 20 MB", "at most 20 MB", "save it as files in a folder and name the folder")


def _too_slow(url: str, seconds: float) -> SourceError:
    return _refused(
        url,
        f"it took longer than {seconds:g} s",
        "an answer within that time",
        "try again later, or save it as a file and name the file",
    )


def _refused(url: str, what: str, expected: str, hint: str) -> SourceError:
    return SourceError(f"cannot use this address: {what}", value=url[:500], expected=expected, hint=hint)
