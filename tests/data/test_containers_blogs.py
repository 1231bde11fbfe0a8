"""Smaller blog hosts: Movable Type and its heirs, Wix, Hashnode, DEV, Write.as and Micro.blog."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
from test_ingest_containers import ingest, packed

from tunesmith.data.ingest.policy import EVERY_STATUS, Policy

WORDS = "The kettle was on before the rain had stopped, and nobody spoke of the harvest."
EVERYTHING = Policy(publication=EVERY_STATUS, today="2026-01-01")


def entry(title: str, *, head: str = "STATUS: Publish", body: str = "", breaks: str = "0") -> str:
    body = body or f"<p>{WORDS} {title}</p>"
    return (
        f"AUTHOR: Ada Byron\nTITLE: {title}\nBASENAME: {title.lower()}\n{head}\nALLOW COMMENTS: 1\nCONVERT BREAKS: {breaks}\n"
        f"DATE: 03/04/2021 03:00:00 PM\n-----\nBODY:\n{body}\n-----\nEXTENDED BODY:\n<p>And on.</p>\n"
        "-----\nEXCERPT:\nPLANTED\n-----\nKEYWORDS:\n\n-----\nCOMMENT:\nAUTHOR: Bob\nEMAIL: bob@example.org\nDATE: 03/05/2021\n"
        "PLANTED, what a fine kettle.\n-----\nPING:\nTITLE: PLANTED\nPLANTED\n-----\n--------\n"
    )


def test_an_entry_of_movable_type_has_both_its_bodies_and_no_comments(tmp_path: Path) -> None:
    (tmp_path / "export.txt").write_bytes((entry("Kettle") + entry("Tea")).replace("\n", "\r\n").encode())
    found = ingest(tmp_path)
    assert [d.text for d in found.documents] == [f"{WORDS} Kettle\n\nAnd on.", f"{WORDS} Tea\n\nAnd on."]
    one = found.documents[0]
    assert (one.title, one.author, one.date, one.source) == ("Kettle", "Ada Byron", "2021-03-04", "export.txt/kettle")
    assert found.notes == ("4 comments and pings left out",)


@pytest.mark.parametrize(
    ("head", "means"),
    [
        ("STATUS: Publish", "published"),
        ("PRIMARY CATEGORY: Tea", "published"),
        ("STATUS: Draft", "draft"),
        ("STATUS: Review", "draft"),
        ("STATUS: Future", "scheduled"),
        ("STATUS: Publish\nPASSWORD: tick", "protected"),
    ],
)
def test_entries_of_movable_type_that_are_not_published_are_left_out(tmp_path: Path, head: str, means: str) -> None:
    (tmp_path / "export.txt").write_text(entry("Kettle") + entry("Other", head=head))
    assert len(ingest(tmp_path).documents) == (2 if means == "published" else 1)
    assert {d.title: d.status for d in ingest(tmp_path, EVERYTHING).documents}["Other"] == means


@pytest.mark.parametrize(
    ("breaks", "body", "text"),
    [
        ("1", f"{WORDS}\n\nIt rained,\nand on.", f"{WORDS}\n\nIt rained,\nand on."),
        ("__default__", f"{WORDS}\n\nIt rained.", f"{WORDS}\n\nIt rained."),
        ("markdown", f"## Rain\n\n{WORDS} *Tea.*", f"## Rain\n\n{WORDS} Tea."),
        ("richtext", f"<h2>Rain</h2><p>{WORDS}</p>", f"## Rain\n\n{WORDS}"),
    ],
)
def test_a_body_of_movable_type_is_read_as_it_was_written(tmp_path: Path, breaks: str, body: str, text: str) -> None:
    (tmp_path / "export.txt").write_text(entry("Kettle", body=body, breaks=breaks).replace("<p>And on.</p>", ""))
    assert ingest(tmp_path).documents[0].text == text


def test_a_text_with_a_line_that_says_title_is_no_export(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(f"TITLE: Rain\n\n{WORDS}\n\n-----\n\nAnd on it went.")
    assert [document.source for document in ingest(tmp_path).documents] == ["a.txt"]


def wix_row(title: str, **more: str) -> dict[str, str]:
    def text(words: str) -> dict[str, Any]:
        return {"type": "TEXT", "textData": {"text": words}}

    def paragraph(words: str) -> dict[str, Any]:
        return {"type": "PARAGRAPH", "nodes": [text(words)]}

    item = {"type": "LIST_ITEM", "nodes": [paragraph("tea")]}
    nodes = [
        {"type": "HEADING", "headingData": {"level": 3}, "nodes": [text("Rain")]},
        paragraph(f"{WORDS} {title}"),
        {"type": "BULLETED_LIST", "nodes": [item]},
        {"type": "BUTTON", "buttonData": {"text": "PLANTED"}},
    ]
    stated = {"Author": "Ada Byron", "Title": title, "ID": title, "Slug": title.lower(), "Plain Content": f"PLAIN {WORDS}"}
    rich = {"Rich Content": json.dumps({"nodes": nodes}), "Post Page URL": f"/post/{title.lower()}"}
    return {**stated, "Published Date": "2021-03-04T10:00:00Z", **rich, "Internal ID": "1", **more}


def test_posts_of_wix_come_from_the_state_of_the_editor_else_from_plain_text(tmp_path: Path) -> None:
    rows = [wix_row("Kettle"), wix_row("Tea", **{"Rich Content": "not-json"}), wix_row("Later", **{"Published Date": ""})]
    with (tmp_path / "posts.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    found = ingest(tmp_path)
    assert [(d.title, d.author, d.date) for d in found.documents] == [
        ("Kettle", "Ada Byron", "2021-03-04"),
        ("Tea", "Ada Byron", "2021-03-04"),
    ]
    assert found.documents[0].text == f"### Rain\n\n{WORDS} Kettle\n\n- tea" and found.documents[1].text == f"PLAIN {WORDS}"
    assert found.notes == ("1 drafts left out",)


@pytest.mark.parametrize(
    ("more", "means"),
    [
        ({}, "published"),
        ({"isActive": False}, "draft"),
        ({"isDelisted": True}, "private"),
    ],
)
def test_posts_of_hashnode_that_are_no_longer_shown_are_left_out(tmp_path: Path, more: dict[str, Any], means: str) -> None:
    def post(title: str, **stated: Any) -> dict[str, Any]:
        body = f"## Rain\n\n{WORDS} {title}\n\n%[https://example.org/embed]"
        known = {"cuid": title, "slug": title, "title": title, "dateAdded": "2021-03-04T10:00:00.000Z", "contentMarkdown": body}
        return {**known, **stated}

    (tmp_path / "a.json").write_text(json.dumps({"posts": [post("Kettle"), post("Other", **more)]}))
    found = ingest(tmp_path)
    assert len(found.documents) == (2 if means == "published" else 1)
    assert found.documents[0].text == f"## Rain\n\n{WORDS} Kettle" and found.documents[0].date == "2021-03-04"
    assert {d.title: d.status for d in ingest(tmp_path, EVERYTHING).documents}["Other"] == means


def test_articles_of_dev_carry_their_author_and_address(tmp_path: Path) -> None:
    def article(title: str, **stated: Any) -> dict[str, Any]:
        known = {"title": title, "body_markdown": f"---\ntitle: {title}\n---\n\n{WORDS} {title}", "published": True}
        where = {"published_at": "2021-03-04T10:00:00Z", "canonical_url": f"https://k.example/{title}"}
        return {**known, **where, "user": {"name": "Ada Byron", "username": "ada"}, **stated}

    (tmp_path / "a.json").write_text(json.dumps([article("Kettle"), article("Later", published=False)]))
    found = ingest(tmp_path)
    assert [(d.title, d.author, d.date, d.url) for d in found.documents] == [
        ("Kettle", "Ada Byron", "2021-03-04", "https://k.example/Kettle")
    ]
    assert found.documents[0].text == f"{WORDS} Kettle" and found.notes == ("1 drafts left out",)


def test_write_as_gives_the_posts_of_public_blogs(tmp_path: Path) -> None:
    def post(id: str, **more: str) -> dict[str, Any]:
        stated = {"id": id, "slug": id, "appearance": "norm", "language": "en", "title": id, "body": f"{WORDS} {id}"}
        return {**stated, "created": "2021-03-04T10:00:00Z", **more}

    def blog(alias: str, visibility: int) -> dict[str, Any]:
        return {"alias": alias, "title": alias, "visibility": visibility, "posts": [post(f"in-{alias}")]}

    blogs = [blog("open", 1), blog("own", 2), blog("locked", 4)]
    (tmp_path / "a.json").write_text(json.dumps({"username": "ada", "posts": [post("loose")], "collections": blogs}))
    found = ingest(tmp_path)
    assert [(d.title, d.author, d.date, d.language) for d in found.documents] == [("in-open", "ada", "2021-03-04", "en")]
    assert len(found.notes) == 3
    statuses = {d.title: d.status for d in ingest(tmp_path, EVERYTHING).documents}
    assert statuses == {"in-open": "published", "in-own": "private", "in-locked": "protected", "loose": "draft"}


def test_the_archive_of_a_micro_blog_gives_each_post_once(tmp_path: Path) -> None:
    items = [
        {"id": "1", "content_html": f"<p>{WORDS}</p>", "date_published": "2021-03-04T10:00:00Z", "url": "https://k.example/1"}
    ]
    feed = {"version": "https://jsonfeed.org/version/1", "title": "K", "home_page_url": "https://k.example", "items": items}
    page = f"<html><body><article><p>{WORDS} PLANTED</p></article></body></html>"
    (tmp_path / "x.bar").write_bytes(packed({"feed.json": json.dumps(feed), "index.html": page, "uploads/a.jpg": b"x"}))
    found = ingest(tmp_path)
    assert [(d.text, d.date) for d in found.documents] == [(WORDS, "2021-03-04")]
    assert "1 pages that list others left out" in found.notes


def test_a_table_of_another_kind_is_still_rows(tmp_path: Path) -> None:
    buffer = io.StringIO()
    csv.writer(buffer).writerows([["title", "question", "answer"], ["t", "What rains?", "The sky does."]])
    (tmp_path / "a.csv").write_text(buffer.getvalue())
    assert len(ingest(tmp_path).pairs) == 1
