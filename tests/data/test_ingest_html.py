"""Pages: the whole article is taken, lists of posts are none, and a page of which little was taken is named."""

from __future__ import annotations

import pytest
from lxml import html
from trafilatura import bare_extraction

from tunesmith.data.ingest import page_body
from tunesmith.data.ingest.html import read_html
from tunesmith.data.ingest.item import Reading
from tunesmith.data.text.decode import UnreadableError
from tunesmith.data.text.words import num_words

LETTERS = [
    "The workshop smelled of oil and tea, and nobody in it ever asked what time it was before noon.",
    "He would open a case, look at the gears for a long while, and close it again without touching anything.",
    "Half of the work, he said, is finding out whether there is any work to do, and for whom it is done.",
    "When the last clock was sold he kept the key of the shop in his coat, and turned it when he was bored.",
]
FIRST, SECOND, THIRD, FOURTH = LETTERS


def page(body: str, *, head: str = "<title>Clocks</title>") -> str:
    return f"<!DOCTYPE html><html><head>{head}</head><body>{body}</body></html>"


def read(body: str, *, head: str = "<title>Clocks</title>", name: str = "clocks.html") -> Reading:
    return read_html(page(body, head=head), name=name)


def text(body: str) -> str:
    return read(body).documents[0].text


@pytest.mark.parametrize(
    "wrap", ["{}", "<main>{}</main>", "<div class='content'>{}</div>", "<article>{}</article>", "<section>{}</section>"]
)
def test_lists_quotations_and_terms_keep_their_place_in_the_text(wrap: str) -> None:
    body = (
        f"<p>{FIRST}</p><ul><li>Wait before you wind it.</li><li>Oil it once in a year.</li></ul><p>{SECOND}</p>"
        "<dl><dt>Fusee</dt><dd>A cone that evens out the spring of a clock.</dd></dl>"
        f"<p>{THIRD}</p><ol><li>Open the case with care.</li><li>Close it again at once.</li></ol>"
    )
    found = text(wrap.format(body))
    places = [
        found.index(words)
        for words in (FIRST, "- Wait before", "- Oil it", SECOND, "A cone that", THIRD, "1. Open", "2. Close")
    ]
    assert places == sorted(places)


def test_a_list_of_links_beside_the_text_is_not_added_to_it() -> None:
    menu = "<ul><li><a href='/a'>All my clocks</a></li><li><a href='/b'>All my watches</a></li></ul>"
    found = text(
        f"<div>{menu}<p>{FIRST}</p><p>{SECOND}</p><ul class='tags'><li>brass clocks of old</li></ul><p>{THIRD}</p></div>"
    )
    assert "watches" not in found and "brass" not in found and THIRD in found


def test_a_page_laid_out_in_tables_keeps_its_text() -> None:
    body = (
        "<table><tr><td><a href='/'>Home</a><br><a href='/b'>Links</a></td><td><table><tr><td><font>"
        + "<br><br>".join(LETTERS)
        + "</font></td></tr></table></td></tr></table>"
    )
    found = text(body)
    assert all(letter in found for letter in LETTERS) and "Links" not in found


def test_a_memo_in_pre_is_a_document_of_all_its_words() -> None:
    memo = "\n\n".join(f"{n}.  Section\n\n   {FIRST[:50]}\n   {FIRST[50:]}" for n in range(1, 30))
    found = read(f"<pre>{memo}</pre>").documents[0].text
    assert num_words(found) > 0.95 * num_words(memo)


@pytest.mark.parametrize("body", ["<p>I fixed the clock today. It runs again. My uncle would have laughed.</p>"])
@pytest.mark.parametrize(
    "wrap",
    ["{}", "<table><tr><td>{}</td></tr></table>", "<form>{}<p>Good night to you all.</p></form>", "<div><div>{}</div></div>"],
)
def test_a_page_of_a_few_sentences_is_a_document_without_its_menu(body: str, wrap: str) -> None:
    menu = "<header><a href='/'>Home of clocks</a></header><nav><a href='/x'>Other</a></nav>"
    found = text(menu + wrap.format(body) + "<footer>© 2019 Ada</footer>")
    assert (
        found.startswith("I fixed the clock today. It runs again. My uncle would have laughed.")
        and "Home" not in found
        and "Ada" not in found
    )


def test_an_article_that_is_mostly_a_table_keeps_it_as_lines() -> None:
    rows = "".join(f"<tr><td>Clock {n}</td><td>{n * 7}</td><td>brass and oak</td></tr>" for n in range(40))
    reading = read(f"<article><p>{FIRST}</p><table><tr><th>Name</th><th>Age</th><th>Made of</th></tr>{rows}</table></article>")
    assert "Clock 3 | 21 | brass and oak" in reading.documents[0].text
    assert reading.notes == {"pages with their code and tables, which are most of them": 1}


def test_a_line_of_code_in_pre_is_not_taken_for_a_quotation() -> None:
    reading = read(f"<article><p>{FIRST}</p><p>{SECOND}</p><pre>x = 1;</pre><blockquote>{THIRD}</blockquote></article>")
    assert "x = 1" not in reading.documents[0].text and f"> {THIRD}" in reading.documents[0].text
    assert reading.notes == {"code blocks left out": 1}


def test_every_heading_of_a_page_of_two_posts_is_kept() -> None:
    posts = "".join(
        f"<article><h2><a href='/{n}'>Clock {n}</a></h2><p>{LETTERS[n]} {LETTERS[n + 1]}</p></article>" for n in (0, 2)
    )
    assert text(f"<main>{posts}</main>").count("## Clock") == 2


@pytest.mark.parametrize("sentence", ["今日は時計を直した。", "今天我修好了钟。它又走了。"])
def test_a_sentence_without_blanks_between_words_is_enough(sentence: str) -> None:
    assert text(f"<p>{sentence}</p>") == sentence


def test_an_article_that_stands_in_json_alone_is_taken_and_not_the_menu() -> None:
    script = f'<script type="application/ld+json">{{"@type": "NewsArticle", "articleBody": "{" ".join(LETTERS)}"}}</script>'
    menu = "<ul>" + "".join(f"<li><span>Part {n} of the paper</span></li>" for n in range(12)) + "</ul>"
    assert read(menu + "<div id='app'></div>", head=script).documents[0].text == " ".join(LETTERS)


def test_a_site_whose_generator_speaks_of_pages_is_no_document_of_a_word_processor() -> None:
    head = '<meta name="generator" content="Landing Pages for Microsoft Word fans"><title>Clocks</title>'
    menu = "<ul class='menu'><li><a href='/a'>All my watches</a></li></ul>"
    assert "watches" not in read(f"{menu}<article><p>{FIRST}</p><p>{SECOND}</p></article>", head=head).documents[0].text


def test_a_site_with_fonts_of_google_is_no_google_document() -> None:
    head = "<style>@import url('https://themes.googleusercontent.com/fonts/css?kit=x');</style><title>Clocks</title>"
    menu = "<nav><a href='/a'>All my watches</a></nav><div class='menu'>Our other watches</div>"
    assert "watches" not in read(f"{menu}<article><p>{FIRST}</p><p>{SECOND}</p></article>", head=head).documents[0].text


def test_a_theme_that_calls_its_title_a_page_title_is_no_page_of_notion() -> None:
    article = f"<article><header><h1 class='page-title'>T</h1></header><p>{FIRST}</p><p>{SECOND}</p></article>"
    body = f"<div class='menu'>Our other watches</div>{article}"
    assert "watches" not in text(body)


def test_code_in_an_article_is_left_out_and_counted() -> None:
    body = f"<article><p>{FIRST}</p><p>{SECOND}</p><pre><code>x = 1\ny = 2</code></pre><p>{THIRD}</p></article>"
    reading = read(body)
    assert reading.documents[0].text == f"{FIRST}\n\n{SECOND}\n\n{THIRD}" and reading.notes == {"code blocks left out": 1}


@pytest.mark.parametrize(
    "body",
    [
        f"<p>{FIRST}</p><ul><li>{SECOND}</li></ul>",
        f"<article><p>{FIRST}</p><pre>{SECOND}\n\n{THIRD}</pre></article>",
        f"<table><tr><td>{FIRST}</td><td>{SECOND}</td></tr><tr><td>{THIRD}</td><td>{FOURTH}</td></tr></table>",
        f"<div>{FIRST}<br><br>{SECOND}<br><br>{THIRD}</div>",
        f"<blockquote>{FIRST}</blockquote><p>{SECOND}</p>",
        f"<div class='comment'><p>{FIRST}</p><p>{SECOND}</p></div>",
    ],
)
def test_never_fewer_words_are_taken_than_the_library_alone_takes(body: str) -> None:
    alone = bare_extraction(page(body))
    assert num_words(text(body)) >= num_words(alone.text if alone else "")


def test_a_page_of_which_little_was_taken_is_named_with_its_words(monkeypatch: pytest.MonkeyPatch) -> None:
    body = f"<main><p>{FIRST}</p>" + "".join(f"<div><span>{letter}</span></div>" for letter in LETTERS[1:]) + "</main>"
    assert not read(body).failures
    monkeypatch.setattr(page_body, "_extracted", lambda tree: html.fromstring(f"<body><p>{FIRST}</p></body>"))
    reading = read(body)
    assert reading.documents[0].text == FIRST
    assert [failure.reason for failure in reading.failures] == ["19 of 84 words taken; compare the document with the page"]


CARDS = {
    "cards that are links": "<a class='card' href='/p{n}'><div><h3>Clock {n}</h3><p>{text} It was {n}…</p></div></a>",
    "articles of a theme": "<article><h2><a href='https://x.org/p{n}'>Clock {n}</a></h2><p>{text} It was {n} […]</p></article>",
    "headings in a row": "<h2><a href='/p{n}.html'>Clock {n}</a></h2><p>{text} It was {n}…</p>",
    "sections": "<section><a href='/p{n}'><h3>Clock {n}</h3></a><p>{text} It was {n}.</p></section>",
    "nested columns": "<div><div><b></b><h3><a href='/p{n}'>Clock {n}</a></h3><p>{text} It was {n}.</p></div></div>",
    "lines with dates": "<li><time datetime='2024-05-0{n}'>2024-05-0{n}</time> <a href='/p{n}'>What clock {n} said</a></li>",
    "rows of a table": "<tr><td>{n} May 2024</td><td><a href='/p{n}'>What clock {n} said</a></td></tr>",
}
HOLDERS = {"lines with dates": "<ul>{}</ul>", "rows of a table": "<table>{}</table>"}


@pytest.mark.parametrize("kind", CARDS)
@pytest.mark.parametrize("introduction", ["", "<h1>Posts about clocks</h1><p>Everything that I wrote about them.</p>"])
def test_a_list_of_posts_is_no_document(kind: str, introduction: str) -> None:
    listed = "".join(CARDS[kind].format(n=n, text=LETTERS[n % 4]) for n in range(1, 9))
    body = f"<main>{introduction}{HOLDERS.get(kind, '{}').format(listed)}</main>"
    with pytest.raises(UnreadableError, match=r"it lists 8 posts .* name the posts, their feed or the site instead"):
        read(body)


def test_an_article_with_teasers_below_it_is_a_document_without_them() -> None:
    listed = "".join(CARDS["sections"].format(n=n, text=LETTERS[n % 4]) for n in range(1, 9))
    prose = "".join(f"<p>{letter} So it was.</p>" for letter in LETTERS)
    reading = read(f"<main><h1>Clocks</h1>{prose}{listed}</main>")
    assert "It was 3" not in reading.documents[0].text and "So it was." in reading.documents[0].text


def test_what_is_called_an_article_or_links_elsewhere_is_no_list_of_posts() -> None:
    tools = "".join(
        f"<h2><a href='https://tool{n}.com/x'>Tool {n}</a></h2><p>{LETTERS[n % 4]} Number {n}.</p>" for n in range(6)
    )
    own = "<link rel='canonical' href='https://ada.org/tools'><title>Tools</title>"
    assert "Number 3." in read(f"<main><p>{FIRST}</p>{tools}</main>", head=own).documents[0].text
    listed = "".join(CARDS["sections"].format(n=n, text=LETTERS[n % 4]) for n in range(1, 9))
    assert "It was 3." in read(f"<main>{listed}</main>", head="<meta property='og:type' content='article'>").documents[0].text


GOOGLE = (
    "<html><head><style>@import url('https://themes.googleusercontent.com/fonts/css?kit=x');</style></head>"
    '<body class="c5 doc-content"><p class="c1 title"><span>On clocks</span></p><p><a href="#h.abc">The shop</a></p>'
    "{}</body></html>"
)


def test_a_google_document_has_its_title_all_its_headings_and_no_comments() -> None:
    body = (
        f'<h1 id="h.abc"><span>The shop</span></h1><p><span>{FIRST}</span><sup><a href="#ftnt1" id="ftnt_ref1">[1]</a></sup>'
        f'<sup><a href="#cmnt1" id="cmnt_ref1">[a]</a></sup></p><ul class="lst-kix_a-0 start"><li><span>Oil.</span></li></ul>'
        '<hr><div><p><a href="#ftnt_ref1" id="ftnt1">[1]</a><span> In dialect.</span></p></div>'
        '<div><p><a href="#cmnt_ref1" id="cmnt1">[a]</a><span>Bo: cut this</span></p></div>'
    )
    reading = read_html(GOOGLE.format(body), name="OnClocks.html")
    document = reading.documents[0]
    assert (document.title, document.text) == ("On clocks", f"# The shop\n\n{FIRST}\n\n- Oil.")
    assert reading.notes == {"footnotes left out": 1, "comments of others left out": 1}


NOTION = (
    '<html><head><title>On clocks</title><style>.x{{background:url("data:xmlns=http://www.w3.org/2000/svg")}}</style></head>'
    '<body><article id="1f" class="page sans"><header><h1 class="page-title">On clocks</h1>{}</header>'
    '<div class="page-body"><p>{}</p><figure><div>!</div><div>Mind the small spring.</div></figure></div></article></body>'
)
PROPERTIES = "<table class='properties'><tbody>{}</tbody></table>"


def test_a_page_of_notion_has_no_made_up_date_and_no_properties_in_its_text() -> None:
    document = read_html(NOTION.format("", FIRST), name="On clocks 1f.html").documents[0]
    assert (document.title, document.date, document.date_origin) == ("On clocks", None, None)
    assert document.text.startswith(FIRST) and "Mind the small spring." in document.text
    rows = "<tr><th>Created</th><td><time>@June 3, 2024 10:00 AM</time></td></tr><tr><th>Tags</th><td>brass</td></tr>"
    document = read_html(NOTION.format(PROPERTIES.format(rows), FIRST), name="x.html").documents[0]
    assert (document.date, document.date_origin) == ("2024-06-03", "metadata") and "brass" not in document.text


def test_a_page_of_notion_that_is_marked_as_a_draft_is_one() -> None:
    rows = "<tr><th>Status</th><td><span>Draft</span></td></tr>"
    assert read_html(NOTION.format(PROPERTIES.format(rows), FIRST), name="x.html").documents[0].status == "draft"


def test_a_document_of_a_word_processor_is_taken_whole() -> None:
    head = '<meta name="generator" content="LibreOffice 7.4 (Linux)"><title>Clocks</title>'
    body = '<p>One.</p><h2>Two</h2><p>Three.</p><p><a name="sdfootnote1sym" href="#sdfootnote1anc">1</a> N</p>'
    found = read_html(
        page(body.replace("One.", 'One.<a name="sdfootnote1anc" href="#sdfootnote1sym">1</a>'), head=head), name="c.html"
    )
    assert found.documents[0].text == "One.\n\n## Two\n\nThree." and found.notes == {"footnotes left out": 1}
