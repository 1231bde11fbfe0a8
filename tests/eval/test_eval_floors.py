"""Promises of the floors and of specificity: what trivial answers get, and that they owe nothing to the question."""

from __future__ import annotations

import numpy as np
import pytest

from tunesmith.eval.floors import FLOORS, constant_answers, floor_answers, frequent_words, nearest_answers, random_references
from tunesmith.eval.metrics.text import rouge_l, word_overlap
from tunesmith.eval.specificity import specificity

NOUNS = ("kettle", "hinge", "drawer", "clock", "glue", "torch", "knife", "window", "radio", "chair", "umbrella", "tap")
REFERENCES = [f"I mend the {noun} with a {noun} tool, slowly, and number {n} is done." for noun in NOUNS for n in range(3)]
GROUPS = [noun for noun in NOUNS for _ in range(3)]
QUESTIONS = [f"How do you mend the {noun}?" for noun in GROUPS]


def test_a_random_reference_is_always_of_another_document() -> None:
    found = random_references(REFERENCES, GROUPS, seed=3)
    assert found == random_references(REFERENCES, GROUPS, seed=3)
    assert all(answer is not None and group not in answer for answer, group in zip(found, GROUPS, strict=True))
    assert random_references(["a", "b"], ["x", "x"]) == [None, None]


def test_the_constant_answer_is_the_most_frequent_one_where_answers_repeat() -> None:
    labels = ["yes", "no", "yes", "yes", "maybe"]
    assert constant_answers(labels, list("abcde"), ["x", "y"]) == ["yes", "yes"]


def test_the_constant_answer_is_else_the_most_typical_one_and_never_the_item_s_own() -> None:
    answers = ["the cat sat on the mat", "the cat sat there", "the cat sat on a mat", "zebra"]
    assert constant_answers(answers, list("abcd"), ["x"]) == ["the cat sat on the mat"]
    own = constant_answers(answers, list("abcd"), list("abcd"))
    assert own[0] == "the cat sat on a mat" and own[1:] == ["the cat sat on the mat"] * 3
    assert constant_answers(["", " "], ["a", "b"], ["a"]) == [None]


def test_the_bag_holds_the_most_frequent_words_in_the_size_that_overlaps_best() -> None:
    bag = frequent_words(REFERENCES, GROUPS, ["elsewhere"])[0]
    assert bag is not None
    assert set(bag.split()) == {"i", "mend", "the", "with", "a", "tool", "slowly", "and", "number", "is", "done"}
    assert frequent_words([], [], ["x"]) == [None]


def test_words_that_only_the_item_s_own_document_has_are_not_in_its_bag() -> None:
    answers = ["alpha beta"] * 6 + ["gamma delta"]
    bags = frequent_words(answers, ["own"] * 6 + ["other"], ["own", "other"])
    assert bags[0] == "delta gamma" and bags[1] is not None and "alpha" in bags[1]


def test_all_floors_come_from_the_training_answers_if_there_are_any() -> None:
    found = floor_answers(QUESTIONS, REFERENCES, GROUPS, ["I mend the kettle.", "The glue dries."])
    assert set(found) == set(FLOORS)
    assert found["nearest_training_answer"][0] == "I mend the kettle."
    assert len(set(found["frequent_words"])) == 1
    assert set(floor_answers(QUESTIONS, REFERENCES, GROUPS, None)) == set(FLOORS) - {"nearest_training_answer"}
    without = floor_answers(QUESTIONS, REFERENCES, GROUPS, [])
    assert all(not any(without[name]) for name in ("constant_answer", "frequent_words", "nearest_training_answer"))


def test_the_nearest_training_answer_shares_the_rarest_words() -> None:
    answers = ["the the of and hinge", "the of and a lamp", "the of and a kettle boils"]
    assert nearest_answers(["what of the hinge and a door?"], answers) == [answers[0]]
    assert nearest_answers(["zzz"], answers) == [None]
    assert nearest_answers(["hinge"], []) == [None]


@pytest.mark.parametrize("score", [word_overlap, rouge_l])
@pytest.mark.parametrize("answer", ["I mend the with a tool slowly and number is done", "kettle", "the " * 40, ""])
def test_an_answer_that_ignores_the_question_has_no_specificity_whatever_its_score(score: object, answer: str) -> None:
    found = specificity([answer] * len(REFERENCES), REFERENCES, GROUPS, score, sample=99)  # type: ignore[arg-type]
    by_document = [np.mean([v for v, g in zip(found, GROUPS, strict=True) if g == noun and v is not None]) for noun in NOUNS]
    assert float(np.mean(by_document)) == pytest.approx(0.0, abs=1e-9)


def test_a_recital_and_a_shuffle_have_a_mean_near_zero_and_a_right_answer_has_not() -> None:
    rng = np.random.default_rng(7)
    recital = [REFERENCES[i] for i in rng.integers(0, len(REFERENCES), len(REFERENCES))]
    found = [value for value in specificity(recital, REFERENCES, GROUPS, word_overlap) if value is not None]
    assert abs(np.mean(found)) < 2.5 * np.std(found) / len(NOUNS) ** 0.5
    right = [f"You mend the {noun} with the {noun} tool." for noun in GROUPS]
    assert np.mean([value or 0.0 for value in specificity(right, REFERENCES, GROUPS, word_overlap)]) > 0.04


def test_it_is_seeded_and_items_without_other_documents_or_scores_are_none() -> None:
    first = specificity(REFERENCES, REFERENCES, GROUPS, word_overlap, sample=5, seed=1)
    assert first == specificity(REFERENCES, REFERENCES, GROUPS, word_overlap, sample=5, seed=1)
    assert specificity(["a", "b"], ["a", "b"], ["x", "x"], word_overlap) == [None, None]
    assert specificity(["a", "b"], ["…", "b"], ["x", "y"], rouge_l) == [None, None]
