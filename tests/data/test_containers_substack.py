"""Substack: published newsletters, with what the table of posts says of them; never readers, buttons or drafts."""

from __future__ import annotations

from pathlib import Path

import pytest
from test_ingest_containers import ingest, packed

from tunesmith.data.ingest.policy import EVERY_STATUS, Policy

WORDS = "The kettle was on before the rain had stopped, and nobody spoke of the harvest."
HEAD = "post_id,post_date,is_published,email_sent_at,inbox_sent_at,type,audience,title,subtitle,podcast_url\n"


def row(id: str, *, published: str = "true", kind: str = "newsletter", audience: str = "everyone", title: str = "") -> str:
    return f"{id},2021-03-04T10:00:00.000Z,{published},,,{kind},{audience},{title or id},,\n"


def export(*rows: str, **pages: str) -> dict[str, str]:
    posts = {f"posts/{line.split(',')[0]}.html": f"<p>{WORDS} {line.split(',')[0]}</p>" for line in rows}
    lists = {"email_list.kettles.csv": "email,created_at\nr@example.org,2020\n", "posts/1001.a.opens.csv": "email\nr@e.org\n"}
    return {"posts.csv": HEAD + "".join(rows), **posts, **pages, **lists}


def write(folder: Path, members: dict[str, str]) -> Path:
    for name, content in members.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)
    return folder


def test_a_post_carries_the_title_and_day_of_the_table_and_lists_of_readers_are_named_once(tmp_path: Path) -> None:
    found = ingest(write(tmp_path / "x", export(row("1001.a", title="It&#x2019;s raining"))))
    (document,) = found.documents
    assert (document.title, document.date, document.url) == ("It’s raining", "2021-03-04", "/p/a")
    assert document.text == f"{WORDS} 1001.a" and document.source == "posts/1001.a.html"
    assert found.notes == ("2 lists of readers, opens and deliveries (not writing) left out",)
    assert not found.failures


@pytest.mark.parametrize(
    ("stated", "means"),
    [
        (row("1002.b"), "published"),
        (row("1002.b", published="TRUE", kind="podcast"), "published"),
        (row("1002.b", kind="thread"), "published"),
        (row("1002.b", published="false"), "draft"),
        (row("1002.b", audience="only_paid"), "protected"),
        (row("1002.b", audience="founding"), "protected"),
        (row("1002.b", kind="restack"), None),
    ],
)
def test_drafts_posts_for_payers_and_words_of_others_are_left_out(tmp_path: Path, stated: str, means: str | None) -> None:
    folder = write(tmp_path / "x", export(row("1001.a"), stated))
    assert len(ingest(folder).documents) == (2 if means == "published" else 1)
    everything = ingest(folder, Policy(publication=EVERY_STATUS, today="2026-01-01")).documents
    assert {document.title: document.status for document in everything}.get("1002.b") == means


@pytest.mark.parametrize(
    "planted",
    [
        '<p class="button-wrapper" data-attrs="{}"><a class="button primary"><span>PLANTED</span></a></p>',
        '<div class="subscription-widget-wrap"><div class="preamble"><p class="cta-caption">PLANTED</p></div></div>',
        '<div class="captioned-image-container"><figure><figcaption>PLANTED</figcaption></figure></div>',
        '<div class="footnote" data-component-name="FootnoteToDOM"><a class="footnote-number">1</a><p>PLANTED</p></div>',
        '<div class="embedded-post-wrap"><a class="embedded-post"><p>PLANTED</p></a></div>',
        '<div class="pullquote"><p>PLANTED</p></div>',
        '<div class="tweet"><p>PLANTED</p></div>',
    ],
)
def test_buttons_forms_embeds_captions_and_footnotes_are_not_prose(tmp_path: Path, planted: str) -> None:
    body = f"<h2>Rain</h2>{planted}<p>{WORDS}</p>{planted}"
    (found,) = ingest(write(tmp_path / "x", {**export(row("1001.a")), "posts/1001.a.html": body})).documents
    assert found.text == f"## Rain\n\n{WORDS}"


def test_the_mark_of_a_footnote_leaves_the_sentence_whole(tmp_path: Path) -> None:
    body = '<p>It rained<a class="footnote-anchor" href="#footnote-1">1</a> all day.</p>'
    (found,) = ingest(write(tmp_path / "x", {**export(row("1001.a")), "posts/1001.a.html": body})).documents
    assert found.text == "It rained all day."


def test_without_its_table_only_what_was_sent_is_taken_and_the_table_is_asked_for(tmp_path: Path) -> None:
    members = export(row("1001.a"), row("1002.b"))
    del members["posts.csv"]
    found = ingest(write(tmp_path / "x", members))
    assert [(document.title, document.source) for document in found.documents] == [("A", "posts/1001.a.html")]
    assert [failure.source for failure in found.failures] == ["posts.csv"] and "1 drafts left out" in found.notes


def test_a_page_that_the_table_does_not_name_is_no_post_of_the_reader(tmp_path: Path) -> None:
    members = export(row("1001.a"), **{"posts/1003.c.html": f"<p>PLANTED {WORDS}</p>"})
    assert [document.title for document in ingest(write(tmp_path / "x", members)).documents] == ["1001.a"]


@pytest.mark.parametrize("folder", ["", "substack/", "a/b/"])
def test_the_export_is_found_in_an_archive_at_any_depth(tmp_path: Path, folder: str) -> None:
    members = {folder + name: content for name, content in export(row("1001.a"), row("1002.b", published="false")).items()}
    (tmp_path / "x.zip").write_bytes(packed(members))
    found = ingest(tmp_path / "x.zip")
    assert [document.title for document in found.documents] == ["1001.a"] and not found.failures
