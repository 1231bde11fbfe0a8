"""Preference rows go where other rows go (read, built, split, mixed, searched for leaks), and what is wrong is named."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fakes import example, preferences
from tunesmith.core.errors import BlockedError, DatasetError
from tunesmith.core.records import Preference, as_example, from_dict, to_json
from tunesmith.core.reporter import SilentReporter
from tunesmith.data.dataset.leaks import find_leaks, without_copies
from tunesmith.data.dataset.lines import read_rows_as_examples
from tunesmith.data.dataset.mix import general_rows, mix
from tunesmith.data.dataset.preferences import build_preferences
from tunesmith.data.dataset.split import split
from tunesmith.data.ingest.extract import extract, write_extracted
from tunesmith.data.ingest.gather import gather
from tunesmith.data.similar.records import find_rewordings, without_near_copies

LONG = "The harbour was quiet in the morning and the boats lay side by side until the wind came up from the west again"


def written(folder: Path, *rows: dict[str, Any]) -> Path:
    file = folder / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def test_preferences_are_read_beside_examples_with_all_that_a_row_tells(tmp_path: Path) -> None:
    row = {
        "id": "a",
        "prompt": "Why?",
        "chosen": "So.",
        "rejected": "No idea.",
        "author": "Ann",
        "group": "g",
        "license": "CC0",
    }
    said = [{"role": "user", "content": "Why?"}]
    chat = {
        "prompt": said,
        "chosen": [{"role": "assistant", "content": "A."}],
        "rejected": [{"role": "assistant", "content": "B."}],
    }
    file = written(tmp_path, row, chat, {"prompt": "Who?", "completion": "Me."})
    found = extract(gather([str(file)]), reporter=SilentReporter())
    first, second = found.preferences
    assert (first.id, first.group, first.license, first.meta["author"]) == ("a", "g", "CC0", "Ann")
    assert first.answers == ("So.", "No idea.") and second.answers == ("A.", "B.") and len(found.pairs) == 1
    numbers = write_extracted(gather([str(file)]), tmp_path, reporter=SilentReporter())
    lines = (tmp_path / "preferences.jsonl").read_bytes().splitlines()
    assert numbers["preferences"] == 2 and [from_dict(Preference, json.loads(line)) for line in lines] == [first, second]


def test_two_preferences_that_differ_in_the_rejected_answer_alone_have_ids_of_their_own(tmp_path: Path) -> None:
    rows = [{"id": "a", "prompt": "Why?", "chosen": "So.", "rejected": text} for text in ("No.", "Never.")]
    found = extract(gather([str(written(tmp_path, *rows))]), reporter=SilentReporter())
    assert [row.id for row in found.preferences] == ["a", "a#2"]


def test_preferences_with_different_prompts_are_named_and_nothing_else_is_an_error(tmp_path: Path) -> None:
    def turns(question: str, answer: str) -> list[dict[str, str]]:
        return [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]

    bad = {"chosen": turns("One?", "A."), "rejected": turns("Two?", "B.")}
    with pytest.raises(DatasetError, match="none of the sources could be used") as caught:
        extract(gather([str(written(tmp_path, bad))]), reporter=SilentReporter())
    assert "must differ in one answer" in caught.value.problems[0].expected and caught.value.problems[0].hint
    good = {"chosen": turns("One?", "A."), "rejected": turns("One?", "B.")}
    found = extract(gather([str(written(tmp_path, good, bad))]), reporter=SilentReporter())
    assert len(found.preferences) == 1 and "line 2" in found.failures[0].reason


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"rejected": " "}, "empty_answers"),
        ({"chosen": ""}, "empty_answers"),
        ({"rejected": "Same.", "chosen": "Same. "}, "same_answers"),
    ],
)
def test_a_row_in_which_nothing_is_preferred_blocks_until_it_is_allowed_by_name(change: dict[str, Any], name: str) -> None:
    rows = preferences(6)
    rows[2] = replace(rows[2], **change)
    with pytest.raises(BlockedError) as caught:
        build_preferences(rows, system_prompt="")
    (problem,) = caught.value.problems
    assert caught.value.name == name and "1 of 6, first p002" in str(problem.value)
    assert problem.expected and f"--allow {name}" in problem.hint
    built = build_preferences(rows, system_prompt="", allow=[name])
    assert len(built.examples) == 5 and sum(built.dropped.values()) == 1


def test_sound_preferences_are_built_once_each_under_the_system_prompt() -> None:
    rows = preferences(4)
    built = build_preferences([*rows, rows[0]], system_prompt="Be brief.")
    assert [row.prompt[0].content for row in built.examples] == ["Be brief."] * 4
    assert built.dropped == {"exact copy of another preference": 1}


def test_preferences_are_split_mixed_and_deduplicated_like_examples() -> None:
    rows = preferences(60)
    parts = split(rows, by="document", val=0.2, test=0.2, seed=7).parts
    plain = split([as_example(row) for row in rows], by="document", val=0.2, test=0.2, seed=7).parts
    assert {name: [row.id for row in part] for name, part in parts.items()} == {
        name: [row.id for row in part] for name, part in plain.items()
    }
    train = parts["train"]
    twice = mix(train, (), weights={"made.md": 2}, max_source=1, share=0.2)
    assert len(twice.rows) == 2 * len(train) and all(isinstance(row, Preference) for row in twice.rows)
    assert len(general_rows(rows, num_own=10, share=0.5)) == 10
    copy = replace(rows[0], id="again", chosen=LONG, rejected="No.")
    twin = replace(copy, id="twin", rejected="No.")
    assert [row.id for row in without_near_copies([copy, twin], 0.8)] == ["again"]


@pytest.mark.parametrize(("side", "other"), [("chosen", "chosen"), ("rejected", "rejected"), ("rejected", "chosen")])
def test_an_answer_that_stands_in_another_split_is_a_leak_whichever_side_it_is_on(side: str, other: str) -> None:
    train, test = preferences(2)
    here: dict[str, Any] = {side: LONG}
    there: dict[str, Any] = {other: LONG}
    parts = {"train": [replace(train, **here)], "test": [replace(test, **there)]}
    assert [finding.name for finding in find_leaks(parts) if finding.severity == "error"] == ["exact_copies"]
    kept, removed = without_copies(parts)
    assert removed == {"exact_copies": 1} and not kept["train"] and len(kept["test"]) == 1


def test_preferences_and_golden_examples_are_compared() -> None:
    (row,) = preferences(1)
    golden = example("Another question?", LONG, id="g")
    found = find_leaks({"train": [replace(row, rejected=LONG)], "golden": [golden]})
    assert any(finding.name == "exact_copies" for finding in found)
    assert find_rewordings({"train": [replace(row, chosen=LONG)], "golden": [golden]})


def test_a_file_of_preferences_can_be_split_row_by_row(tmp_path: Path) -> None:
    rows = [json.loads(to_json(row)) for row in preferences(3)]
    lines = read_rows_as_examples(written(tmp_path, *rows))
    assert [row.id for row in lines.examples] == ["p000", "p001", "p002"] and not lines.failed


def test_the_reference_of_a_preference_is_its_chosen_answer() -> None:
    row = replace(preferences(1)[0], title="A title", meta={"author": "Ann"})
    made = as_example(row)
    assert made.answer == row.chosen and made.messages == row.messages and as_example(made) is made
    assert (made.id, made.title, made.meta) == (row.id, "A title", {"author": "Ann"})


def test_rows_preferred_both_ways_say_nothing_and_are_left_out_whatever_their_order() -> None:
    rows = preferences(4)
    swapped = replace(rows[1], id="turned", chosen=rows[1].rejected, rejected=rows[1].chosen)
    for given in ([*rows, swapped], [swapped, *rows]):
        built = build_preferences(given, system_prompt="")
        assert {row.id for row in built.examples} == {"p000", "p002", "p003"}
        assert built.dropped == {"preferred both ways": 2}


@pytest.mark.parametrize(("scores", "used"), [((5, 2), True), ((3, 3), False), ((2, 5), False), (("good", 2), True)])
def test_a_row_whose_own_scores_do_not_prefer_its_chosen_answer_is_left_out_by_name(
    scores: tuple[Any, Any], used: bool, tmp_path: Path
) -> None:
    row = {"prompt": "Why?", "chosen": "So.", "rejected": "No.", "score_chosen": scores[0], "score_rejected": scores[1]}
    sound = {"prompt": "When?", "chosen": "Now.", "rejected": "Never."}
    found = extract(gather([str(written(tmp_path, sound, row))]), reporter=SilentReporter())
    assert len(found.preferences) == 1 + used
    assert used or "scores do not prefer" in found.failures[0].reason
