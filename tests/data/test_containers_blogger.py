"""Blogger and Squarespace: posts and pages in every form of their exports, without comments, themes and settings."""

from __future__ import annotations

import json
from html import escape
from pathlib import Path

import pytest
from test_ingest_containers import ingest

from tunesmith.data.ingest.policy import EVERY_STATUS, Policy

WORDS = "The kettle was on before the rain had stopped, and nobody spoke of the harvest."
SCHEME = "http://schemas.google.com/blogger/2008/kind#"


def old(*entries: str) -> str:
    head = (
        "<?xml version='1.0' encoding='UTF-8'?><feed xmlns='http://www.w3.org/2005/Atom' xmlns:app='http://purl.org/atom/app#'>"
    )
    return f"{head}<id>tag:blogger.com,1999:blog-1.archive</id><title>Kettles</title>{''.join(entries)}</feed>"


def old_entry(title: str, kind: str = "post", more: str = "") -> str:
    return (
        f"<entry><id>tag:blogger.com,1999:blog-1.post-{len(title)}</id><published>2021-03-04T10:00:00.000Z</published>"
        f"<category scheme='http://schemas.google.com/g/2005#kind' term='{SCHEME}{kind}'/><title type='text'>{title}</title>"
        f"<content type='html'>{escape(f'<p>{WORDS} {title}</p>')}</content>{more}<author><name>Ada Byron</name>"
        f"<email>noreply@blogger.com</email></author><link rel='alternate' href='https://k.example/{title}.html'/></entry>"
    )


def new(*entries: str) -> str:
    spaces = "xmlns='http://www.w3.org/2005/Atom' xmlns:blogger='http://schemas.google.com/blogger/2018'"
    return f"<?xml version='1.0' encoding='utf-8'?><feed {spaces}><title>Kettles</title>{''.join(entries)}</feed>"


def new_entry(title: str, kind: str = "POST", status: str = "LIVE", more: str = "") -> str:
    return (
        f"<entry><id>tag:blogger.com,1999:blog-1.post-{len(title)}</id><blogger:type>{kind}</blogger:type>"
        f"<blogger:status>{status}</blogger:status><author><name>Ada Byron</name><blogger:type>BLOGGER</blogger:type></author>"
        f"<title>{title}</title><content type='html'>{escape(f'<p>{WORDS} {title}</p>')}</content>{more}"
        f"<blogger:created>2021-03-04T10:00:00Z</blogger:created><blogger:filename>/2021/{title}.html</blogger:filename></entry>"
    )


DRAFT = "<app:control><app:draft>yes</app:draft></app:control>"


def test_a_backup_gives_posts_and_pages_and_nothing_of_the_blog_around_them(tmp_path: Path) -> None:
    others = [old_entry("C", "comment"), old_entry("T", "template"), old_entry("S", "settings"), old_entry("Later", more=DRAFT)]
    (tmp_path / "blog.xml").write_text(old(old_entry("Kettle"), old_entry("About", "page"), *others))
    found = ingest(tmp_path)
    assert [document.title for document in found.documents] == ["About", "Kettle"]
    one = found.documents[1]
    assert (one.author, one.date, one.url) == ("Ada Byron", "2021-03-04", "https://k.example/Kettle.html")
    assert one.text == f"{WORDS} Kettle"
    assert found.notes == ("1 comments left out", "1 drafts left out", "2 settings and themes left out")


@pytest.mark.parametrize(
    ("entry", "means"),
    [
        (new_entry("Other"), "published"),
        (new_entry("Other", "PAGE"), "published"),
        (new_entry("Other", status="DRAFT"), "draft"),
        (new_entry("Other", status="SCHEDULED"), "scheduled"),
        (new_entry("Other", status="SOFT_TRASHED"), "deleted"),
        (new_entry("Other", more="<blogger:trashed>2022-01-01T00:00:00Z</blogger:trashed>"), "deleted"),
        (new_entry("Other", "COMMENT"), None),
    ],
)
def test_a_takeout_gives_what_is_live(tmp_path: Path, entry: str, means: str | None) -> None:
    folder = tmp_path / "Takeout" / "Blogger" / "Blogs" / "Kettles"
    folder.mkdir(parents=True)
    (folder / "feed.atom").write_text(new(new_entry("Kettle"), entry))
    (folder / "settings.csv").write_text("blog_name,text\nKettles,PLANTED words of the settings\n")
    (folder / "theme-classic.html").write_text("<html><body><p>PLANTED words of a theme that nobody wrote.</p></body></html>")
    found = ingest(tmp_path)
    assert len(found.documents) == (2 if means == "published" else 1)
    assert "2 settings and themes left out" in found.notes and not found.failures
    everything = ingest(tmp_path, Policy(publication=EVERY_STATUS, today="2026-01-01")).documents
    assert {document.title: document.status for document in everything}.get("Other") == means


def test_the_answer_of_the_api_is_read_too(tmp_path: Path) -> None:
    def post(title: str, **more: str) -> dict[str, object]:
        stated = {"kind": "blogger#post", "id": title, "title": title, "published": "2021-03-04T10:00:00Z"}
        return {**stated, "content": f"<p>{WORDS} {title}</p>", "author": {"displayName": "Ada Byron"}, **more}

    items = [post("Kettle"), post("Later", status="DRAFT"), post("C", kind="blogger#comment")]
    (tmp_path / "a.json").write_text(json.dumps({"kind": "blogger#postList", "items": items}))
    found = ingest(tmp_path)
    assert [(d.title, d.author, d.date) for d in found.documents] == [("Kettle", "Ada Byron", "2021-03-04")]
    assert found.notes == ("1 comments left out", "1 drafts left out")


def test_a_backup_that_is_cut_gives_its_whole_entries(tmp_path: Path) -> None:
    text = old(old_entry("Kettle"), old_entry("Other"))
    (tmp_path / "blog.xml").write_text(text[: text.index("Other")])
    assert "Kettle" in {document.title for document in ingest(tmp_path).documents}


def test_squarespace_keeps_the_blocks_that_hold_text(tmp_path: Path) -> None:
    def sqs(kind: str, inner: str) -> str:
        return f'<div class="sqs-block {kind}-block sqs-block-{kind}"><div class="sqs-block-content">{inner}</div></div>'

    planted = [sqs(kind, "<p>PLANTED</p>") for kind in ("button", "newsletter", "form", "gallery", "code", "product")]
    content = f'<div class="sqs-layout">{"".join(planted)}{sqs("html", f"<p>{WORDS}</p>")}</div>'
    (tmp_path / "a.xml").write_text(
        '<rss xmlns:content="http://purl.org/rss/1.0/modules/content/" xmlns:wp="http://wordpress.org/export/1.2/"><channel>'
        "<title>K</title><generator>Site-Server v6 (http://www.squarespace.com)</generator><item><title>Kettle</title>"
        f"<content:encoded><![CDATA[{content}]]></content:encoded><wp:post_type>post</wp:post_type>"
        "<wp:status>publish</wp:status></item></channel></rss>"
    )
    (found,) = ingest(tmp_path).documents
    assert (found.title, found.text) == ("Kettle", WORDS)
