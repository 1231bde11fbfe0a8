"""A reader is added by one file, and every reader that is there is recognised by what it says of itself."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tunesmith.core.errors import SourceError
from tunesmith.core.reporter import SilentReporter
from tunesmith.data.ingest import readers
from tunesmith.data.ingest.extract import extract
from tunesmith.data.ingest.gather import gather
from tunesmith.data.ingest.item import Extracted, Reading
from tunesmith.data.ingest.reader import Reader

TOY = '''"""Recipe cards: a title in capitals after a star, then what to do."""

from tunesmith.data.ingest.item import Reading, make_document
from tunesmith.data.text.decode import UnreadableError
from tunesmith.data.ingest.reader import Reader


def read_card(text: str, *, name: str) -> Reading:
    title, _, rest = text.removeprefix("*** ").partition("\\n")
    if not rest.strip():
        raise UnreadableError("the card says nothing")
    return Reading(documents=(make_document(name=name, text=rest.strip(), title=title.title(), extraction="card"),))


READER = Reader(
    kind="card",
    read_text=read_card,
    suffixes=frozenset([".card", ".doc"]),
    first_lines=lambda head: head.startswith("*** "),
)
'''


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder for sources, while the toy reader lies where readers lie."""
    added = tmp_path / "added"
    added.mkdir()
    (added / "card.py").write_text(TOY, encoding="utf-8")
    monkeypatch.setattr(readers, "__path__", [*readers.__path__, str(added)])
    readers.all_readers.cache_clear()
    (tmp_path / "in").mkdir()
    yield tmp_path / "in"
    readers.all_readers.cache_clear()


def read(folder: Path) -> Extracted:
    return extract(gather([str(folder)], reporter=SilentReporter()), reporter=SilentReporter())


def test_one_new_file_adds_a_reader_by_name_and_by_content(toy: Path) -> None:
    (toy / "a.card").write_text("SOUP\nBoil the leeks until they give in.", encoding="utf-8")
    (toy / "b.txt").write_text("*** STEW\nLet it stand a day.", encoding="utf-8")
    (toy / "c.card").write_text("EMPTY\n", encoding="utf-8")
    found = read(toy)
    assert [(d.title, d.text, d.extraction) for d in found.documents] == [
        ("Soup", "Boil the leeks until they give in.", "card"),
        ("Stew", "Let it stand a day.", "card"),
    ]
    assert [(f.source, f.reason) for f in found.failures] == [("c.card", "the card says nothing")]


def test_a_kind_that_was_named_as_not_read_yet_is_read_once_a_reader_claims_its_name(toy: Path) -> None:
    (toy / "a.doc").write_text("SOUP\nBoil the leeks.", encoding="utf-8")
    assert [d.text for d in read(toy).documents] == ["Boil the leeks."]


def test_without_the_file_nothing_of_the_toy_is_left(tmp_path: Path) -> None:
    (tmp_path / "a.doc").write_text("SOUP\nBoil the leeks.", encoding="utf-8")
    with pytest.raises(SourceError, match="Word files of the old kind are not read yet"):
        read(tmp_path)


def test_every_reader_has_a_kind_of_its_own_and_no_name_is_claimed_twice() -> None:
    every = readers.all_readers()
    kinds = (
        "asciidoc clippings djot docx epub latex mail notebook odt org pandoc pdf rst rtf subtitles table textile transcript"
    )
    assert [reader.kind for reader in every] == kinds.split()
    claimed = [name for reader in every for name in (*reader.suffixes, *reader.promises)]
    assert len(set(claimed)) == len(claimed)


def nothing(data: bytes, *, name: str) -> Reading:
    return Reading()


def test_a_reader_that_recognises_nothing_or_reads_nothing_is_refused_when_it_is_made() -> None:
    with pytest.raises(AssertionError, match="recognises no file"):
        Reader(kind="toy", read=nothing)
    with pytest.raises(AssertionError, match="one of read, read_voices, read_text and read_chat"):
        Reader(kind="toy", suffixes=frozenset([".toy"]))
