"""Feeds and pages become documents; what is none is said to be none."""

from __future__ import annotations

import gzip
import time
from pathlib import Path

import pytest
from shared_material import ingest, material

from tunesmith.core.errors import TunesmithError
from tunesmith.core.records import Document
from tunesmith.data.ingest.feed import read_feed
from tunesmith.data.ingest.html import read_html
from tunesmith.data.text.decode import UnreadableError, decode, gunzip

RSS = """<?xml version="1.0"?><rss version="2.0" xmlns:content="http://purl.org/rss/1.0/modules/content/"><channel>
<title>Blog</title>
<item><title>Rain &amp;amp; snow</title><link>https://x.org/rain</link>
<pubDate>Tue, 11 Apr 2023 08:00:00 GMT</pubDate><author>Ada</author>
<description>Short.</description><content:encoded><![CDATA[<h2>Why</h2><p>It <b>rained</b>.</p><ul><li>one</li><li>two</li></ul>
<pre>code</pre><table><tr><td>1</td></tr></table><blockquote><p>said</p></blockquote>
<p>End.<br>Yes.</p>]]></content:encoded></item>
<item><title>Excerpt</title><link>https://x.org/2</link><description>Only this &lt;em&gt;much&lt;/em&gt;.</description></item>
</channel></rss>"""


def test_an_rss_entry_is_a_document_with_its_metadata() -> None:
    first = read_feed(RSS.encode(), name="feed.xml").documents[0]
    assert (first.title, first.url, first.date, first.author) == ("Rain & snow", "https://x.org/rain", "2023-04-11", "Ada")
    assert first.text == "## Why\n\nIt rained.\n\n- one\n- two\n\n> said\n\nEnd.\nYes."


def test_an_entry_that_seems_an_excerpt_is_kept_and_noted() -> None:
    reading = read_feed(RSS.encode(), name="feed.xml")
    assert reading.documents[1].text == "Only this much."
    assert reading.notes["feed entries that seem to be excerpts"] == 1
    assert reading.notes["code blocks left out"] == reading.notes["tables left out"] == 1


def test_the_charset_of_a_feed_is_honoured() -> None:
    for encoding in ("utf-16", "iso-8859-1"):
        item = "<item><description>Größe</description></item>"
        data = f'<?xml version="1.0" encoding="{encoding}"?><rss><channel><title>t</title>{item}</channel></rss>'
        assert read_feed(data.encode(encoding), name="f.xml").documents[0].text == "Größe"


def test_json_feed_entries_are_documents() -> None:
    data = b"""{"version": "https://jsonfeed.org/version/1.1", "title": "B", "authors": [{"name": "Ada"}], "items": [
{"id": "1", "title": "T", "url": "https://x/1", "content_html": "<p>One.</p><p>Two.</p>",
"date_published": "2023-04-11T08:00:00Z"},
{"id": "2", "content_text": "Three."}]}"""
    first, second = read_feed(data, name="feed.json").documents
    assert (first.text, first.title, first.author, first.date, second.text) == (
        "One.\n\nTwo.",
        "T",
        "Ada",
        "2023-04-11",
        "Three.",
    )


def test_what_has_neither_title_nor_entries_is_no_feed() -> None:
    with pytest.raises(UnreadableError, match="no feed"):
        read_feed(b"<rss><channel></channel></rss>", name="f.xml")


def test_entity_bombs_are_refused_in_time() -> None:
    entities = "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 12))
    bomb = (
        f'<?xml version="1.0"?><!DOCTYPE rss [<!ENTITY a0 "ha">{entities}]><rss><channel><title>&a11;</title></channel></rss>'
    )
    start = time.process_time()
    try:
        reading = read_feed(bomb.encode(), name="bomb.xml")
    except UnreadableError:
        reading = None
    assert time.process_time() - start < 5
    assert reading is None or not reading.documents


def test_an_external_entity_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("hush")
    data = f'<!DOCTYPE rss [<!ENTITY x SYSTEM "file://{tmp_path}/secret">]><rss><channel><title>t</title><item><title>a</title>\
<description>b &x; c</description></item></channel></rss>'
    assert "hush" not in read_feed(data.encode(), name="f.xml").documents[0].text


def test_a_page_gives_its_article_and_metadata() -> None:
    prose = "<p>" + "It rained all morning and nobody in the whole harbour minded it very much at all. " * 8 + "</p>"
    page = f"""<html lang="en"><head><title>Rain | Blog</title><meta name="author" content="Ada Byron">
<meta property="article:published_time" content="2023-04-11"><link rel="canonical" href="https://x.org/rain"></head><body>
<nav><a href="/">Home</a><a href="/about">About</a></nav>
<article><h1>Rain</h1>{prose}<h2>Later</h2>{prose.replace("rained", "snowed")}</article>
<footer>Copyright</footer></body></html>"""
    found = read_html(page, name="rain.html").documents[0]
    assert found.date == "2023-04-11" and found.author == "Ada Byron" and found.url == "https://x.org/rain"
    assert "## Later" in found.text and "snowed" in found.text and "About" not in found.text and "Copyright" not in found.text


def test_a_page_without_an_article_is_unreadable() -> None:
    with pytest.raises(UnreadableError, match="no article"):
        read_html("<html><body><img src=x></body></html>", name="x.html")


def test_bytes_are_decoded_by_mark_then_utf8_then_what_they_declare() -> None:
    assert decode("\ufeffä".encode()) == "ä"
    assert decode("ä".encode("utf-16")) == "ä"
    assert decode("words in a row".encode("utf-16-be")) == "words in a row"
    assert decode(b'<meta charset="iso-8859-1">\xe4').endswith("ä")
    assert decode(b"\xe4", charset="latin-1") == "ä"
    with pytest.raises(UnreadableError, match="binary"):
        decode(b"\x00\x01\x02\x03\xff\xfe\x00")


def test_damaged_and_cut_gzip_is_named() -> None:
    whole = gzip.compress(b"words " * 1000)
    assert gunzip(whole + whole) == b"words " * 2000
    with pytest.raises(UnreadableError, match="ends too early"):
        gunzip(whole[:-9])
    with pytest.raises(UnreadableError, match="damaged"):
        gunzip(whole[:20] + b"\xff" * 20 + whole[40:])


@pytest.mark.parametrize(
    "folder", ["feeds/feedparser/wellformed", "feeds/feedparser/encoding", "feeds/feedparser/illformed", "feeds/gofeed"]
)
def test_real_and_odd_feeds_are_read_or_named_and_never_crash(folder: str) -> None:
    found = ingest(material(folder))
    assert len(found.documents) > 3
    assert all(document.text.strip() and "<p>" not in document.text for document in found.documents)
    assert all(failure.reason and "Traceback" not in failure.reason for failure in found.failures)


def test_a_big_json_feed_is_read_in_time() -> None:
    start = time.process_time()
    assert len(ingest(material("feeds/huge/feed.json")).documents) > 100
    assert time.process_time() - start < 5


def test_hostile_bodies_are_refused_in_time() -> None:
    start = time.process_time()
    for path in sorted(material("feeds/hostile/compressed").iterdir()):
        try:
            found = ingest(path)
        except TunesmithError as error:
            assert error.problems[0].hint
        else:
            assert all(isinstance(document, Document) for document in found.documents)
    assert time.process_time() - start < 20


def test_real_pages_give_most_of_their_article() -> None:
    import orjson

    folder = material("pages/article-extraction-benchmark")
    truth = orjson.loads((folder / "ground-truth.json").read_bytes())
    shares = []
    for path in sorted((folder / "html").iterdir())[:40]:
        gold = set(truth[path.name.split(".")[0]]["articleBody"].split())
        text = read_html(decode(gunzip(path.read_bytes())), name=path.name).documents[0].text
        shares.append(len(gold & set(text.split())) / max(1, len(gold)))
    assert sum(shares) / len(shares) > 0.85
