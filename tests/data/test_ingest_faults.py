"""Files that break a reader in ways nobody foresaw are named with the reason, and the rest of the batch goes on."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest
from shared_material import ingest

from tunesmith.core.records import Document, Failure
from tunesmith.core.reporter import SilentReporter
from tunesmith.data.ingest import read_item as extracting
from tunesmith.data.ingest.extract import Tally, extracted
from tunesmith.data.ingest.gather import gather
from tunesmith.data.ingest.item import Reading
from tunesmith.data.ingest.markdown import read_markdown
from tunesmith.data.ingest.metadata import author_name
from tunesmith.data.ingest.readers.mail import read_mail
from tunesmith.data.ingest.rows import read_rows
from tunesmith.data.text.decode import UnreadableError

LAUGHS = "\n".join([f"a0: &a0 [{'x, ' * 9}x]", *(f"a{n}: &a{n} [{f'*a{n - 1}, ' * 9}x]" for n in range(1, 9)), "author: *a8"])


def post(front: str) -> str:
    return f"---\n{front}\n---\nGood words, after all."


def batch(folder: Path, workers: int) -> tuple[list[str], list[Failure]]:
    tally = Tally()
    records = list(extracted(gather([str(folder)]), tally=tally, reporter=SilentReporter(), workers=workers))
    return [record.text for record in records if isinstance(record, Document)], tally.failures


@pytest.mark.parametrize(
    ("front", "reason"),
    [
        ("a: " + "[" * 50_000, "nested deeper than 50"),
        ("a:\n" + "\n".join(" " * n + "-" for n in range(60)), "nested deeper than 50"),
        (LAUGHS, "more than 20 aliases"),
    ],
)
def test_front_matter_that_would_break_the_parser_is_refused_by_name(front: str, reason: str) -> None:
    with pytest.raises(UnreadableError, match=reason):
        read_markdown(post(front), name="a.md")


@pytest.mark.parametrize("front", ["author: &a\n- *a", "title: 0x" + "f" * 5000, "? 0x" + "f" * 5000 + "\n: b"])
def test_front_matter_that_says_nothing_usable_leaves_its_post_readable(front: str) -> None:
    (document,) = read_markdown(post(front), name="a.md").documents
    assert document.text == "Good words, after all." and document.author is None


def test_a_few_aliases_in_front_matter_are_believed() -> None:
    (document,) = read_markdown(post("me: &me Ada\nauthors: [*me, Tom]"), name="a.md").documents
    assert document.author == "Ada, Tom"


def test_names_are_followed_ten_lists_deep_and_no_further() -> None:
    nested: object = "Ada"
    for _ in range(990):
        nested = [nested]
    assert author_name(nested) is None and author_name([[["Ada"]], {"name": ["Tom"]}]) == "Ada, Tom"


def test_a_mail_with_an_absurd_time_zone_is_read_without_its_date() -> None:
    head = "Date: Mon, 1 Jan 2020 00:00:00 +99999999999999999999\nSubject: Rain"
    (document,) = read_mail(f"{head}\n\nIt rained all morning here.".encode(), name="a.eml").documents
    assert document.date is None and document.title == "Rain"


def test_a_row_nested_too_deeply_is_named_and_the_other_rows_are_read() -> None:
    deep = b'{"messages": ' + b'{"messages": ' * 900 + b'[{"role": "user", "content": "x"}]' + b"}" * 901
    reading = read_rows(deep + b'\n{"text": "It rained."}\n', name="a.jsonl")
    assert [document.text for document in reading.documents] == ["It rained."]
    assert len(reading.failures) == 1 and reading.failures[0].reason.startswith("line 1: ")


def test_an_author_nested_deeply_costs_a_row_its_author_alone() -> None:
    row = b'{"text": "It rained.", "author": ' + b"[" * 990 + b"]" * 990 + b"}\n"
    assert read_rows(row + orjson.dumps({"text": "Dry."}), name="a.jsonl").documents[0].author is None


def test_an_error_that_no_reader_foresaw_becomes_the_reason_of_its_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(text: str, *, name: str) -> Reading:
        raise ZeroDivisionError("by\nnothing")

    monkeypatch.setattr(extracting, "_OF_TEXT", {"text": fails})
    (tmp_path / "a.txt").write_text("It rained all morning.")
    (tmp_path / "b.md").write_text("It was dry.")
    found = ingest(tmp_path)
    assert [document.text for document in found.documents] == ["It was dry."]
    assert [failure.reason for failure in found.failures] == ["its reader failed (ZeroDivisionError: by nothing)"]


def test_hostile_files_end_the_same_way_with_one_reader_and_with_two(tmp_path: Path) -> None:
    fronts = ("a: " + "[" * 50_000, "author: &a\n- *a", "title: 0x" + "f" * 5000, LAUGHS, "title: Rain")
    for number, front in enumerate(fronts):
        (tmp_path / f"{number}.md").write_text(post(front) + f" {number}")
    alone = batch(tmp_path, 1)
    assert alone == batch(tmp_path, 2) and [text[-1] for text in alone[0]] == ["1", "2", "4"]
