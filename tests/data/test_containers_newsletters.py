"""Beehiiv and Buttondown: what was sent to everybody, in prose, with its day and address."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from test_ingest_containers import ingest, packed

from tunesmith.data.ingest.policy import EVERY_STATUS, Policy

WORDS = "The kettle was on before the rain had stopped, and nobody spoke of the harvest."
EVERYTHING = Policy(publication=EVERY_STATUS, today="2026-01-01")


def table(rows: list[Mapping[str, Any]]) -> str:
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    return buffer.getvalue()


def sent(title: str, **more: str) -> dict[str, str]:
    layout = (
        f"<table><tr id='content-blocks'><td><p>{WORDS} {title}</p></td><td><a class='button'>PLANTED</a></td></tr></table>"
    )
    stated = {"id": title, "web_title": title, "status": "confirmed", "audience": "free", "content_html": layout}
    return {**stated, "url": f"https://k.example/p/{title}", "created_at": "2021-03-04 21:25:27", **more}


def test_a_table_of_beehiiv_gives_the_text_inside_its_layout(tmp_path: Path) -> None:
    (tmp_path / "posts.csv").write_text(table([sent("Kettle")]))
    (found,) = ingest(tmp_path).documents
    assert (found.title, found.date, found.url) == ("Kettle", "2021-03-04", "https://k.example/p/Kettle")
    assert found.text == f"{WORDS} Kettle"


@pytest.mark.parametrize(
    ("more", "means"),
    [({"status": "draft"}, "draft"), ({"audience": "premium"}, "protected"), ({"audience": "both"}, "published")],
)
def test_drafts_and_premium_posts_of_beehiiv_are_left_out(tmp_path: Path, more: dict[str, str], means: str) -> None:
    (tmp_path / "x.csv").write_text(table([sent("Kettle"), sent("Other", **more)]))
    assert len(ingest(tmp_path).documents) == (2 if means == "published" else 1)
    assert {d.title: d.status for d in ingest(tmp_path, EVERYTHING).documents}["Other"] == means


def test_the_answer_of_the_api_of_beehiiv_is_what_free_readers_see(tmp_path: Path) -> None:
    post = {
        "id": "post_0a1b2c3d-4e5f",
        "title": "Kettle",
        "subtitle": "Tea",
        "authors": ["Ada Byron"],
        "status": "confirmed",
        "web_url": "https://k.example/p/kettle",
        "publish_date": 1614852000,
        "content": {"free": {"web": f"<p>{WORDS}</p>"}, "premium": {"web": "<p>PLANTED</p>"}},
    }
    (tmp_path / "a.json").write_text(json.dumps({"data": [post]}))
    (found,) = ingest(tmp_path).documents
    assert (found.title, found.author, found.date, found.text) == ("Kettle", "Ada Byron", "2021-03-04", WORDS)


def emails(**more: str) -> dict[str, str]:
    rows = [
        {"id": slug, "subject": slug.title(), "publish_date": "2021-03-04 10:00:00+00:00", "slug": slug}
        for slug in ("rain", "tea")
    ]
    return {
        "emails.csv": table([{**row, **more} for row in rows]),
        "emails/rain.md": f"<!-- buttondown-editor-mode: plaintext -->Dear {{{{ subscriber.email }}}}reader,\n\n{WORDS}",
        "emails/tea.md": f"{WORDS} Tea.",
    }


def written(folder: Path, members: Mapping[str, str]) -> Path:
    for name, content in members.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)
    return folder


@pytest.mark.parametrize("depth", ["", "buttondown/"])
@pytest.mark.parametrize("zipped", [False, True])
def test_emails_of_buttondown_carry_the_subject_and_day_of_their_table(tmp_path: Path, depth: str, zipped: bool) -> None:
    members = {depth + name: content for name, content in emails().items()}
    if zipped:
        (tmp_path / "x.zip").write_bytes(packed(members))
    found = ingest(tmp_path / "x.zip" if zipped else written(tmp_path / "x", members))
    assert [(d.title, d.date, d.text) for d in found.documents] == [
        ("Rain", "2021-03-04", f"Dear reader,\n\n{WORDS}"),
        ("Tea", "2021-03-04", f"{WORDS} Tea."),
    ]


def test_an_email_that_the_table_names_and_that_is_missing_is_a_failure(tmp_path: Path) -> None:
    members = emails()
    del members["emails/tea.md"]
    found = ingest(written(tmp_path, members))
    assert [document.title for document in found.documents] == ["Rain"]
    assert len(found.failures) == 1 and "unpack" in found.failures[0].reason


@pytest.mark.parametrize(
    ("more", "means"),
    [
        ({"status": "sent", "email_type": "public"}, "published"),
        ({"status": "imported"}, "published"),
        ({"status": "draft"}, "draft"),
        ({"status": "scheduled"}, "scheduled"),
        ({"status": "sent", "email_type": "premium"}, "protected"),
        ({"status": "sent", "email_type": "private"}, "private"),
    ],
)
def test_the_api_of_buttondown_says_what_was_sent_to_everybody(tmp_path: Path, more: dict[str, str], means: str) -> None:
    def email(subject: str, **stated: str) -> dict[str, str]:
        known = {"id": subject, "subject": subject, "body": f"{WORDS} {subject}", "slug": subject, "publish_date": "2021-03-04"}
        return {**known, **stated}

    results = [email("Kettle", status="sent"), email("Other", **more)]
    (tmp_path / "a.json").write_text(json.dumps({"results": results, "count": 2}))
    assert len(ingest(tmp_path).documents) == (2 if means == "published" else 1)
    assert {d.title: d.status for d in ingest(tmp_path, EVERYTHING).documents}["Other"] == means
