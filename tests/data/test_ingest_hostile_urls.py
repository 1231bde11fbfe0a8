"""More than 150 addresses that try to reach a server of this machine or network: all are refused, nobody is connected to."""

from __future__ import annotations

import socket
from typing import Any

import pytest
from local_server import LocalServer, local_web, serving

from tunesmith.core.errors import SourceError
from tunesmith.data.ingest.fetch import ask, fetch
from tunesmith.data.ingest.gather import gather
from tunesmith.data.ingest.web import Clock, Web

# Ways to write this machine, or an address of its network; `{p}` is the port of the canary.
LOOPBACK_TEXT = """
127.0.0.1 127.0.0.2 127.1 127.0.1 127.255.255.254 127.127.127.127 2130706433 2130706434 017700000001 0x7f000001
0x7F000001 0x7f.0x0.0x0.0x1 0x7f.0.0.1 0177.0.0.1 0177.0.0.01 0177.0000.0000.0001 127.0x0.0.1 0177.1 0x7f.1 127.00.00.01
127.000.000.001 0 0.0.0.0 00.00.00.00 0x0 localhost LOCALHOST LocalHost localhost. localhost.localdomain ip6-localhost
canary.localhost [::1] [0:0:0:0:0:0:0:1] [::0001] [0000:0000:0000:0000:0000:0000:0000:0001] [::] [0:0:0:0:0:0:0:0]
[::ffff:127.0.0.1] [::ffff:7f00:1] [::FFFF:127.0.0.1] [0:0:0:0:0:ffff:127.0.0.1] [::ffff:0:127.0.0.1] [::127.0.0.1]
[::7f00:1] [64:ff9b::127.0.0.1] [64:ff9b::7f00:1] [64:ff9b:1::7f00:1] [2002:7f00:1::] [2002:7f00:0001::1]
[2001:0:7f00:1::] [2001:0:0:0:0:0:80ff:fffe] [::1%25lo] [fe80::1%25eth0] [::ffff:10.0.0.1] [::ffff:169.254.169.254]
[fe80::1] [fec0::1] [fc00::1] [fd00::1] [ff02::1] ①②⑦.⓪.⓪.① １２７.０.０.１ 127。0。0。1 127．0．0．1
ⓛⓞⓒⓐⓛⓗⓞⓢⓣ ｌｏｃａｌｈｏｓｔ
%31%32%37.0.0.1 127.0.0.1%00 127.0.0.1%2f 127.0.0.1. metadata metadata.google.internal rebind.network
127.0.0.1.nip.network localtest.network spoofed.burpcollaborator.network
"""
PRIVATE_TEXT = """
10.0.0.1 10.255.255.255 172.16.0.1 172.31.255.254 192.168.0.1 192.168.255.254 169.254.169.254 169.254.170.2 100.64.0.1
100.100.100.200 100.127.255.254 192.0.0.1 192.0.0.192 192.0.2.1 198.18.0.1 198.19.255.254 198.51.100.1 203.0.113.1
224.0.0.1 239.255.255.255 240.0.0.1 255.255.255.255 0.1.2.3 2852039166 0xa9fea9fe 0251.0376.0251.0376
0xA9.0xFE.0xA9.0xFE 169.254.43518 [fd00:ec2::254] [::ffff:a9fe:a9fe] [64:ff9b::a9fe:a9fe] [2002:a9fe:a9fe::]
[::ffff:192.168.0.1] [2002:c0a8:1::] [100::1] [2001:db8::1] [ff05::2] [64:ff9b::a00:1] 3232235521 0xc0a80001
0300.0250.0.1 192.168.257 10.1 167772161
"""
WHOLE_TEXT = """
http://public.network@127.0.0.1:{p}/ http://127.0.0.1:{p}@public.network/ http://user:pw@127.0.0.1:{p}/
http://:@127.0.0.1:{p}/ http://127.0.0.1:{p}\\@public.network/ http://public.network\\@127.0.0.1:{p}/
http:\\\\127.0.0.1:{p}\\ http:///127.0.0.1:{p}/ http:127.0.0.1:{p}/ http:/127.0.0.1:{p}/ //127.0.0.1:{p}/
http://127.0.0.1:{p}#@public.network/ http://127.0.0.1:{p}?@public.network/ http://[127.0.0.1]:{p}/ http://[::1/
http://::1/ http://127.0.0.1:{p}:80/ http://127.0.0.1:0/ http://127.0.0.1:-1/ http://127.0.0.1:65536/
http://127.0.0.1:99999/ http://127.0.0.1:1e3/ http://127.0.0.1:０/ hTTp://127.0.0.1:{p}/ HTTPS://127.0.0.1:{p}/
https://127.0.0.1:{p}/ file:///etc/passwd file://127.0.0.1/etc/passwd FILE:///etc/passwd ftp://127.0.0.1:{p}/
gopher://127.0.0.1:{p}/_x dict://127.0.0.1:{p}/info ldap://127.0.0.1:{p}/ tftp://127.0.0.1:{p}/ sftp://127.0.0.1:{p}/
jar:http://127.0.0.1:{p}/!/ ws://127.0.0.1:{p}/ data:text/html,words javascript:alert(1)
view-source:http://127.0.0.1:{p}/ netdoc:///etc/passwd unix:///run/x.sock feed:http://127.0.0.1:{p}/
blob:http://127.0.0.1:{p}/ about:blank http+unix://%2Frun%2Fx.sock/ http:// https:// http://. http://.. http://-/
http://%/ http://?/ http://#/
"""
LOOPBACK, PRIVATE, WHOLE = LOOPBACK_TEXT.split(), PRIVATE_TEXT.split(), WHOLE_TEXT.split()
BLANKS = ["http://127.0.0.1:{p}/\r\nHost: x", "http://127.0.0.1\t:{p}/", "http://127.0.0.1 :{p}/", "\thttp://127.0.0.1:{p}/",
          "http://127.0.0.1\n:{p}/", "http://127.0.0.1:{p}/\x00", "http://127.0.0.1\x00.network:{p}/", "http://\u200b127.0.0.1:{p}/",
          "http://127.0.0.1\u00ad:{p}/", " http://127.0.0.1:{p}/", "http://127.0.0.1:{p} /",
          "http://127.0.0.1\u3002:{p}/"]  # fmt: skip
VECTORS = [
    *(f"http://{host}:{{p}}/" for host in (*LOOPBACK, *PRIVATE)),
    *WHOLE,
    *BLANKS,
    "http://" + "a" * 300 + ".network/",
    "http://" + ".".join("a" * 60 for _ in range(10)) + "/",
    "http://127.0.0.1:{p}/" + "a" * 100_000,
]
CANARY = (200, {"Content-Type": "text/html"}, b"<p>the canary</p>")


@pytest.fixture
def no_connection(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Names that are no numbers all lead to this machine; what is connected to is listed, and refused."""
    tried: list[Any] = []
    real = socket.getaddrinfo

    def treacherous(host: Any, port: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            return real(host, port, *args, **{**kwargs, "flags": socket.AI_NUMERICHOST})
        except socket.gaierror:
            return real("127.0.0.1", port, *args, **kwargs)

    def connecting(address: Any, *args: Any, **kwargs: Any) -> Any:
        tried.append(address)
        raise OSError("connected")

    monkeypatch.setattr(socket, "getaddrinfo", treacherous)
    monkeypatch.setattr(socket, "create_connection", connecting)
    return tried


def test_there_are_more_than_a_hundred_and_fifty_different_vectors() -> None:
    assert len(set(VECTORS)) == len(VECTORS) > 150


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: ascii(vector[:60]))
def test_a_hostile_address_is_refused_before_anything_is_connected_to(vector: str, no_connection: list[Any]) -> None:
    with serving({"/": CANARY}) as canary:
        with pytest.raises(SourceError) as caught:
            fetch(vector.replace("{p}", str(canary.server_address[1])))
        assert canary.connections == 0 and no_connection == []
    assert all((problem.hint, problem.expected) for problem in caught.value.problems)


def test_the_canary_hears_those_who_may_reach_it() -> None:
    """The planted fault: with private addresses allowed the same vectors do arrive, so that silence above means something."""
    reached = 0
    with serving({"/": CANARY}) as canary:
        for host in ("127.0.0.1", "127.1", "2130706433", "0x7f000001", "0177.0.0.1", "localhost", "[::ffff:127.0.0.1]"):
            before = canary.connections
            try:
                fetch(canary.url(host=host), allow_private=True, seconds=2)
            except SourceError:
                continue  # this machine may have no IPv6
            reached += canary.connections > before
    assert reached >= 5


def leading(server: LocalServer, target: str) -> dict[str, Any]:
    """Everything on a site that could lead a reader elsewhere."""
    entry = f"<item><title>t</title><link>{target}</link><description>Short […]</description></item>"
    following = f"<link xmlns='http://www.w3.org/2005/Atom' rel='next' href='{target}'/>"
    return {
        "/redirect": (302, {"Location": target}, b""),
        "/feed": (200, {}, f"<rss><channel><title>t</title>{following}{entry}</channel></rss>".encode()),
        "/map": (200, {}, f"<urlset><url><loc>{target}</loc></url></urlset>".encode()),
        "/index": (200, {}, f"<sitemapindex><sitemap><loc>{target}</loc></sitemap></sitemapindex>".encode()),
        "/": (200, {}, f"<html><link rel=alternate type='application/rss+xml' href='{target}'><p>{'words ' * 50}".encode()),
        "/robots.txt": (200, {}, f"Sitemap: {target}".encode()),
    }


@pytest.mark.parametrize("scheme", ["http", "https", "ftp", "file"])
def test_nothing_on_a_page_leads_to_another_host(scheme: str) -> None:
    with serving({"/x": CANARY}) as canary, serving({}) as server:
        server.answers.update(leading(server, f"{scheme}://127.0.0.1:{canary.server_address[1]}/x"))
        for path in ("/feed", "/map", "/index", "/"):
            try:
                gather([server.url(path)], web=local_web())
            except SourceError:
                continue  # nothing is left of a sitemap that only leads elsewhere
        assert canary.connections == 0
        if scheme != "http":
            with pytest.raises(SourceError):
                ask(server.url("/redirect"), allow_private=True)
            assert canary.connections <= (scheme == "https"), "only a TLS greeting may reach it"


def test_a_polite_reader_refuses_them_too_and_asks_no_robots_txt() -> None:
    with serving({"/": CANARY, "/robots.txt": (200, {}, b"")}) as canary:
        for host in ("127.0.0.1", "localhost", "[::1]", "2130706433"):
            with pytest.raises(SourceError, match=r"not public|not known"):
                Web(clock=Clock(now=lambda: 0.0, sleep=lambda seconds: None)).get(canary.url(host=host))
        assert canary.connections == 0
