"""The kept index: what was added is recalled, in any script and when reopened; what is forgotten is gone; a kill is safe."""

from __future__ import annotations

import threading
from datetime import date
from pathlib import Path

import pytest

from tunesmith.core.disk import DISK
from tunesmith.core.errors import ArtifactError, DatasetError, StorageError
from tunesmith.data.similar.passage_index import Passage, PassageIndex

SPRING, SUMMER, AUTUMN = date(2026, 4, 1), date(2026, 7, 1), date(2026, 10, 1)
TEXTS = [
    "A kettle boils water for tea.",
    "The ladder stood behind the barn.",
    "雨が庭に降った。\u2028だった。",
    "Ein Kessel voll Naß\n\n😀",
]


def recalled(index: PassageIndex, query: str, most: int = 3) -> list[str]:
    return [found.passage.text for found in index.recall(query, most)]


def test_what_was_added_is_recalled_best_first_and_after_reopening(tmp_path: Path) -> None:
    index = PassageIndex(tmp_path / "index")
    assert index.add([*TEXTS, "A kettle and a ladder."]) == 5
    for again in (index, PassageIndex(tmp_path / "index")):
        assert recalled(again, "Is the ladder behind the barn?") == [TEXTS[1], "A kettle and a ladder."]
        assert recalled(again, "kettle", 1) == ["A kettle and a ladder."]
        assert recalled(again, "庭") == [TEXTS[2]] and recalled(again, "naß") == [TEXTS[3]]
        assert [passage.text for passage in again.passages] == [*TEXTS, "A kettle and a ladder."]


@pytest.mark.parametrize("query", ["", " \n", "zeppelin", "the"])
def test_a_query_that_shares_nothing_recalls_nothing(tmp_path: Path, query: str) -> None:
    index = PassageIndex(tmp_path / "index")
    assert recalled(index, query) == []
    index.add(TEXTS)
    assert recalled(index, query) == []


def test_a_passage_added_again_is_kept_once_and_counts_as_added_that_day(tmp_path: Path) -> None:
    index = PassageIndex(tmp_path / "index")
    index.add(TEXTS[:2], today=SPRING)
    assert index.add([Passage(text=TEXTS[0], source="kettle.md"), "  "], today=AUTUMN) == 0
    assert [(one.text, one.source, one.added) for one in index.passages] == [
        (TEXTS[1], "", "2026-04-01"),
        (TEXTS[0], "kettle.md", "2026-10-01"),
    ]


def test_old_passages_are_forgotten_by_the_day_they_were_added(tmp_path: Path) -> None:
    index = PassageIndex(tmp_path / "index")
    for text, day in zip(TEXTS, (SPRING, SUMMER, SUMMER, AUTUMN), strict=True):
        index.add([text], today=day)
    assert [one.text for one in index.forget_added_before(SUMMER)] == [TEXTS[0]]
    assert recalled(index, "kettle") == [] and len(PassageIndex(tmp_path / "index").passages) == 3
    assert index.forget_added_before(SUMMER) == []


def test_the_passages_that_no_question_needs_are_forgotten(tmp_path: Path) -> None:
    index = PassageIndex(tmp_path / "index")
    index.add(TEXTS)
    gone = index.forget_all_but(2, queries=["ladder", "庭"])
    assert [one.text for one in gone] == [TEXTS[0], TEXTS[3]]
    assert [one.text for one in index.passages] == [TEXTS[1], TEXTS[2]]
    assert [one.text for one in index.forget_all_but(1, queries=["zeppelin"])] == [TEXTS[1]]  # the one added last stays
    with pytest.raises(DatasetError, match="relevant"):
        index.forget_all_but(1, queries=["", "  "])


def test_forgetting_before_anything_was_added_makes_no_folder(tmp_path: Path) -> None:
    index = PassageIndex(tmp_path / "index")
    assert index.forget_added_before(AUTUMN) == [] == index.forget_all_but(0, queries=["x"])
    assert index.add(["", "\n"]) == 0 and not (tmp_path / "index").exists()


def test_a_kill_between_writing_and_renaming_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    index = PassageIndex(tmp_path / "index")
    index.add(TEXTS[:1])

    class Killed(BaseException):
        pass

    def die(old: Path, new: Path) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(DISK, "rename", die)
        with pytest.raises(Killed):
            index.add(TEXTS[1:])
    (tmp_path / "index" / ".tmp-passages.jsonl-999999999-abcdefgh").write_text("half a li")  # as a real kill leaves it
    again = PassageIndex(tmp_path / "index")
    assert [one.text for one in again.passages] == TEXTS[:1]
    assert again.add(TEXTS[1:]) == 3 and not list((tmp_path / "index").glob(".tmp-*"))


def test_two_writers_lose_nothing_of_each_other(tmp_path: Path) -> None:
    def write(number: int) -> None:
        index = PassageIndex(tmp_path / "index")
        for turn in range(5):
            index.add([f"writer {number} turn {turn}"])

    threads = [threading.Thread(target=write, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(PassageIndex(tmp_path / "index").passages) == 15


def test_a_damaged_line_and_a_folder_that_cannot_be_made_are_named(tmp_path: Path) -> None:
    index = PassageIndex(tmp_path / "index")
    index.add(TEXTS)
    with (tmp_path / "index" / "passages.jsonl").open("ab") as file:
        file.write(b"{half\n")
    with pytest.raises(ArtifactError, match="line 5"):
        PassageIndex(tmp_path / "index")
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(StorageError, match="a part of this path is a file"):
        PassageIndex(tmp_path / "file" / "index").add(TEXTS)
