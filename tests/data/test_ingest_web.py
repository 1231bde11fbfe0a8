"""Addresses are read politely and once: robots.txt, a pause, conditional requests, further pages, whole pages, sites."""

from __future__ import annotations

import gzip
import re
from pathlib import Path

import pytest
from local_server import Answer, FakeClock, LocalServer, local_web, serving

from tunesmith.core.errors import DatasetError, SourceError
from tunesmith.core.reporter import SilentReporter
from tunesmith.data.ingest.cache import Cache, Kept
from tunesmith.data.ingest.extract import extract
from tunesmith.data.ingest.gather import gather
from tunesmith.data.ingest.item import Extracted, Gathered
from tunesmith.data.ingest.web import Web

XML = {"Content-Type": "application/xml"}
HTML = {"Content-Type": "text/html; charset=utf-8"}


def page(words: str, *, head: str = "") -> bytes:
    prose = f"<p>{words} was on everybody's mind in the harbour that morning, and it stayed there until the evening.</p>" * 6
    body = f"<body><article><h1>{words}</h1>{prose}</article></body>"
    return f"<html><head><title>{words}</title>{head}</head>{body}</html>".encode()


def rss(server: LocalServer, names: list[str], *, updated: str = "Tue, 11 Apr 2023 08:00:00 GMT") -> bytes:
    items = "".join(
        f"<item><title>{name} in the feed</title><link>{server.url(f'/{name}')}</link><pubDate>{updated}</pubDate>"
        f"<author>Ada</author><description>The beginning of {name} […]</description></item>"
        for name in names
    )
    return f"<rss version='2.0'><channel><title>Blog</title><link>{server.url('/')}</link>{items}</channel></rss>".encode()


def read(source: str, web: Web) -> tuple[Gathered, Extracted]:
    gathered = gather([source], web=web)
    return gathered, extract(gathered, reporter=SilentReporter())


def titles(found: Extracted) -> list[str | None]:
    return [document.title for document in found.documents]


# --- once -------------------------------------------------------------------------------------------------------------


def test_a_second_ingest_of_a_feed_fetches_only_what_is_new(tmp_path: Path) -> None:
    answers: dict[str, Answer] = {f"/{name}": (200, HTML, page(name)) for name in ("rain", "snow", "wind")}
    with serving(dict(answers)) as server:
        server.answers["/feed"] = (200, {**XML, "ETag": '"1"'}, rss(server, ["rain", "snow"]))
        first, _ = read(server.url("/feed"), local_web(tmp_path))
        assert sorted(server.paths()) == ["/feed", "/rain", "/snow"] and first.traffic == {"fetched": 3}
        again, found = read(server.url("/feed"), local_web(tmp_path))
        assert server.asked[-1] == ("/feed", 304) and len(server.paths()) == 4
        assert again.traffic == {"unchanged": 1, "kept": 2} and again.items == first.items
        assert sorted(map(str, titles(found))) == ["rain in the feed", "snow in the feed"]
        server.answers["/feed"] = (200, {**XML, "ETag": '"2"'}, rss(server, ["wind", "rain", "snow"]))
        third, found = read(server.url("/feed"), local_web(tmp_path))
        assert third.traffic == {"fetched": 2, "kept": 2} and len(found.documents) == 3
        assert max(server.paths().count(f"/{name}") for name in ("rain", "snow", "wind")) == 1, "a page was fetched twice"


def test_a_page_whose_entry_changed_is_asked_for_again_and_may_be_unchanged(tmp_path: Path) -> None:
    with serving({"/rain": (200, {**HTML, "ETag": '"a"'}, page("rain"))}) as server:
        for day in ("11", "12"):
            server.answers["/feed"] = (200, XML, rss(server, ["rain"], updated=f"Tue, {day} Apr 2023 08:00:00 GMT"))
            read(server.url("/feed"), local_web(tmp_path))
        assert [status for path, status in server.asked if path == "/rain"] == [200, 304]
        server.answers["/rain"] = (200, {**HTML, "ETag": '"b"'}, page("hail"))
        server.answers["/feed"] = (200, XML, rss(server, ["rain"], updated="Thu, 13 Apr 2023 08:00:00 GMT"))
        assert "hail" in read(server.url("/feed"), local_web(tmp_path))[1].documents[0].text


def test_without_a_cache_nothing_is_conditional_and_nothing_is_written() -> None:
    with serving({"/a": (200, {**HTML, "ETag": '"1"'}, page("rain"))}) as server:
        for _ in range(2):
            read(server.url("/a"), local_web())
        assert [status for path, status in server.asked if path == "/a"] == [200, 200]


def test_what_is_kept_is_believed_only_if_its_hash_is_right(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    cache.keep("http://x.org/", Kept(url="http://x.org/", body=b"words\nmore", asked=1.0, etag='"1"'))
    kept = cache.find("http://x.org/")
    assert kept is not None and kept.body == b"words\nmore" and kept.validators is not None
    (file,) = tmp_path.iterdir()
    whole = file.read_bytes()
    for place in range(0, len(whole), 7):
        file.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        assert cache.find("http://x.org/") is None, place
        file.write_bytes(whole[:place])
        assert cache.find("http://x.org/") is None
    file.rename(file.with_name(cache._path("http://y.org/").name))
    assert cache.find("http://y.org/") is None, "the body of one address was given for another"


def test_a_validator_is_sent_to_the_address_that_gave_it_and_to_no_other(tmp_path: Path) -> None:
    with serving({"/new": (200, {**HTML, "ETag": '"secret"'}, page("rain"))}) as server:
        server.answers["/old"] = (302, {"Location": "/new"}, b"")
        for _ in range(2):
            local_web(tmp_path).get(server.url("/old"))
        sent = [headers.get("If-None-Match") for headers in server.requests]
        assert [(path, tag) for (path, _), tag in zip(server.asked, sent, strict=True) if tag] == [("/new", '"secret"')]


# --- politely ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("robots", "allowed"),
    [((200, {}, b"User-agent: *\nDisallow: /"), False),
     ((200, {}, b"User-agent: *\nDisallow: /\nAllow: /a"), True),
     ((200, {}, b"User-agent: tunesmith\nDisallow: /a\n\nUser-agent: *\nAllow: /"), False),
     ((200, {}, b"User-agent: *\nDisallow: /*.html$"), True),
     ((200, {}, b"User-agent: *\nDisallow: /*a$"), False),
     ((404, {}, b""), True), ((403, {}, b""), True), ((500, {}, b""), False), ((429, {}, b""), False),
     ((200, {}, b"\xff\xfe<html>not here</html>"), True)],
)  # fmt: skip
def test_robots_txt_decides(robots: Answer, allowed: bool) -> None:
    with serving({"/robots.txt": robots, "/a": (200, HTML, page("rain"))}) as server:
        if allowed:
            assert read(server.url("/a"), local_web())[1].documents
        else:
            with pytest.raises(SourceError, match=r"robots\.txt"):
                read(server.url("/a"), local_web())
            assert server.paths() == []


def test_a_redirect_into_what_robots_txt_forbids_is_not_followed() -> None:
    with serving({"/robots.txt": (200, {}, b"User-agent: *\nDisallow: /b"), "/b": (200, HTML, page("rain"))}) as server:
        server.answers["/a"] = (302, {"Location": "/b"}, b"")
        with pytest.raises(SourceError, match="does not allow it"):
            local_web().get(server.url("/a"))
        assert server.paths() == ["/a"]


def test_robots_txt_is_kept_for_a_day(tmp_path: Path) -> None:
    clock = FakeClock()
    with serving({"/robots.txt": (200, {}, b""), "/a": (200, HTML, page("rain"))}) as server:
        for hours in (0, 23, 2):
            clock.time += hours * 3600
            local_web(tmp_path, clock=clock).get(server.url("/a"))
        assert [path for path, _ in server.asked].count("/robots.txt") == 2


def test_a_host_is_left_in_peace_between_two_requests() -> None:
    for robots, delay in ((b"", 2.0), (b"User-agent: *\nCrawl-delay: 5", 5.0)):
        clock = FakeClock()
        with serving({"/robots.txt": (200, {}, robots), "/a": (200, HTML, page("rain"))}) as server:
            web = local_web(clock=clock, delay_s=2.0)
            web.get(server.url("/a"))
            web.get(server.url("/a"))
        assert clock.waits[-1] == delay and len(clock.waits) == 2
    clock = FakeClock()
    with serving({"/a": (200, HTML, page("rain"))}) as one, serving({"/a": (200, HTML, page("snow"))}) as other:
        web = local_web(clock=clock, delay_s=2.0)
        for server in (one, other):
            web.get(server.url("/a"))
        assert len(clock.waits) == 2, "one pause a host, after its robots.txt"


def test_a_busy_server_is_given_the_time_it_asks_for_once() -> None:
    clock = FakeClock()
    with serving({"/a": (503, {"Retry-After": "7"}, b"")}) as server:
        with pytest.raises(SourceError, match="answered 503"):
            local_web(clock=clock).get(server.url("/a"))
        assert server.paths() == ["/a", "/a"] and clock.waits == [7.0]
        server.answers["/a"] = (429, {"Retry-After": "86400"}, b"")
        with pytest.raises(SourceError, match="answered 429"):
            local_web(clock=clock).get(server.url("/a"))
        assert clock.waits == [7.0]


# --- feeds ------------------------------------------------------------------------------------------------------------


def test_the_page_of_an_excerpt_is_read_and_the_feed_says_whose_it_is(tmp_path: Path) -> None:
    with serving({"/rain": (200, HTML, page("rain")), "/gone": (404, {}, b"")}) as server:
        server.answers["/feed"] = (200, XML, rss(server, ["rain", "gone"]))
        _, found = read(server.url("/feed"), local_web(tmp_path))
        rain, gone = sorted(found.documents, key=lambda document: -len(document.text))
        assert (rain.title, rain.author, rain.date) == ("rain in the feed", "Ada", "2023-04-11")
        assert rain.extraction == "html" and rain.url == server.url("/rain") and "until the evening" in rain.text
        assert gone.extraction == "feed" and gone.text == "The beginning of gone […]"
        assert [failure.source for failure in found.failures] == [server.url("/gone")]
        assert found.notes == ("1 feed entries that seem to be excerpts",)


def test_the_page_of_an_excerpt_may_be_no_html() -> None:
    with serving({"/rain": (200, {"Content-Type": "text/plain"}, b"It rained all day.")}) as server:
        server.answers["/feed"] = (200, XML, rss(server, ["rain"]))
        (rain,) = read(server.url("/feed"), local_web())[1].documents
        assert (rain.text, rain.title, rain.extraction) == ("It rained all day.", "rain in the feed", "text")


def test_entries_that_point_to_other_sites_are_taken_as_the_feed_gives_them() -> None:
    entry = (
        "<item><title>Elsewhere</title><link>http://other.invalid/x</link><description>Look at this […]</description></item>"
    )
    feed = f"<rss><channel><title>t</title><link>http://x.invalid/</link>{entry}</channel></rss>".encode()
    with serving({"/feed": (200, XML, feed)}) as server:
        gathered, found = read(server.url("/feed"), local_web())
        assert titles(found) == ["Elsewhere"] and not found.failures
        assert gathered.notes == {"feed entries that point to other sites, taken as the feed gives them": 1}


def full(names: list[str], *, head: str = "") -> bytes:
    entries = "".join(f"<entry><title>{n}</title><id>{n}</id><content>All of {n}.</content></entry>" for n in names)
    return f"<feed xmlns='http://www.w3.org/2005/Atom'><title>t</title>{head}{entries}</feed>".encode()


def test_further_pages_of_a_feed_are_followed_and_entries_keep_their_ids_when_they_move() -> None:
    with serving({}) as server:
        server.answers["/feed"] = (200, XML, full(["c", "b"], head="<link rel='next' href='/feed?page=2'/>"))
        server.answers["/feed?page=2"] = (200, XML, full(["a"], head="<link rel='next' href='/feed'/>"))
        before = read(server.url("/feed"), local_web())[1].documents
        assert [document.title for document in before] == ["c", "b", "a"]
        server.answers["/feed"] = (200, XML, full(["d", "c"], head="<link rel='prev-archive' href='/feed?page=2'/>"))
        server.answers["/feed?page=2"] = (200, XML, full(["b", "a"]))
        after = read(server.url("/feed"), local_web())[1].documents
        assert {document.id for document in before} < {document.id for document in after} and len(after) == 4


def test_json_feeds_are_paged_by_next_url_and_only_on_their_own_site() -> None:
    def feed(name: str, following: str) -> bytes:
        return (
            f'{{"version": "https://jsonfeed.org/version/1.1", "title": "t", "next_url": "{following}", '
            f'"items": [{{"id": "{name}", "title": "{name}", "content_text": "All of {name}."}}]}}'
        ).encode()

    with serving({}) as server:
        server.answers["/feed.json"] = (200, {}, feed("a", "/2.json"))
        server.answers["/2.json"] = (200, {}, feed("b", "http://other.invalid/3.json"))
        gathered, found = read(server.url("/feed.json"), local_web())
        assert titles(found) == ["a", "b"] and not gathered.failures


def test_older_posts_of_a_wordpress_feed_are_asked_for_until_there_are_none() -> None:
    made = "<generator uri='https://wordpress.org/'>WordPress</generator>"
    with serving({}) as server:
        server.answers["/feed"] = (200, XML, full(["b"], head=made))
        server.answers["/feed?paged=2"] = (200, XML, full(["a"], head=made))
        gathered, found = read(server.url("/feed"), local_web())
        assert titles(found) == ["b", "a"] and server.asked[-1] == ("/feed?paged=3", 404) and not gathered.failures
        server.answers["/feed"] = (200, XML, full(["b"]))
        assert titles(read(server.url("/feed"), local_web())[1]) == ["b"], "nothing says that there is a second page"


def test_a_feed_that_never_ends_is_left_after_a_hundred_pages() -> None:
    with serving({}) as server:
        for number in range(300):
            link = f"<link rel='next' href='/feed?page={number + 1}'/>"
            server.answers[f"/feed?page={number}"] = (200, XML, full([f"post {number}"], head=link))
        assert len(read(server.url("/feed?page=0"), local_web())[1].documents) == 100


def test_a_feed_that_cannot_be_parsed_and_links_that_nobody_understands_are_named_and_stop_nothing() -> None:
    item = b'{"id": "1", "url": "http://[::1", "content_text": "Words."}'
    odd = b'{"version": "https://jsonfeed.org/version/1.1", "title": "t", "next_url": "http://[", "items": [' + item + b"]}"
    entry = "<item><title>t</title><link>http://[::1</link><description>Short.</description></item>"
    with serving({"/feed.json": (200, {}, odd), "/broken": (200, {}, b'{"home_page_url": "x", "items": [')}) as server:
        server.answers["/rss"] = (200, {}, f"<rss><channel><title>t</title>{entry}</channel></rss>".encode())
        assert [document.text for document in read(server.url("/feed.json"), local_web())[1].documents] == ["Words."]
        assert [document.text for document in read(server.url("/rss"), local_web())[1].documents] == ["Short."]
        with pytest.raises(DatasetError, match="not valid JSON"):
            read(server.url("/broken"), local_web())


# --- sites ------------------------------------------------------------------------------------------------------------


def sitemap(server: LocalServer, changed: dict[str, str]) -> bytes:
    entries = "".join(
        f"<url><loc>{server.url(f'/{name}')}</loc><image:image><image:loc>http://x/i.png</image:loc></image:image>"
        f"<lastmod>{day}</lastmod></url>"
        for name, day in changed.items()
    )
    spaces = "xmlns='http://www.sitemaps.org/schemas/sitemap/0.9' xmlns:image='http://www.google.com/schemas/sitemap-image/1.1'"
    return f"<?xml version='1.0'?><urlset {spaces}>{entries}</urlset>".encode()


def test_the_front_page_of_a_site_stands_for_the_pages_of_its_sitemap(tmp_path: Path) -> None:
    answers: dict[str, Answer] = {f"/{name}": (200, HTML, page(name)) for name in ("rain", "snow", "wind")}
    with serving({**answers, "/": (200, HTML, page("home"))}) as server:
        server.answers["/sitemap.xml"] = (
            200,
            {**XML, "ETag": '"1"'},
            sitemap(server, {"rain": "2023-01-01", "snow": "2023-01-02"}),
        )
        _, found = read(server.url("/"), local_web(tmp_path))
        assert titles(found) == ["rain", "snow"] and found.documents[0].url == server.url("/rain")
        changed = {"rain": "2023-01-01", "snow": "2023-02-02", "wind": "2023-02-03"}
        server.answers["/sitemap.xml"] = (200, {**XML, "ETag": '"2"'}, sitemap(server, changed))
        _, found = read(server.url("/"), local_web(tmp_path))
        assert titles(found) == ["rain", "snow", "wind"]
        assert [server.paths().count(f"/{name}") for name in changed] == [1, 2, 1]


def test_sitemaps_that_robots_txt_names_are_read_with_their_index_and_gzip(tmp_path: Path) -> None:
    answers: dict[str, Answer] = {f"/{name}": (200, HTML, page(name)) for name in ("", "rain", "snow")}
    with serving(dict(answers)) as server:
        maps = "".join(f"<sitemap><loc>{server.url(path)}</loc></sitemap>" for path in ("/a.xml.gz", "/b.xml"))
        index = f"<sitemapindex>{maps}</sitemapindex>"
        server.answers["/robots.txt"] = (200, {}, f"Sitemap: {server.url('/index.xml')}".encode())
        server.answers["/index.xml"] = (200, XML, index.encode())
        server.answers["/a.xml.gz"] = (200, {}, gzip.compress(sitemap(server, {"rain": "2023-01-01"})))
        server.answers["/b.xml"] = (200, XML, sitemap(server, {"snow": "", "missing": ""}))
        _, found = read(server.url("/"), local_web(tmp_path))
        assert titles(found) == ["rain", "snow"]
        assert {failure.source: failure.reason for failure in found.failures} == {
            server.url("/missing"): "cannot use this address: the server answered 404 Not Found; expected 200 OK"
        }
        assert titles(read(server.url("/index.xml"), local_web(tmp_path))[1]) == ["rain", "snow"]


def test_of_a_large_site_the_pages_that_changed_last_are_read_and_the_rest_is_counted() -> None:
    answers: dict[str, Answer] = {f"/{name}": (200, HTML, page(name)) for name in ("rain", "snow", "wind")}
    with serving(dict(answers)) as server:
        days = {"rain": "2023-01-03", "snow": "2023-01-01", "wind": "2023-01-02"}
        other = b"<url><loc>http://other.invalid/x</loc></url><url><loc>/relative</loc></url></urlset>"
        server.answers["/sitemap.xml"] = (200, XML, sitemap(server, days).replace(b"</urlset>", other))
        gathered, found = read(server.url("/sitemap.xml"), local_web(max_pages=2))
        assert titles(found) == ["rain", "wind"]
        assert gathered.notes == {
            "pages beyond fetch.max_pages left out": 1,
            "addresses of other sites in the sitemap skipped": 2,
        }


def test_a_front_page_without_a_sitemap_stands_for_the_feed_that_it_names() -> None:
    head = '<link rel="alternate" type="application/atom+xml" href="/feed">'
    with serving({"/": (200, HTML, page("home", head=head)), "/feed": (200, XML, full(["a"]))}) as server:
        assert titles(read(server.url("/"), local_web())[1]) == ["a"]
        del server.answers["/feed"]
        gathered, found = read(server.url("/"), local_web())
        assert titles(found) == ["home"] and [failure.source for failure in gathered.failures] == [server.url("/feed")]
        server.answers["/"] = (200, HTML, page("home"))
        assert titles(read(server.url("/"), local_web())[1]) == ["home"]


def test_a_page_that_leads_to_another_site_is_a_failure() -> None:
    with serving({"/": (200, HTML, page("elsewhere"))}) as other, serving({}) as server:
        server.answers["/rain"] = (302, {"Location": other.url("/")}, b"")
        server.answers["/sitemap.xml"] = (200, XML, sitemap(server, {"rain": ""}))
        gathered = gather([server.url("/sitemap.xml")], web=local_web())
        assert re.match("it leads to another site", gathered.failures[0].reason) and not gathered.items


# --- licences ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("head", "licence"),
    [('<link rel="license" href="https://creativecommons.org/licenses/by-sa/4.0/">', "CC BY-SA 4.0"),
     ('<meta name="dcterms.rights" content="All rights reserved">', "All rights reserved"),
     ('<script>{"license": "https:\\/\\/creativecommons.org\\/publicdomain\\/zero\\/1.0\\/"}</script>',
      "CC0 1.0"),
     ("", None)],
)  # fmt: skip
def test_the_licence_of_a_page_is_found(head: str, licence: str | None) -> None:
    with serving({"/a": (200, HTML, page("rain", head=head))}) as server:
        assert read(server.url("/a"), local_web())[1].documents[0].license == licence


@pytest.mark.parametrize(
    ("head", "licence"),
    [("<link rel='license' href='http://creativecommons.org/licenses/by-nc/3.0/'/>", "CC BY-NC 3.0"),
     ("<rights>Copyright 2023 Ada</rights>", "Copyright 2023 Ada")],
)  # fmt: skip
def test_the_licence_of_a_feed_counts_for_its_entries(head: str, licence: str) -> None:
    with serving({"/feed": (200, XML, full(["a"], head=head))}) as server:
        assert read(server.url("/feed"), local_web())[1].documents[0].license == licence
