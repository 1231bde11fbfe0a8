"""Sources are found, named and told apart; what is wrong with them is said with the way out."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from local_server import local_web, serving
from shared_material import ingest

from tunesmith.core.errors import DatasetError, SourceError
from tunesmith.core.reporter import SilentReporter
from tunesmith.data.ingest.extract import extract
from tunesmith.data.ingest.gather import gather, refuse_missing

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256))


def test_a_folder_is_walked_sorted_and_hidden_files_and_leaving_links_are_skipped(tmp_path: Path) -> None:
    outside = tmp_path / "outside.md"
    outside.write_text("not mine")
    posts = tmp_path / "posts"
    for name in ("b.md", "a/c.md", "a/b.mdx", ".hidden.md", ".git/x.md", "node_modules/y.md"):
        (posts / name).parent.mkdir(parents=True, exist_ok=True)
        (posts / name).write_text(f"words of {name}")
    (posts / "link.md").symlink_to(outside)
    assert [item.name for item in gather([str(posts)]).items] == ["a/b.mdx", "a/c.md", "b.md"]


def test_assets_are_counted_and_other_unknown_files_are_listed(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("words")
    for name in ("x.png", "s.css", "f.woff2", "package-lock.json", "LICENSE"):
        (tmp_path / name).write_bytes(PNG)
    (tmp_path / "book.doc").write_bytes(b"{\\rtf1}")
    (tmp_path / "note.xyz").write_text("words")
    found = gather([str(tmp_path)])
    assert found.notes == {"images, styles, code and other assets skipped": 5}
    assert {failure.source: failure.reason for failure in found.failures} == {
        "book.doc": "Word files of the old kind are not read yet",
        "note.xyz": "not a kind of file that Tunesmith reads",
    }


def test_kinds_are_told_by_content_before_the_name(tmp_path: Path) -> None:
    for name, text in {
        "feed.html": "<?xml version='1.0'?><rss><channel><title>t</title></channel></rss>",
        "feed.json": '{"version": "https://jsonfeed.org/version/1", "title": "t", "items": []}',
        "page.xml": "<!DOCTYPE html><html><body><p>x</p></body></html>",
        "rows.json": '[{"text": "x"}]',
        "a.txt": "plain",
    }.items():
        (tmp_path / name).write_text(text)
    kinds = {item.name: item.kind for item in gather([str(tmp_path)]).items}
    assert kinds == {"feed.html": "feed", "feed.json": "feed", "page.xml": "html", "rows.json": "rows", "a.txt": "text"}


def test_a_missing_source_names_the_nearest_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "posts").mkdir()
    with pytest.raises(SourceError) as caught:
        gather(["./post"])
    with pytest.raises(SourceError) as before:  # before a base is fetched for nothing
        refuse_missing(["./posts", "https://a.example/", "hf:a/b", "./post"])
    assert before.value.problems == caught.value.problems
    problem = caught.value.problems[0]
    assert problem.lines() == [
        "source not found: './post'",
        "expected a folder, a file, or an http(s) address; there is a folder named './posts'",
        "hint: did you mean ./posts?",
    ]
    assert problem.instead == "./posts"


def test_what_is_passed_over_is_counted_and_a_closed_folder_is_a_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    posts, elsewhere = tmp_path / "posts", tmp_path / "elsewhere"
    for folder in (posts / "closed", elsewhere):
        folder.mkdir(parents=True)
    (posts / "a.md").write_text("Words.")
    (posts / ".draft.md").write_text("Hidden.")
    (posts / "linked").symlink_to(elsewhere)
    (posts / "dangling.md").symlink_to(tmp_path / "nothing")
    scandir = os.scandir

    def closed(path: Any) -> Any:
        if Path(path).name == "closed":
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", closed)
    found = gather([str(posts)])
    assert [item.name for item in found.items] == ["a.md"]
    assert sorted(found.notes.values()) == [1, 2] and sum("links" in note for note in found.notes) == 1
    assert [(f.source, "cannot be opened" in f.reason) for f in found.failures] == [("closed", True)]


@pytest.mark.parametrize("source", ["x" * 5000, "caf\udce9.md", "", " "])
def test_names_that_no_file_can_have_are_told_without_a_traceback(source: str) -> None:
    with pytest.raises(SourceError) as caught:
        gather([source])
    assert len(caught.value.text()) < 600 and caught.value.text().encode()


def test_a_link_to_nothing_is_called_that(tmp_path: Path) -> None:
    (tmp_path / "broken").symlink_to(tmp_path / "nothing")
    with pytest.raises(SourceError, match="link has no target"):
        gather([str(tmp_path / "broken")])


def test_a_missing_file_is_not_taken_for_an_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for source, address in (
        ("nosuch.md", False),
        ("export.zip", False),
        ("mail.mbox", False),
        ("example.org", True),
        ("blog.example.org/feed", True),
    ):
        with pytest.raises(SourceError) as caught:
            gather([source])
        assert ("https://" in caught.value.text()) == address


@pytest.mark.parametrize(
    ("files", "what"),
    [({}, "this folder is empty"), ({"x.png": PNG}, "no text"), ({"x.pdf": b"%PDF"}, "no file in this folder can be used")],
)
def test_a_folder_without_writing_says_why(tmp_path: Path, files: dict[str, bytes], what: str) -> None:
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    with pytest.raises(SourceError, match=what):
        gather([str(tmp_path)])


def test_one_bad_file_never_stops_the_batch(tmp_path: Path) -> None:
    (tmp_path / "good.md").write_text("Good words.")
    (tmp_path / "binary.md").write_bytes(b"\x00\x01\xff\x00" * 50)
    (tmp_path / "broken.md").write_text("---\na: b: c\n---\nx")
    (tmp_path / "empty.md").write_text("")
    found = ingest(tmp_path)
    assert [document.source for document in found.documents] == ["good.md"]
    assert {f.source: f.reason.split(";")[0].split(" at ")[0] for f in found.failures} == {
        "binary.md": "a binary file, not text",
        "broken.md": "its front matter is not valid YAML",
        "empty.md": "it is empty",
    }


def test_when_nothing_can_be_used_the_first_failures_are_named(tmp_path: Path) -> None:
    (tmp_path / "empty.md").write_text("")
    with pytest.raises(DatasetError, match=r"empty\.md: it is empty"):
        ingest(tmp_path)


def test_drafts_are_noted_in_words(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("Done.")
    (tmp_path / "b.md").write_text("---\ndraft: true\n---\nNot done.")
    assert ingest(tmp_path).notes == ("1 drafts left out",)


def test_ids_do_not_depend_on_where_the_folder_lies_or_what_else_is_in_it(tmp_path: Path) -> None:
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.md").write_text("Same words.")
    before = ingest(tmp_path / "one").documents[0].id
    (tmp_path / "two" / "0.md").write_text("Other words.")
    assert before in {document.id for document in ingest(tmp_path / "two").documents}


def test_the_same_text_under_two_names_is_kept_once(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("Same words.")
    (tmp_path / "b.md").write_text("Same words.")
    found = ingest(tmp_path)
    assert len(found.documents) == 1 and found.notes == ("1 documents that are copies of another left out",)


def test_a_file_that_changes_between_gather_and_extract_is_a_failure(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("One.")
    (tmp_path / "b.md").write_text("Two.")
    gathered = gather([str(tmp_path)])
    (tmp_path / "a.md").write_text("Changed.")
    found = extract(gathered, reporter=SilentReporter())
    assert [failure.source for failure in found.failures] == ["a.md"] and len(found.documents) == 1


def test_a_feed_a_page_and_markdown_are_read_from_an_address() -> None:
    item = b"<item><title>One</title><description>Some words here.</description></item>"
    feed = b"<rss><channel><title>t</title>" + item + b"</channel></rss>"
    page = b"<html><body><article><h1>T</h1><p>" + b"Enough words for an article. " * 20 + b"</p></article></body></html>"
    answers = {
        "/feed": (200, {"Content-Type": "application/rss+xml"}, feed),
        "/page": (200, {"Content-Type": "text/html; charset=utf-8"}, page),
        "/post.md": (200, {"Content-Type": "text/plain"}, b"---\ntitle: P\n---\nA post."),
        "/thing": (200, {"Content-Type": "application/octet-stream"}, PNG),
    }
    with serving(dict(answers)) as server:
        gathered = gather([server.url(path) for path in ("/feed", "/page", "/post.md")], web=local_web())
        found = extract(gathered, reporter=SilentReporter())
        assert [item.kind for item in gathered.items] == ["feed", "html", "markdown"]
        assert [document.title for document in found.documents] == ["One", "T", "P"]
        with pytest.raises(SourceError, match="no feed or page at this address"):
            gather([server.url("/thing")], web=local_web())


def test_a_name_that_is_no_utf8_is_a_failure_and_the_rest_goes_on(tmp_path: Path) -> None:
    (tmp_path / "good.md").write_text("Good words.")
    try:
        (tmp_path / os.fsdecode(b"caf\xe9.md")).write_text("Words.")
    except (OSError, UnicodeEncodeError):
        pytest.skip("this file system takes no such name")
    found = ingest(tmp_path)
    assert [document.source for document in found.documents] == ["good.md"]
    assert [(f.source, f.reason) for f in found.failures] == [("caf\\udce9.md", "its name is not valid UTF-8; rename it")]


def test_half_characters_of_a_page_do_not_stop_the_batch(tmp_path: Path) -> None:
    words = "<p>It rained all day and all night in the harbour &#xD83D; and nobody minded it &#xDE00; very much at all.</p>"
    (tmp_path / "a.html").write_text(
        f"<html><head><title>&#xD800;x</title></head><body><article>{words * 3}</article></body></html>"
    )
    (tmp_path / "b.md").write_text('---\ntitle: "\\ud83d"\n---\nWords &#xD800; here.')
    found = ingest(tmp_path)
    ends = {document.source for document in found.documents} | {failure.source for failure in found.failures}
    assert ends == {"a.html", "b.md"} and all(document.text.encode() for document in found.documents)
