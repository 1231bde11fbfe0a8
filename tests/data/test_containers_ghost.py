"""Ghost: published posts and pages in the words of their authors, from HTML or from what an editor stores."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from test_ingest_containers import ingest, packed

from tunesmith.core.records import Status
from tunesmith.data.ingest.editor_state import lexical_html, mobiledoc_html
from tunesmith.data.ingest.policy import EVERY_STATUS, Policy
from tunesmith.data.text.decode import UnreadableError

WORDS = "The kettle was on before the rain had stopped, and nobody spoke of the harvest."
USERS = [{"id": "u1", "name": "Ada Byron", "slug": "ada", "email": "ada@kettles.example"}, {"id": "u2", "name": "Bob Smith"}]


def post(title: str = "Kettle", **more: Any) -> dict[str, Any]:
    slug = title.lower()
    stated = {"id": slug, "title": title, "slug": slug, "html": f"<p>{WORDS} {title}</p>", "status": "published"}
    return {**stated, "visibility": "public", "published_at": "2021-03-04T10:00:00.000Z", **more}


def export(path: Path, *posts: dict[str, Any], **tables: Any) -> Path:
    data = {"posts": list(posts), "users": USERS, "posts_authors": [], **tables}
    path.write_text(json.dumps({"db": [{"meta": {"exported_on": 1775409738177, "version": "5.0.0"}, "data": data}]}))
    return path


def test_a_post_carries_what_the_export_states_about_it(tmp_path: Path) -> None:
    links = [
        {"post_id": "kettle", "author_id": "u2", "sort_order": 1},
        {"post_id": "kettle", "author_id": "u1", "sort_order": 0},
    ]
    settings = [{"key": "locale", "value": "en"}]
    (found,) = ingest(export(tmp_path / "a.json", post(), posts_authors=links, settings=settings)).documents
    assert (found.title, found.author, found.date) == ("Kettle", "Ada Byron, Bob Smith", "2021-03-04")
    assert (found.url, found.language, found.source) == ("/kettle/", "en", "a.json/kettle")
    assert found.text == f"{WORDS} Kettle"


@pytest.mark.parametrize(
    ("more", "means"),
    [
        ({}, "published"),
        ({"status": "sent"}, "published"),
        ({"type": "page"}, "published"),
        ({"status": "draft"}, "draft"),
        ({"status": "scheduled"}, "scheduled"),
        ({"status": None}, "draft"),
        ({"visibility": "members"}, "protected"),
        ({"visibility": "paid"}, "protected"),
        ({"visibility": "tiers"}, "protected"),
    ],
)
def test_only_what_everybody_may_read_is_taken(tmp_path: Path, more: dict[str, Any], means: Status) -> None:
    path = export(tmp_path / "a.json", post(), post("Other", **more))
    taken = {document.title for document in ingest(path).documents}
    assert taken == ({"Kettle", "Other"} if means == "published" else {"Kettle"})
    everything = ingest(path, Policy(publication=EVERY_STATUS, today="2026-01-01")).documents
    assert {document.title: document.status for document in everything}["Other"] == means


@pytest.mark.parametrize(
    "shape",
    [
        lambda data: {"meta": {"exported_on": 1}, "data": data},
        lambda data: {"db": [{"data": data, "meta": {"exported_on": 1}}]},
        lambda data: {"posts": data["posts"]},
    ],
)
def test_other_versions_of_the_export_are_read_also_where_authors_stand_in_the_post(tmp_path: Path, shape: Any) -> None:
    one = post(authors=[{"name": "Ada Byron"}], custom_excerpt=None)
    (tmp_path / "a.json").write_text(json.dumps(shape({"posts": [one]})))
    (found,) = ingest(tmp_path / "a.json").documents
    assert (found.title, found.author, found.date) == ("Kettle", "Ada Byron", "2021-03-04")


def test_an_old_export_names_its_author_by_number_and_its_day_in_milliseconds(tmp_path: Path) -> None:
    old = post(html=None, markdown=f"# Head\n\n{WORDS}", author_id=1, published_at=1614852000000)
    (found,) = ingest(export(tmp_path / "a.json", old, users=[{"id": 1, "name": "Ada"}])).documents
    assert (found.author, found.date, found.text) == ("Ada", "2021-03-04", f"# Head\n\n{WORDS}")


def test_posts_of_other_authors_are_left_out_once_an_author_is_named(tmp_path: Path) -> None:
    links = [{"post_id": "kettle", "author_id": "u1"}, {"post_id": "visit", "author_id": "u2"}]
    path = export(tmp_path / "a.json", post(), post("Visit"), posts_authors=links)
    found = ingest(path, Policy(me=("ada@kettles.example",)))
    assert [document.title for document in found.documents] == ["Kettle"]
    assert found.notes == ("1 texts of other authors left out",)


def test_cards_that_sell_or_sign_up_are_left_out_and_so_are_comments_and_members(tmp_path: Path) -> None:
    card = (
        '<div class="kg-card kg-signup-card"><h2>Never miss one</h2></div><div class="kg-card kg-button-card"><a>Buy</a></div>'
    )
    path = export(tmp_path / "a.json", post(html=card + f"<p>{WORDS}</p>"), comments=[{"html": "Fine!"}], members=[{}, {}])
    found = ingest(path)
    assert [document.text for document in found.documents] == [WORDS]
    assert found.notes == ("1 comments left out", "2 members left out")


def test_what_the_editors_store_becomes_prose_without_its_cards(tmp_path: Path) -> None:
    def text(words: str) -> dict[str, Any]:
        return {"type": "extended-text", "text": words}

    item = {"type": "listitem", "children": [text("Tea & salt")]}
    children = [
        {"type": "extended-heading", "tag": "h3", "children": [text("Head")]},
        {"type": "paragraph", "children": [text("One,"), {"type": "linebreak"}, {"type": "link", "children": [text("on.")]}]},
        {"type": "list", "listType": "number", "children": [item]},
        {"type": "signup", "header": "Never miss one"},
        {"type": "button", "buttonText": "Buy"},
        {"type": "markdown", "markdown": "Two *words*."},
    ]
    assert lexical_html(json.dumps({"root": {"type": "root", "children": children}})) == (
        "<h3>Head</h3><p>One,<br>on.</p><ol><li>Tea &amp; salt</li></ol><p>Two <em>words</em>.</p>\n"
    )
    sections = [[1, "h2", [[0, [], 0, "Head"]]], [3, "ul", [[[0, [0], 1, "Tea"]]]], [10, 0], [10, 1], [2, "a.jpg"]]
    stored = {"sections": sections, "cards": [["markdown", {"markdown": "Two."}], ["button", {"buttonText": "Buy"}]]}
    assert mobiledoc_html(json.dumps(stored)).split() == ["<h2>Head</h2>", "<ul><li>Tea</li></ul>", "<p>Two.</p>"]
    with pytest.raises(UnreadableError):
        lexical_html("{")


def test_an_export_of_members_alone_says_what_to_do_and_other_json_stays_what_it_is(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("Words of mine.")
    (tmp_path / "b.jsonl").write_text(json.dumps({"prompt": "What rains?", "completion": "The sky does."}))
    found = ingest(export(tmp_path / "members.json").parent)
    assert len(found.documents) == 1 and len(found.pairs) == 1
    assert [failure.reason for failure in found.failures] == [
        "a Ghost export: it holds no posts; export the content again (Settings, Export)"
    ]


def test_the_export_is_found_in_the_archive_with_its_pictures(tmp_path: Path) -> None:
    path = export(tmp_path / "a.json", post())
    (tmp_path / "b.zip").write_bytes(packed({"data/my.ghost.json": path.read_bytes(), "content/images/a.png": b"x"}))
    assert [document.title for document in ingest(tmp_path / "b.zip").documents] == ["Kettle"]
