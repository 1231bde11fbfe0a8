"""Large files come in pieces, many files through several processes; what comes out is the same as in one of each."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest

from tunesmith.core.errors import SourceError
from tunesmith.core.reporter import SilentReporter
from tunesmith.data.ingest import gather as gather_module
from tunesmith.data.ingest import parallel, worker
from tunesmith.data.ingest import rows as rows_module
from tunesmith.data.ingest.extract import Tally, extract, extracted, write_extracted
from tunesmith.data.ingest.gather import gather
from tunesmith.data.ingest.item import Reading
from tunesmith.data.ingest.lines import is_lines
from tunesmith.data.ingest.policy import Policy
from tunesmith.data.rows import raw
from tunesmith.data.text.decode import UnreadableError

ROWS = [
    {"text": "It rained.", "title": "Rain"},
    {"prompt": "How was it?", "completion": "Wet."},
    {"text": "It rained."},
    {"nothing": 1},
    {"text": "Größe \u2028 and more", "license": "CC0"},
]


def write_rows(path: Path, rows: list[object], *, head: bytes = b"") -> Path:
    path.write_bytes(head + b"\n".join(orjson.dumps(row) for row in rows) + b"\nno json\n")
    return path


@pytest.mark.parametrize("head", [b"", b"\xef\xbb\xbf", b"\n\n"])
def test_json_lines_in_pieces_give_what_they_give_in_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, head: bytes) -> None:
    path = write_rows(tmp_path / "rows.jsonl", ROWS * 9, head=head)
    whole = extract(gather([str(path)]), reporter=SilentReporter())
    monkeypatch.setattr(gather_module, "_LARGE_BYTES", 10)
    monkeypatch.setattr(rows_module, "_PIECE", 4)
    gathered = gather([str(path)])
    assert gathered.items[0].kind == "lines"
    assert extract(gathered, reporter=SilentReporter()) == whole
    assert len(whole.failures) == 10 and "line " in whole.failures[0].reason


def test_only_a_file_of_whole_objects_a_line_is_one_of_json_lines() -> None:
    assert is_lines(b'{"a": 1}\n{"b": 2}\n') and is_lines(b'\xef\xbb\xbf{"a": 1}\n\n{"b')
    for head in (b'[{"a": 1},\n{"b": 2}]', b'{"a":\n1}', b'{"a": 1}', b"words\nmore", b'{"a": 1}\nwords', b""):
        assert not is_lines(head)


def test_a_giant_line_is_named_and_the_rest_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'{"text": "first"}\n{"text": "' + b"x" * 5000 + b'"}\n{"text": "last"}\n')
    monkeypatch.setattr(gather_module, "_LARGE_BYTES", 10)
    monkeypatch.setattr(raw, "_MAX_LINE_BYTES", 1000)
    found = extract(gather([str(path)]), reporter=SilentReporter())
    assert [document.text for document in found.documents] == ["first", "last"]
    assert [failure.reason for failure in found.failures] == ["line 2: it is longer than 20 MB"]


def test_lines_that_change_while_they_are_read_stop_the_ingest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_rows(tmp_path / "rows.jsonl", list(ROWS))
    monkeypatch.setattr(gather_module, "_LARGE_BYTES", 10)
    gathered = gather([str(path)])
    write_rows(path, ROWS[:2])
    with pytest.raises(SourceError, match="changed while it was being read"):
        extract(gathered, reporter=SilentReporter())


def test_memory_does_not_grow_with_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gather_module, "_LARGE_BYTES", 10)
    peaks = []
    for count in (4_000, 16_000):
        path = write_rows(tmp_path / f"{count}.jsonl", [{"text": f"number {n} " + "words " * 100} for n in range(count)])
        gathered = gather([str(path)])
        gc.collect()
        tracemalloc.start()
        assert write_extracted(gathered, tmp_path, reporter=SilentReporter())["documents"] == count
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + 12_000 * 300, "more than a mark a document is kept"


# --- several processes ------------------------------------------------------------------------------------------------


def posts(folder: Path, count: int) -> Path:
    folder.mkdir()
    for number in range(count):
        (folder / f"{number:03d}.md").write_text(
            "" if number % 7 == 3 else f"---\ntitle: {number}\n---\nIt rained {number // 2} h."
        )
    return folder


def test_several_readers_give_the_records_of_one_in_the_same_order(tmp_path: Path) -> None:
    gathered = gather([str(posts(tmp_path / "posts", 50))])
    alone, many = Tally(), Tally()
    one = list(extracted(gathered, tally=alone, reporter=SilentReporter()))
    assert list(extracted(gathered, tally=many, reporter=SilentReporter(), workers=3)) == one
    assert many == alone and len(alone.failures) == 7 and alone.notes


def test_a_file_at_which_a_reader_dies_is_named_and_the_rest_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The planted fault: the first reader ends at its third question, whatever it is."""
    real = parallel._start
    commands: Iterator[str] = iter(["import sys; [sys.stdin.readline() for _ in range(3)]"])

    def start() -> object:
        import subprocess
        import sys

        if (code := next(commands, None)) is None:
            return real()
        return subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    monkeypatch.setattr(parallel, "_start", start)
    items = [item for item in gather([str(posts(tmp_path / "posts", 40))]).items if int(item.name[:3]) % 7 != 3]
    found = list(parallel.read_in_order(items, policy=Policy(), workers=2))
    assert [item.name for item, _ in found] == [item.name for item in items]
    died = [item.name for item, reading in found if isinstance(reading, UnreadableError)]
    assert died == [items[0].name] and str(found[0][1]) == "the reader stopped at it"


def test_a_reading_survives_its_way_between_processes() -> None:
    import os

    from tunesmith.core.records import Failure, to_json

    read, write = os.pipe()
    question = {
        "item": {"name": "x.md", "source": "x.md", "kind": "markdown", "sha256": "0", "path": "nowhere.md"},
        "policy": {},
    }
    with os.fdopen(read, "rb") as answers:
        worker.serve([orjson.dumps(question)], write)  # type: ignore[arg-type]
        os.close(write)
        found = worker.reading_of(answers.read())
    assert isinstance(found, UnreadableError) and "cannot be opened" in str(found)
    reading = Reading(failures=(Failure(source="a", reason="b"),), notes={"c": 1})
    assert worker.reading_of(to_json(reading)) == reading
