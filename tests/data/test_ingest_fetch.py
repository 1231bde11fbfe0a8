"""Fetching is guarded: public addresses only, the checked address is used, and every size and time has a limit."""

from __future__ import annotations

import gzip
import ipaddress
import socket
import threading
import zlib
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest
from local_server import serving

from tunesmith.core.errors import SourceError
from tunesmith.data.ingest.address import is_allowed
from tunesmith.data.ingest.fetch import fetch

PAGE = (200, {"Content-Type": "text/html"}, b"<p>hello</p>")


def test_a_page_of_this_machine_is_fetched_when_private_is_allowed() -> None:
    with serving({"/a b?q=1": PAGE, "/a%20b?q=1": PAGE}) as server:
        found = fetch(server.url("/a%20b?q=1"), allow_private=True)
        assert found.body == b"<p>hello</p>" and found.content_type == "text/html"
        sent = server.requests[0]
        assert sent["Host"] == f"127.0.0.1:{server.server_address[1]}" and "Cookie" not in sent and "Authorization" not in sent


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "127.1", "2130706433", "0x7f000001", "0177.0.0.1", "[::ffff:127.0.0.1]"]
)
def test_loopback_is_refused_in_every_spelling_with_no_connection_made(host: str) -> None:
    with serving({"/": PAGE}) as server:
        with pytest.raises(SourceError, match=r"not public|not known"):
            fetch(server.url(host=host))
        assert server.connections == 0


@pytest.mark.parametrize(
    "address",
    ["10.0.0.1", "192.168.1.1", "172.16.0.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1", "255.255.255.255",
     "192.0.2.1", "::1", "::", "fe80::1", "fc00::1", "ff02::1", "::ffff:10.0.0.1", "64:ff9b::7f00:1",
     "2002:7f00:1::", "fec0::1", "240.0.0.1"],
)  # fmt: skip
def test_no_special_address_counts_as_public(address: str) -> None:
    assert not is_allowed(ipaddress.ip_address(address), allow_private=False)


def test_link_local_and_multicast_stay_forbidden_even_when_private_is_allowed() -> None:
    for address in ("169.254.169.254", "fe80::1", "224.0.0.1", "0.0.0.0"):
        assert not is_allowed(ipaddress.ip_address(address), allow_private=True)
    assert is_allowed(ipaddress.ip_address("8.8.8.8"), allow_private=False)


@pytest.mark.parametrize(
    "url",
    ["ftp://x.org/a", "file:///etc/passwd", "http://", "http://u:p@x.org/", "http://x.org:99999/", "http://x y.org/",
     "http://x.org/\r\nA: b", "http://[::1", "javascript:alert(1)", "http://x.org:0/", "http://exa\\mple.org/"],
)  # fmt: skip
def test_what_is_no_plain_web_address_is_refused(url: str) -> None:
    with pytest.raises(SourceError, match="cannot use this address") as caught:
        fetch(url, allow_private=True)
    assert caught.value.problems[0].hint


def test_one_private_address_among_several_spoils_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    both = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (ip, 80)) for ip in ("93.184.216.34", "10.0.0.1")]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **kwargs: both)
    with pytest.raises(SourceError, match=r"not public \(10\.0\.0\.1\)"):
        fetch("http://two-faced.example/")


def test_the_name_is_looked_up_once_and_the_checked_address_is_the_one_connected_to(monkeypatch: pytest.MonkeyPatch) -> None:
    lookups: list[str] = []
    real = socket.getaddrinfo

    def once(host: Any, *args: Any, **kwargs: Any) -> Any:
        if host == "rebinding.test":
            lookups.append(host)
            return real("127.0.0.1" if len(lookups) == 1 else "203.0.113.9", *args, **kwargs)
        return real(host, *args, **kwargs)

    with serving({"/": PAGE}) as server:
        monkeypatch.setattr(socket, "getaddrinfo", once)
        assert fetch(server.url(host="rebinding.test"), allow_private=True).body == b"<p>hello</p>"
        assert lookups == ["rebinding.test"]
        assert server.requests[0]["Host"].startswith("rebinding.test:")


def test_redirects_are_followed_five_times_and_no_more() -> None:
    hops = {f"/{n}": (302, {"Location": f"/{n + 1}"}, b"") for n in range(7)}
    with serving({**hops, "/5": PAGE}) as server:
        assert fetch(server.url("/0"), allow_private=True).url == server.url("/5")
    with serving(dict(hops)) as server, pytest.raises(SourceError, match="more than 5 redirects"):
        fetch(server.url("/0"), allow_private=True)


def test_a_redirect_is_checked_like_the_first_address() -> None:
    for target in ("http://169.254.169.254/latest/meta-data", "file:///etc/passwd", "ftp://x.org/"):
        with (
            serving({"/": (302, {"Location": target}, b"")}) as server,
            pytest.raises(SourceError, match=r"not public|not a web address"),
        ):
            fetch(server.url(), allow_private=True)


@pytest.mark.parametrize(
    ("encoding", "body"),
    [("gzip", gzip.compress(b"words")), ("deflate", zlib.compress(b"words")), ("deflate", zlib.compress(b"words")[2:-4]),
     ("deflate, gzip", gzip.compress(zlib.compress(b"words"))), ("identity", b"words")],
    ids=["gzip", "zlib", "deflate", "twice", "plain"],  # a gzip body says when it was made: no name for a test
)  # fmt: skip
def test_compressed_bodies_are_unpacked(encoding: str, body: bytes) -> None:
    with serving({"/": (200, {"Content-Encoding": encoding}, body)}) as server:
        assert fetch(server.url(), allow_private=True).body == b"words"


@pytest.mark.parametrize(
    ("headers", "body", "reason"),
    [({"Content-Encoding": "gzip"}, gzip.compress(b" " * 60_000_000, compresslevel=1), "more than 50 MB"),
     ({"Content-Encoding": "gzip"}, b"no gzip", "damaged"),
     ({"Content-Encoding": "br"}, b"x", "was not requested"),
     ({"Content-Encoding": "gzip, gzip, gzip"}, b"x", "more than twice"),
     ({"Content-Length": str(21 * 1024 * 1024)}, b"x", "larger than 20 MB")],
    ids=["bomb", "damaged", "brotli", "three times", "declared"],
)  # fmt: skip
def test_bombs_and_unknown_encodings_are_refused(headers: dict[str, str], body: bytes, reason: str) -> None:
    with serving({"/": (200, headers, body)}) as server, pytest.raises(SourceError, match=reason):
        fetch(server.url(), allow_private=True)


def test_an_endless_body_is_cut_off_at_the_limit() -> None:
    def endless(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        for _ in range(400):
            handler.wfile.write(b"x" * 100_000)

    with serving({"/": endless}) as server, pytest.raises(SourceError, match="larger than 20 MB"):
        fetch(server.url(), allow_private=True)


def test_a_server_that_drips_bytes_is_given_up_at_the_deadline() -> None:
    enough, sent = threading.Event(), list[int]()

    def drip(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        while len(sent) < 100 and not enough.wait(0.1):
            handler.wfile.write(b"x")
            sent.append(1)

    with serving({"/": drip}) as server:
        with pytest.raises(SourceError, match=r"took longer than 0\.5 s"):
            fetch(server.url(), allow_private=True, seconds=0.5)
        enough.set()
    assert len(sent) < 100, "the whole body was waited for"


def test_errors_of_the_server_are_named() -> None:
    with serving({}) as server, pytest.raises(SourceError, match="the server answered 404"):
        fetch(server.url("/gone"), allow_private=True)
    with pytest.raises(SourceError, match="cannot be fetched"):
        fetch("http://127.0.0.1:9/", allow_private=True, seconds=2)
