"""Exports and site trees are recognised as wholes before any file in them is read, and told from what only looks like one."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from tunesmith.core.reporter import SilentReporter
from tunesmith.data.ingest.containers import all_containers
from tunesmith.data.ingest.containers_page import with_table
from tunesmith.data.ingest.extract import extract
from tunesmith.data.ingest.gather import gather
from tunesmith.data.ingest.item import Extracted
from tunesmith.data.ingest.policy import Policy

SLACK = {"users.json": json.dumps([{"id": "U1", "name": "ada", "profile": {"real_name": "Ada Byron"}}])}


def ingest(source: Path, policy: Policy | None = None) -> Extracted:
    return extract(gather([str(source)], policy=policy or Policy(today="2026-01-01")), reporter=SilentReporter())


def packed(members: Mapping[str, str | bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def test_every_container_says_what_it_takes_and_what_it_leaves_out_and_has_a_name_of_its_own() -> None:
    names = [one.name for one in all_containers()]
    assert len(names) == len(set(names))
    for one in all_containers():
        assert one.title and (one.file or one.folder), one.name
        assert (one.entries is None) == bool(one.instead), one.name
        assert (one.taken and one.left_out) if one.entries else one.instead, one.name
        assert (one.file is None) == (not one.suffixes), one.name


def test_an_export_beside_other_writing_takes_only_what_is_its_own(tmp_path: Path) -> None:
    day = [{"type": "message", "user": "U1", "text": "It rained all morning.", "ts": "1678611600.1"}]
    for name, content in {**SLACK, "general/2023-03-12.json": json.dumps(day), "post.md": "# Rain\n\nIt rained."}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content)
    found = ingest(tmp_path)
    assert [document.source for document in found.documents] == ["general/2023-03-12.json", "post.md"]
    assert "1 lists of members and channels left out" in found.notes


@pytest.mark.parametrize("depth", ["", "export/", "a/b/export/"])
def test_an_export_is_found_however_deep_it_lies_and_in_an_archive(tmp_path: Path, depth: str) -> None:
    day = [{"type": "message", "user": "U1", "text": "It rained all morning.", "ts": "1678611600.1"}]
    members = {f"{depth}{name}": content for name, content in {**SLACK, "general/2023-03-12.json": json.dumps(day)}.items()}
    (tmp_path / "x.zip").write_bytes(packed(members))
    (document,) = ingest(tmp_path / "x.zip").documents
    assert document.source == f"x.zip/{depth}general/2023-03-12.json" and document.text == "Speaker 1: It rained all morning."


def test_patterns_choose_among_files_and_what_they_leave_out_is_counted(tmp_path: Path) -> None:
    for name in ("posts/a.md", "posts/b.md", "notes/c.md"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(f"Words of {name}.")
    chosen = ingest(tmp_path, Policy(include=("posts",), exclude=("b.md",)))
    assert [document.source for document in chosen.documents] == ["posts/a.md"]
    assert chosen.notes == ("2 files left out by the patterns of the recipe",)


def test_a_broken_export_is_a_failure_with_its_name_and_the_rest_is_read(tmp_path: Path) -> None:
    head = '<rss xmlns:wp="http://wordpress.org/export/1.2/"><channel><title>x</title>'
    (tmp_path / "export.xml").write_text(head)
    (tmp_path / "a.md").write_text("Words.")
    found = ingest(tmp_path)
    assert [document.source for document in found.documents] == ["a.md"]
    assert [failure.source for failure in found.failures] == ["export.xml"] and "WordPress" in found.failures[0].reason


def test_the_table_of_the_page_about_sources_is_the_one_that_the_containers_make() -> None:
    page = (Path(__file__).parents[2] / "docs" / "guides" / "sources.md").read_text(encoding="utf-8")
    assert page == with_table(page), "make it again: python -m tunesmith.api.reference exports docs/guides/sources.md"
    assert all(one.taken in page for one in all_containers() if one.entries)
    with pytest.raises(ValueError):
        with_table("a page without a place for it")
