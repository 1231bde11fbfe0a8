"""Which addresses may be connected to: public hosts only, and the address that was checked is the one that is used."""

from __future__ import annotations

import http.client
import ipaddress
import re
import socket
import ssl
from urllib.parse import SplitResult, quote, urlsplit

from tunesmith.core.errors import SourceError

__all__ = [
    "PinnedConnection",
    "checked_url",
    "connection_to",
    "hang_up",
    "is_allowed",
    "origin",
    "refused",
    "request_target",
    "resolve",
]

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
# Set apart by IANA, in part the homes of clouds' metadata, though some versions of Python count them as public.
_SPECIAL_TEXT = "192.0.0.0/24 192.88.99.0/24 64:ff9b:1::/48 100::/64 2001::/23 2001:db8::/32 3fff::/20 5f00::/16"
_SPECIAL = tuple(map(ipaddress.ip_network, _SPECIAL_TEXT.split()))


def checked_url(url: str) -> SplitResult:
    """The parts of an http(s) address without credentials or odd characters; SourceError for anything else."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise refused(
            url, "not a usable address", f"http(s)://host/path ({error})", "copy the address from a browser"
        ) from error
    if parts.scheme.lower() not in {"http", "https"}:
        raise refused(url, "not a web address", "http:// or https://", "save the page or feed as a file and name the file")
    if not parts.hostname or re.search(r"[\x00-\x20\x7f\\]", url) or port == 0:
        raise refused(url, "not a usable address", "http(s)://host/path without blanks", "copy the address from a browser")
    if parts.username is not None or parts.password is not None:
        raise refused(
            url,
            "the address carries a user name or password",
            "an address without credentials",
            "save the page or feed as a file and name the file",
        )
    return parts


def resolve(parts: SplitResult, url: str, *, allow_private: bool) -> str:
    """The first address of the host, after every one of them was checked."""
    host = parts.hostname or ""
    try:
        found = socket.getaddrinfo(
            host.encode("idna").decode() if not _is_ip(host) else host, _port(parts), type=socket.SOCK_STREAM
        )
    except (OSError, UnicodeError) as error:
        raise refused(
            url, "the host is not known", f"a name that resolves ({host})", "check the spelling and the network"
        ) from error
    addresses = [ipaddress.ip_address(str(entry[4][0]).split("%")[0]) for entry in found]
    for address in addresses:
        if not is_allowed(address, allow_private=allow_private):
            hint = "choose a public address" if allow_private else "tunesmith run --allow-private …, if you trust it"
            raise refused(url, f"the address is not public ({address})", "a host on the public internet", hint)
    if not addresses:
        raise refused(url, "the host has no address", "a name that resolves", "check the spelling")
    return str(addresses[0])


def _is_ip(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def is_allowed(address: _Address, *, allow_private: bool) -> bool:
    """Whether we may connect. IPv4 inside IPv6 counts as the IPv4 that it is."""
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour or (address.teredo[1] if address.teredo else None)
        if inner is None and address in _NAT64:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None:
            return is_allowed(inner, allow_private=allow_private)
        if address.is_site_local:
            return False
    if any(address in network for network in _SPECIAL):
        return False
    if address.is_multicast or address.is_unspecified or address.is_link_local:
        return False
    if address.is_loopback or (address.is_private and not address.is_reserved):
        return allow_private
    return address.is_global and not address.is_reserved


def _port(parts: SplitResult) -> int:
    return parts.port or (443 if parts.scheme.lower() == "https" else 80)


def origin(parts: SplitResult) -> str:
    """Scheme, host and port, in one spelling."""
    return f"{parts.scheme.lower()}://{(parts.hostname or '').lower()}:{_port(parts)}"


def request_target(parts: SplitResult) -> str:
    """Path and query as they stand in a request, escaped where they are not."""
    path = quote(parts.path or "/", safe="/%:@!$&'()*+,;=~-._")
    return f"{path}?{quote(parts.query, safe='/%:@!$&()*+,;=~-._?[]{}')}" if parts.query else path


def connection_to(parts: SplitResult, address: str, *, timeout: float) -> PinnedConnection:
    """A connection, not yet open, to an address that `resolve` gave."""
    host = (parts.hostname or "").encode("idna").decode() if not _is_ip(parts.hostname or "") else str(parts.hostname)
    if parts.scheme.lower() == "https":
        return _PinnedHTTPS(host, _port(parts), address=address, timeout=timeout)
    return PinnedConnection(host, _port(parts), address=address, timeout=timeout)


class PinnedConnection(http.client.HTTPConnection):
    """Connects to an address that was checked, whatever the name would resolve to a moment later."""

    def __init__(self, host: str, port: int, *, address: str, timeout: float) -> None:
        super().__init__(host, port, timeout=timeout)
        self._address = address
        self.line: socket.socket | None = None  # `sock` is taken away by a response that closes the connection

    def connect(self) -> None:
        self.sock = self.line = socket.create_connection((self._address, self.port), self.timeout)


class _PinnedHTTPS(PinnedConnection):
    """The same with TLS, verified against the name."""

    default_port = 443  # so that the Host header leaves it out

    def connect(self) -> None:
        super().connect()
        self.sock = self.line = ssl.create_default_context().wrap_socket(self.sock, server_hostname=self.host)


def hang_up(connection: PinnedConnection) -> None:
    """End a connection from another thread, whatever it is doing."""
    if connection.line is not None:
        try:
            socket.socket.shutdown(
                connection.line, socket.SHUT_RDWR
            )  # below TLS, whose own shutdown is not safe across threads
        except OSError:
            return  # closed a moment before: what the timer wanted


def refused(url: str, what: str, expected: str, hint: str) -> SourceError:
    """The error for an address that is not fetched; its value is cut after 500 characters."""
    return SourceError(f"cannot use this address: {what}", value=url[:500], expected=expected, hint=hint)
