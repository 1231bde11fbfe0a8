"""A fence around the process of a tracker: it reaches the address that was named, and no other.

Python tells an audit hook (PEP 578) of every connection, datagram and name that it looks up, whichever library asks for it.
Programs that a tracker starts are beyond the hook: the kernel refuses them, where it can (`kernel`), and `mirror` gives them
proxies that lead nowhere.
"""

from __future__ import annotations

import ipaddress
import socket
import sys
from collections.abc import Iterator
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies

from tunesmith.ops.mirrors.kernel import fence_programs

__all__ = ["fenced"]

_TO = frozenset({"socket.connect", "socket.sendto", "socket.sendmsg"})
_NAMES = frozenset({"socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr"})
_PORTS = {"https": 443, "http": 80}


def fenced(address: str) -> list[str]:
    """From now on, and until it ends, this process reaches only `address` (empty: nothing), through the proxies of the
    environment if there are any. Everything else raises PermissionError. Programs that it starts reach its ports at most, where
    the kernel has Landlock.

    Returns a list that takes up what was refused: `host:port`, or the name that was looked up.
    """
    named = _named(address)
    hosts, places = {"", "localhost", *(host for host, _ in named)}, set[tuple[str, int]]()
    refused: list[str] = []

    def refuse(what: str) -> None:
        refused.append(what)
        raise PermissionError(13, f"the recipe does not name {what}")

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event in _TO and isinstance(arguments[1], tuple):  # the address of a socket of this machine's files is no tuple
            place = str(arguments[1][0]), int(arguments[1][1])
            if place not in places:
                places.update(_found(named))  # now, because a name may lead to another place than a minute ago
            if place not in places:
                refuse(f"{place[0]}:{place[1]}")
        elif event in _NAMES and (host := _text(arguments[0])) not in hosts and not _is_number(host):
            refuse(host)

    fence_programs({port for _, port in named})
    sys.addaudithook(hook)
    return refused


def _named(address: str) -> list[tuple[str, int]]:
    """Host and port of the address and of the proxies on the way to it."""
    proxies = [url for name, url in getproxies().items() if name != "no"]
    parts = [urlsplit(url if "://" in url else f"http://{url}") for url in ([address, *proxies] if address else [])]
    return [(part.hostname or "", part.port or _PORTS.get(part.scheme, 80)) for part in parts]


def _found(named: list[tuple[str, int]]) -> Iterator[tuple[str, int]]:
    for host, port in named:
        yield host, port
        with suppress(OSError):  # a name that only a proxy can look up
            yield from ((str(found[4][0]), port) for found in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))


def _text(host: Any) -> str:
    return host.decode(errors="replace") if isinstance(host, bytes) else str(host or "")


def _is_number(host: str) -> bool:
    """An address in figures is not looked up anywhere."""
    try:
        ipaddress.ip_address(host.split("%")[0])
    except ValueError:
        return False
    return True
