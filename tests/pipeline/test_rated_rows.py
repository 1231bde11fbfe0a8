"""Labelled rows and rankings: read, kept out of what learns good answers alone, and built into datasets of rated answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest

from fakes import Told, example, preferences
from tunesmith.core.artifacts import Artifact
from tunesmith.core.errors import BlockedError, DatasetError
from tunesmith.core.labelled import Labelled, labelled_of
from tunesmith.core.records import write_jsonl
from tunesmith.core.reporter import SilentReporter
from tunesmith.data.dataset.labelled import build_labelled
from tunesmith.data.ingest.extract import Tally, extracted
from tunesmith.data.ingest.gather import gather
from tunesmith.pipeline.finished import dataset_rows
from tunesmith.pipeline.rated_rows import SourceRows, labelled_built, pairs_of_rated
from tunesmith.pipeline.recipe import Recipe

KTO = Recipe.model_validate({"sources": ["x"], "objective": {"kind": "kto"}})


def read(folder: Path, *rows: dict[str, Any]) -> list[Any]:
    (folder / "rows.jsonl").write_bytes(b"\n".join(map(orjson.dumps, rows)))
    return list(extracted(gather([str(folder)]), tally=Tally(), reporter=SilentReporter()))


def labelled(number: int, *, label: bool, answer: str = "") -> Labelled:
    return labelled_of(preferences(number + 1)[number])[0 if label else 1]


def test_labelled_rows_keep_prompt_answer_and_label_and_answers_to_one_prompt_stay_together(tmp_path: Path) -> None:
    good, bad, other = read(
        tmp_path,
        {"prompt": "Why?", "completion": "So.", "label": True},
        {
            "prompt": [{"role": "user", "content": "Why?"}],
            "completion": [{"role": "assistant", "content": "No."}],
            "label": False,
        },
        {"prompt": "When?", "completion": "Now.", "label": 1 == 1},
    )
    assert [(row.prompt[0].content, row.completion, row.label) for row in (good, bad)] == [
        ("Why?", "So.", True),
        ("Why?", "No.", False),
    ]
    assert good.group == bad.group != other.group and len({good.id, bad.id, other.id}) == 3


def test_a_ranking_is_a_preference_for_every_two_answers_and_ties_teach_nothing(tmp_path: Path) -> None:
    made = read(tmp_path, {"prompt": "Why?", "answers": ["fair", "best", "also fair"], "scores": [1, 4, 1], "id": "r"})
    assert {(row.chosen, row.rejected, row.meta["score_gap"]) for row in made} == {
        ("best", "fair", "3"),
        ("best", "also fair", "3"),
    }
    assert len({row.id for row in made}) == 2 and {row.group for row in made} == {"r"}
    ordered = read(tmp_path, {"prompt": "Why?", "answers": ["a", "b", "c"]})
    assert [(row.chosen, row.rejected) for row in ordered] == [("a", "b"), ("a", "c"), ("b", "c")]


def test_a_ranking_in_which_all_are_tied_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="none of the sources") as caught:
        read(tmp_path, {"prompt": "Why?", "answers": ["a", "b"], "scores": [2, 2]})
    assert "same rank" in caught.value.problems[0].expected


def test_preferences_become_labelled_rows_and_near_copies_of_a_prompt_with_other_labels_stay() -> None:
    rows = SourceRows([], [], preferences(3), [labelled(5, label=True), labelled(5, label=False)])
    built, copies = labelled_built(rows, KTO, reporter=SilentReporter())
    assert len(built.examples) == 8 and copies == 0
    assert sum(row.label for row in built.examples) == 4


def test_a_bad_answer_is_never_learned_as_a_good_one() -> None:
    told = Told()
    rows = SourceRows([], [example("a", "b", id="e")], [], [labelled(0, label=True), labelled(1, label=False)])
    assert [one.answer for one in pairs_of_rated(rows, reporter=told)] == [labelled(0, label=True).completion]
    assert any("marked as bad are left aside" in text for text in told.warnings)
    with pytest.raises(DatasetError, match="marked as bad") as caught:
        pairs_of_rated(SourceRows([], [], [], [labelled(1, label=False)]), reporter=told)
    assert "objective.kind=kto" in caught.value.problems[0].hint


def test_labels_that_teach_nothing_stop_the_build() -> None:
    good = labelled(0, label=True)
    both = [
        good,
        Labelled(
            **{n: getattr(good, n) for n in ("prompt", "completion", "document_id", "group", "source")}, id="o", label=False
        ),
    ]
    with pytest.raises(BlockedError, match="good and as bad"):
        build_labelled(both, system_prompt="")
    with pytest.raises(DatasetError, match="same label"):
        build_labelled([good, labelled(1, label=True)], system_prompt="")
    with pytest.raises(DatasetError, match="learns from labelled rows") as caught:
        labelled_built(SourceRows([], [example("a", "b", id="e")], [], []), KTO, reporter=SilentReporter())
    assert "1 pairs" in str(caught.value.problems[0].value)


@pytest.mark.parametrize(
    ("kind", "rows"),
    [("Preference", preferences(1)), ("Labelled", [labelled(0, label=True), labelled(1, label=False)])],
)
def test_the_rows_of_a_dataset_are_read_with_their_right_answers_whatever_their_kind(
    kind: str, rows: list[Any], tmp_path: Path
) -> None:
    write_jsonl(tmp_path / "test.jsonl", rows)
    dataset = Artifact(tmp_path, {"settings": {"record": kind}})
    assert [one.answer for one in dataset_rows(dataset, "test")] == [rows[0].answer]
