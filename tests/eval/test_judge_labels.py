"""Labels that are there twice, lack a place, or stand on the other side mean what people said, or the judge may not gate."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest
from arena_made import cast_all, made_arena
from judged_pairs import labelled_rows, planted, write_rows

from tunesmith.api.judges import calibrate_judge
from tunesmith.eval.arena.exports import exported
from tunesmith.eval.judge.files import as_rows, labelled_with
from tunesmith.eval.judge.rows import JudgedPair, read_pairs

PAIR = JudgedPair(id="1", prompt="Why?", a="Because.\n", b="So.")


def labels(folder: Path, *rows: dict[str, Any]) -> Path:
    same = {"prompt": "Why?", "a": "Because.", "b": "So."}
    return write_rows(folder / "labels.jsonl", [{"id": n, **same, **row} for n, row in enumerate(rows)])


def test_a_space_at_the_end_of_an_answer_turns_no_label_round(tmp_path: Path) -> None:
    (found,), others = labelled_with([PAIR], labels(tmp_path, {"human": "A"}))
    assert found.human == "A" and not others
    (found,), _ = labelled_with([PAIR], labels(tmp_path, {"a": "So. ", "b": "Because.", "human": "A"}))
    assert found.human == "B"


def test_two_labels_of_one_pair_are_those_of_two_people(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [{"human": "A"}, {"human": "A"}, {"a": "So.", "b": "Because.", "human": "A"}]
    (found,), _ = labelled_with([PAIR], labels(tmp_path, *rows))
    assert found.human == "A" and found.annotators == ("A", "A", "B")
    (found,), _ = labelled_with([PAIR], labels(tmp_path, {"annotators": ["B", None]}, {"human": "A"}))
    assert found.human == "tie" and found.annotators == ("B", None, "A")


def test_an_annotator_without_a_label_keeps_the_place_and_rows_come_back_as_they_were(tmp_path: Path) -> None:
    rows = [{"annotators": ["A", None, "B"]}, {"annotators": [None, "B", "B"]}]
    pairs = read_pairs(labels(tmp_path, *rows, {"human": "A", "annotators": ["B", "B"]}))
    assert [pair.annotators for pair in pairs] == [("A", None, "B"), (None, "B", "B"), ("B", "B")]
    assert [pair.human for pair in pairs] == ["tie", "B", "A"]
    assert read_pairs(write_rows(tmp_path / "again.jsonl", as_rows(pairs))) == pairs


def test_the_ceiling_compares_the_same_two_people_in_all_rows(tmp_path: Path) -> None:
    """The first and the third always agree, the second never does."""
    other = {"A": "B", "B": "A", "tie": "A"}
    rows = labelled_rows(60, annotators=1)
    for number, row in enumerate(rows):
        (said,) = row["annotators"]
        row["annotators"] = [said, None if number % 2 else other[said], said]
    found = calibrate_judge(write_rows(tmp_path / "rows.jsonl", rows, planted("good"))).as_dict()["ceiling"]
    for row in rows:
        row["annotators"] = row["annotators"][::2]
    assert calibrate_judge(write_rows(tmp_path / "two.jsonl", rows, planted("good"))).as_dict()["ceiling"]["value"] == 1.0
    assert found["n"] == 60 and found["value"] < 0.1  # the mean of 1 and twice less than 0


def test_voters_of_an_arena_have_one_place_each_whoever_votes_first(tmp_path: Path) -> None:
    arena = made_arena(tmp_path)
    cast_all(arena, "anna", prefer="tuned", most=4)
    cast_all(arena, "bob", prefer="base")
    cast_all(arena, "anna", prefer="tuned")
    rows = exported(arena, "labels", is_golden=lambda pair: False).rows
    for row in rows:
        of = {"A": row["system_a"], "B": row["system_b"]}
        assert [of[one] for one in row["annotators"]] == ["tuned", "base"]


@pytest.mark.parametrize("prompts", [["Why? "], [""], ["Why?", "why?", "  Why?"]])
def test_copies_of_a_prompt_are_one_prompt(tmp_path: Path, prompts: list[str]) -> None:
    rows = [dict(row, prompt=prompts[n % len(prompts)] + " " * n) for n, row in enumerate(labelled_rows(60))]
    found = calibrate_judge(write_rows(tmp_path / "rows.jsonl", rows, planted("good"))).as_dict()
    assert found["prompts"] == 1 and not found["may_gate"] and "1 independent prompt is too few" in found["why"]


def test_a_pair_without_a_label_lacks_its_swapped_verdict_as_well(tmp_path: Path) -> None:
    file = write_rows(tmp_path / "rows.jsonl", labelled_rows(200), planted("good"))
    assert calibrate_judge(file).may_gate
    more = {"id": "new", "prompt": "Another?", "a": "x", "b": "y", "judge": "A"}
    file.write_bytes(file.read_bytes() + orjson.dumps(more))
    found = calibrate_judge(file)
    assert not found.may_gate and "1 pair has no verdict in the swapped order" in found.why
