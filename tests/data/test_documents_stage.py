"""Documents are found again while the sources hold what they held; failures that may pass are not kept for ever."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import orjson
import pytest

from tunesmith.core.artifacts import Artifact, Store
from tunesmith.core.reporter import SilentReporter
from tunesmith.data.ingest import read_item
from tunesmith.data.ingest.item import Gathered, RawItem, Reading
from tunesmith.data.ingest.worker import reading_of
from tunesmith.data.text.decode import PassingError, UnreadableError
from tunesmith.pipeline import reading
from tunesmith.pipeline.recipe_file import recipe_from


def fails_with(error: UnreadableError) -> object:
    def fails(text: str, *, name: str) -> Reading:
        raise error

    return {"text": fails}


def read(folder: Path) -> Artifact:
    recipe = recipe_from({"sources": [str(folder / "in")]})
    return reading.read_sources(recipe, Store(folder / "store"), reporter=SilentReporter()).artifact


@pytest.fixture
def posts(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.txt").write_text("It rained all morning.")
    (tmp_path / "in" / "b.md").write_text("It was dry.")
    return tmp_path


def test_a_failure_that_passed_is_gone_and_what_was_made_without_its_file_is_another_artifact(
    posts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as now:
        now.setattr(read_item, "_OF_TEXT", fails_with(PassingError("it is locked")))
        first, again = read(posts), read(posts)
    assert first.id == again.id and first.numbers["passing"] == 1 and first.numbers["documents"] == 1
    later = read(posts)
    assert later.id != first.id and later.numbers["passing"] == 0 and later.numbers["documents"] == 2
    assert not list((posts / "store" / "documents").glob(".*-*-*"))


def test_a_failure_that_stays_is_not_read_again(posts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as now:
        now.setattr(read_item, "_OF_TEXT", fails_with(UnreadableError("it is broken")))
        first = read(posts)
    assert read(posts).id == first.id and first.numbers["documents"] == 1


def test_what_a_server_says_of_a_page_is_part_of_what_was_read(posts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "It rained."
    page = RawItem(name="x.org/a", source="x", kind="text", sha256="0" * 64, data=text.encode(), url="https://x.org/a")
    ids = set()
    for item in (page, replace(page, charset="text/plain; charset=latin-1"), replace(page, url="https://x.org/a?b")):
        monkeypatch.setattr(reading, "gather", lambda *_, item=item, **__: Gathered(items=(item,)))
        ids.add(read(posts).id)
    assert len(ids) == 3


def test_a_failure_that_may_pass_is_known_as_such_from_another_process() -> None:
    line = orjson.dumps({"unreadable": "it is locked", "passing": True})
    assert isinstance(reading_of(line), PassingError)
