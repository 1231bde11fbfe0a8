"""WordPress: what is a post and published is taken, in the paragraphs that its readers see, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest
from test_ingest_containers import ingest

from tunesmith.core.errors import DatasetError
from tunesmith.core.records import Status
from tunesmith.data.ingest.containers.wordpress import with_paragraphs
from tunesmith.data.ingest.policy import EVERY_STATUS, Policy

WORDS = "The kettle was on before the rain had stopped, and nobody spoke of the harvest."
HEAD = """<?xml version="1.0" encoding="UTF-8" ?>
<rss version="2.0" xmlns:content="http://purl.org/rss/1.0/modules/content/" xmlns:dc="http://purl.org/dc/elements/1.1/"
 xmlns:excerpt="http://wordpress.org/export/1.2/excerpt/" xmlns:wp="http://wordpress.org/export/1.2/"><channel><title>Kettles</title>
<language>en-GB</language><wp:author><wp:author_login>ada77</wp:author_login><wp:author_email>ada@kettles.example</wp:author_email>
<wp:author_display_name><![CDATA[Ada Byron]]></wp:author_display_name></wp:author>
<wp:author><wp:author_login>guest</wp:author_login><wp:author_display_name>Bob Smith</wp:author_display_name></wp:author>"""


def post(
    title: str, *, kind: str = "post", status: str = "publish", by: str = "ada77", content: str = WORDS, more: str = ""
) -> str:
    return f"""<item><title>{title}</title><link>https://kettles.example/{title}</link><dc:creator>{by}</dc:creator>
<content:encoded><![CDATA[{content} {title}]]></content:encoded><excerpt:encoded><![CDATA[An excerpt.]]></excerpt:encoded>
<wp:post_date>2021-03-04 10:00:00</wp:post_date><wp:post_name>{title}</wp:post_name><wp:post_type>{kind}</wp:post_type>
<wp:status>{status}</wp:status>{more}</item>"""


def export(path: Path, *items: str) -> Path:
    path.write_text(HEAD + "".join(items) + "</channel></rss>")
    return path


def test_a_post_carries_what_the_export_states_about_it(tmp_path: Path) -> None:
    (found,) = ingest(export(tmp_path / "a.xml", post("kettle"))).documents
    assert (found.title, found.author, found.date, found.date_origin) == ("kettle", "Ada Byron", "2021-03-04", "metadata")
    assert (found.url, found.language, found.status) == ("https://kettles.example/kettle", "en-GB", "published")
    assert found.source == "a.xml/kettle" and found.text == f"{WORDS} kettle"


@pytest.mark.parametrize(
    ("status", "more", "means"),
    [
        ("publish", "", "published"),
        ("draft", "", "draft"),
        ("pending", "", "draft"),
        ("auto-draft", "", "draft"),
        ("made-up-by-a-plugin", "", "draft"),
        ("private", "", "private"),
        ("future", "", "scheduled"),
        ("trash", "", "deleted"),
        ("publish", "<wp:post_password><![CDATA[tick]]></wp:post_password>", "protected"),
    ],
)
def test_only_what_is_published_is_taken_unless_more_is_asked_for(
    tmp_path: Path, status: str, more: str, means: Status
) -> None:
    path = export(tmp_path / "a.xml", post("kettle"), post("other", status=status, more=more))
    taken = {document.title for document in ingest(path).documents}
    assert taken == ({"kettle", "other"} if means == "published" else {"kettle"})
    everything = ingest(path, Policy(publication=EVERY_STATUS, today="2026-01-01")).documents
    assert {document.title: document.status for document in everything}["other"] == means


@pytest.mark.parametrize(
    "kind",
    [
        "revision",
        "attachment",
        "nav_menu_item",
        "wp_block",
        "wp_template",
        "wpcf7_contact_form",
        "custom_css",
        "elementor_library",
    ],
)
def test_what_is_no_post_is_left_out_and_counted(tmp_path: Path, kind: str) -> None:
    found = ingest(export(tmp_path / "a.xml", post("kettle"), post("thing", kind=kind)))
    assert [document.title for document in found.documents] == ["kettle"]
    assert found.notes == ("1 items other than posts left out",)


def test_a_type_of_the_authors_own_is_named_where_it_is_left_out(tmp_path: Path) -> None:
    found = ingest(export(tmp_path / "a.xml", post("kettle"), post("thing", kind="buch")))
    assert found.notes == ("1 items of the type buch left out",)


def test_comments_are_never_taken(tmp_path: Path) -> None:
    comment = "<wp:comment><wp:comment_content><![CDATA[What a fine kettle.]]></wp:comment_content></wp:comment>"
    found = ingest(export(tmp_path / "a.xml", post("kettle", more=comment)))
    assert "fine" not in found.documents[0].text and found.notes == ("1 comments left out",)


@pytest.mark.parametrize("name", ["Ada Byron", "ada77", "ADA@kettles.example"])
def test_posts_of_other_authors_are_left_out_once_an_author_is_named(tmp_path: Path, name: str) -> None:
    path = export(tmp_path / "a.xml", post("kettle"), post("visit", by="guest"))
    assert {document.author for document in ingest(path).documents} == {"Ada Byron", "Bob Smith"}
    found = ingest(path, Policy(authors=(name,)))
    assert [document.title for document in found.documents] == ["kettle"] and found.notes == (
        "1 texts of other authors left out",
    )


def test_where_every_text_is_by_others_the_error_names_them_and_the_line_to_type(tmp_path: Path) -> None:
    path = export(tmp_path / "a.xml", post("kettle"), post("visit", by="guest"))
    with pytest.raises(DatasetError, match=r"Ada Byron, Bob Smith: --set 'authors=\[.Ada Byron.\]'"):
        ingest(path, Policy(authors=("Nobody",)))


@pytest.mark.parametrize(
    ("stored", "shown"),
    [
        ("One.\n\nTwo.", "<p>One.</p>\n\n<p>Two.</p>"),
        ("One,\nand on.", "<p>One,<br>and on.</p>"),
        ("<h2>Head</h2>\nOne,\nand on.", "<h2>Head</h2>\n<p>One,<br>and on.</p>"),
        ('[caption id="x" width="3"]<img src=\'a.jpg\' /> My bench[/caption]\n\nOne.', "<p>One.</p>"),
        ("[code lang='python']\nprint(1)\n\nprint(2)\n[/code]\nOne.", "<p>One.</p>"),
        ('One.\n[gallery ids="1,2"]', "<p>One.</p>"),
        ("[footnote]By hand.[/footnote]One.", "<p>One.</p>"),
        ('[column width="half"]One.[/column]', "<p>One.</p>"),
        ("He wrote [sic] and [1] and [a note].", "<p>He wrote [sic] and [1] and [a note].</p>"),
        (
            "<!-- wp:paragraph --><p>One.\nTwo.</p><!-- /wp:paragraph -->",
            "<!-- wp:paragraph --><p>One.\nTwo.</p><!-- /wp:paragraph -->",
        ),
        ('One.<sup data-fn="x" class="fn"><a href="#x">1</a></sup>', "<p>One.</p>"),
    ],
)
def test_stored_content_becomes_what_readers_see(stored: str, shown: str) -> None:
    assert with_paragraphs(stored).strip() == shown


def test_control_characters_do_not_stop_an_export(tmp_path: Path) -> None:
    found = ingest(export(tmp_path / "a.xml", post("kettle", content="It\x0b rained\x08 all day."), post("second")))
    assert [document.title for document in found.documents] == ["kettle", "second"]


def test_control_characters_take_no_text_with_them(tmp_path: Path) -> None:
    (found,) = ingest(export(tmp_path / "a.xml", post("kettle", content=WORDS.replace("rain", "ra\x0bin\x08")))).documents
    assert found.text == f"{WORDS} kettle"


def test_a_cut_export_is_named_and_what_stands_before_the_cut_is_read(tmp_path: Path) -> None:
    path = export(tmp_path / "a.xml", post("kettle"), post("stove"), post("oven"))
    path.write_text(path.read_text()[: path.read_text().index("oven") - 10])
    found = ingest(path)
    assert [one.title for one in found.documents] == ["kettle", "stove"]
    assert "cut after 2 items; export it again" in found.failures[0].reason


@pytest.mark.parametrize(
    ("content", "shown"),
    [
        ("[vc_row][vc_column]Warm kettle.[/vc_column][/vc_row]", "<p>Warm kettle.</p>"),
        ("[et_pb_section]\n\nWarm [sic] kettle.\n\n[/et_pb_section]", "<p>Warm [sic] kettle.</p>"),
        ("<!-- wp:jetpack/contact-form {} --><label>Name</label><!-- /wp:jetpack/contact-form --><p>Warm.</p>", "<p>Warm.</p>"),
        ("<!-- wp:pullquote --><p>Warm!</p><!-- /wp:pullquote --><p>Warm.</p>", "<p>Warm.</p>"),
        ("<!-- wp:wpforms/form-selector {} /--><p>Warm.</p>", "<!-- wp:wpforms/form-selector {} /--><p>Warm.</p>"),
    ],
)
def test_frames_of_page_builders_forms_and_repeated_quotes_are_no_text(content: str, shown: str) -> None:
    assert "".join(with_paragraphs(content).split("\n")) == shown
