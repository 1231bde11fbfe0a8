"""`review` without a file shows the documents of the sources, and what is decided there counts in every later build."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from lxml import html

from tunesmith.api import decide_documents, ingest, review_documents
from tunesmith.cli.main import main
from tunesmith.core.errors import DatasetError

POSTS = {
    "rain.md": "---\nauthor: Ada\n---\nIt rained all morning, and nobody minded.",
    "guest.md": "---\nauthor: Bob\n---\nThe guest wrote this one about kettles.",
    "later.md": "---\nauthor: Ada\ndraft: true\n---\nNot finished, but nearly good enough.",
}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "posts").mkdir()
    for name, content in POSTS.items():
        (tmp_path / "posts" / name).write_text(content)
    (tmp_path / "tunesmith.yaml").write_text("sources: [posts]\nauthors: [Ada]\n")
    return tmp_path


def decided(project: Path, **decisions: str) -> Path:
    articles = html.fromstring((project / "documents.review.html").read_text()).iter("article")
    ids = {article.find("h3").text_content().split()[0].lower(): article.get("data-row") for article in articles}
    rows = [{"row": ids[name], "decision": decision} for name, decision in decisions.items()]
    (project / "decisions.json").write_text(json.dumps({"file": "documents", "sha256": "x", "rows": rows}))
    return project / "decisions.json"


def taken(project: Path) -> set[str]:
    lines = (ingest().artifact.path / "documents.jsonl").read_text().splitlines()
    return {json.loads(line)["source"] for line in lines}


def test_the_page_shows_what_is_taken_and_what_is_left_out_with_the_reason(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["review"])
    assert "3 of 3 documents in documents.review.html" in capsys.readouterr().err
    page = html.fromstring((project / "documents.review.html").read_text())
    shown = {article.find("h3").text_content(): article.text_content() for article in page.iter("article")}
    assert set(shown) == {"Rain taken", "Guest texts of other authors", "Later drafts"}
    assert "nobody minded" in shown["Rain taken"] and "Bob" in shown["Guest texts of other authors"]
    assert "tunesmith review --apply decisions.json" in page.text_content()


def test_what_was_decided_counts_in_every_later_reading_and_can_be_changed(project: Path) -> None:
    assert taken(project) == {"rain.md"}
    review_documents(ingest().artifact)
    main(["review", "--apply", str(decided(project, rain="drop", later="accept"))])
    assert taken(project) == {"later.md"}
    assert "1 texts that you decided against left out" in ingest().artifact.numbers["notes"]
    review_documents(ingest().artifact)
    decide_documents(decided(project, rain="accept"), ingest().artifact)
    assert taken(project) == {"rain.md", "later.md"}


def test_decisions_about_other_documents_and_files_that_hold_none_are_refused(project: Path) -> None:
    documents = ingest().artifact
    (project / "decisions.json").write_text(json.dumps({"rows": [{"row": "nowhere", "decision": "drop"}]}))
    with pytest.raises(DatasetError, match="no longer hold"):
        decide_documents(project / "decisions.json", documents)
    (project / "decisions.json").write_text(json.dumps({"rows": [{"row": "x", "decision": "fix"}]}))
    with pytest.raises(DatasetError, match="not a file of decisions"):
        decide_documents(project / "decisions.json", documents)
    assert not (project / "document-decisions.json").exists()
