"""What a page states about itself is taken from its metadata, and nothing is guessed from its text, footer or styles."""

from __future__ import annotations

import pytest

from tunesmith.core.records import Document
from tunesmith.data.ingest.html import read_html

PROSE = "<p>It rained all morning and nobody in the whole harbour minded it very much at all, for the fish were in.</p>"
MORE = "<p>In the evening the wind turned, and the boats that had stayed at home went out without a word to anybody.</p>"


def read(head: str = "", *, body: str = "", name: str = "rain.html", url: str | None = None, root: str = "") -> Document:
    page = f"<!DOCTYPE html><html{root}><head>{head}</head><body><article>{PROSE}{MORE}</article>{body}</body></html>"
    return read_html(page, name=name, url=url).documents[0]


def dated(
    head: str = "", *, body: str = "", article: str = "", name: str = "rain.html", url: str | None = None
) -> tuple[str | None, str | None]:
    page = f"<html><head><title>Rain</title>{head}</head><body><article>{article}{PROSE}{MORE}</article>{body}</body></html>"
    found = read_html(page, name=name, url=url).documents[0]
    return found.date, found.date_origin


@pytest.mark.parametrize(
    "page",
    [
        {"body": "<footer>© 2014–2024 Ada Byron</footer>"},
        {"body": "<footer>Last generated on 3 May 2021</footer>"},
        {"head": "<style>a{background:url('data:image/svg+xml,%3Csvg xmlns=%22http://www.w3.org/2000/svg%22/%3E')}</style>"},
        {"body": '<svg xmlns="http://www.w3.org/2000/svg"><path d="M 2019 12 24"/></svg>'},
        {"article": "<p>On 20 July 1969 somebody landed on the moon, and we had no television in the house.</p>"},
        {"article": "<ul><li>First song (2008)</li><li>Second song (2007)</li><li>A third, by somebody else (2006)</li></ul>"},
        {"head": '<meta name="copyright" content="2011 Ada Byron"><meta name="generator" content="Hugo 0.92 2022-01-02">'},
        {"head": '<script>var built = "2020-02-02"; _gaq.push(["2019-01-01"]);</script>'},
        {"head": "<!-- saved 2018-05-05 -->"},
        {"article": '<p>The race of <time datetime="1999-06-03">3 June 1999</time> was the last that he sailed.</p>'},
        {"body": '<aside class="related"><time class="published" datetime="2020-01-01">1 January</time></aside>'},
        {"body": '<section id="comments"><time itemprop="datePublished" datetime="2021-01-01">1 January</time></section>'},
        {"head": '<meta property="article:published_time" content="0001-01-01T00:00:00Z">'},
        {"head": '<meta name="date" content="1970-01-01T00:00:00+00:00">'},
        {"head": '<meta name="date" content="03/04/2023">'},
        {"head": '<script type="application/ld+json">{"@type": "WebSite", "copyrightYear": 2014}</script>'},
        {"url": "https://x.org/2023/rain-in-2019"},
        {"name": "rain-2023.html"},
    ],
)
def test_a_date_that_is_not_stated_is_not_made_up(page: dict[str, str]) -> None:
    assert dated(**page) == (None, None)


@pytest.mark.parametrize(
    "page",
    [
        {"head": '<meta property="article:published_time" content="2023-04-11T23:30:00+02:00">'},
        {"head": '<meta name="DC.date.issued" content="2023-04-11">'},
        {"head": '<meta itemprop="datePublished" content="April 11, 2023">'},
        {"head": '<script type="application/ld+json">{"@type": "BlogPosting", "datePublished": "2023-04-11"}</script>'},
        {
            "head": '<script type="application/ld+json">{"@graph": [{"@type": "WebSite"}, {"@type": ["Article"], '
            '"datePublished": "2023-04-11", '
            '"dateModified": "2024-01-01"}]}</script>'
        },
        {"article": '<time class="entry-date published" datetime="2023-04-11T08:00">April</time>'},
        {"article": '<p class="posted-on"><time datetime="2023-04-11"></time><time class="updated" datetime="2024-01-01">'},
        {"article": '<footer><p>By Ada on <time class="dt-published" datetime="2023-04-11">April</time></p></footer>'},
        {"article": '<abbr class="published" title="2023-04-11">April</abbr>'},
        {"article": '<header><h1>Rain</h1><time datetime="2023-04-11">April</time></header>'},
        {"head": '<meta property="article:modified_time" content="2023-04-11">'},
    ],
)
def test_a_stated_date_is_taken_from_metadata(page: dict[str, str]) -> None:
    assert dated(**page) == ("2023-04-11", "metadata")


def test_the_address_and_the_name_of_the_file_may_hold_the_date() -> None:
    assert dated(url="https://x.org/2023/04/11/rain/") == ("2023-04-11", "address")
    assert dated('<link rel="canonical" href="https://x.org/2023-04-11-rain">') == ("2023-04-11", "address")
    assert dated(name="2023-04-11-rain.html") == ("2023-04-11", "name")
    assert dated(url="https://x.org/2023/02/31/rain") == (None, None)
    stated = '<meta name="date" content="2022-01-02">'
    assert dated(stated, url="https://x.org/2023/04/11/rain/") == ("2022-01-02", "metadata")


def test_address_language_and_author_are_taken_from_metadata() -> None:
    head = '<link rel="canonical" href="/rain"><meta name="author" content="Ada Byron">'
    found = read(head, url="https://x.org/index.php?p=3", root=' lang="en-GB"')
    assert (found.url, found.language, found.author) == ("https://x.org/rain", "en-GB", "Ada Byron")
    assert read('<meta property="og:locale" content="de_DE">').language == "de-DE"
    assert read(url="https://x.org/rain").url == "https://x.org/rain"
    assert read('<link rel="canonical" href="/rain">').url is None


@pytest.mark.parametrize(
    ("head", "author"),
    [
        (
            '<script type="application/ld+json">{"@type": "Article", "author": [{"name": "Ada"}, {"name": "Bo"}]}</script>',
            "Ada, Bo",
        ),
        (
            '<script type="application/ld+json">{"@graph": [{"@type": "Article", "author": {"@id": "#1"}}, '
            '{"@type": "Person", "@id": "#1", "name": "Ada"}]}</script>',
            "Ada",
        ),
        ('<meta property="article:author" content="https://facebook.com/ada"><meta name="dc.creator" content="Ada">', "Ada"),
        ('<meta name="author" content="By Ada Byron">', "Ada Byron"),
        ("", None),
        ('<script type="application/ld+json">{"@type": "Article", "author": </script>', None),
    ],
)
def test_authors_are_those_that_the_metadata_name(head: str, author: str | None) -> None:
    assert read(head).author == author


def test_an_author_in_a_comment_is_not_the_author_of_the_page() -> None:
    assert read(body='<div class="comments"><a rel="author" href="/bo">Bo</a></div>').author is None
    assert read(body='<p><a rel="author" href="/ada">Ada</a></p>').author == "Ada"


@pytest.mark.parametrize(
    ("head", "title"),
    [
        ("<title>Rain &#8211; My Blog</title><meta property='og:site_name' content='My Blog'>", "Rain"),
        ("<title>Rain in May | My Blog</title>", "Rain in May"),
        ("<title>Rain - and snow</title>", "Rain - and snow"),
        ("<title>x</title><meta property='og:title' content='Rain &amp;amp; snow'>", "Rain & snow"),
        ("", "Rain"),
    ],
)
def test_the_title_is_that_of_the_page_without_its_site(head: str, title: str) -> None:
    assert read(head).title == title
