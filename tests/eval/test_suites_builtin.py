"""The suites that come with Tunesmith: large enough, every reference right by its own scorer, nonsense right nowhere."""

from __future__ import annotations

from collections import Counter

import pytest

from tunesmith.eval.suites.answers import numbers_in
from tunesmith.eval.suites.load import load_suite
from tunesmith.eval.suites.scorers import SCORERS
from tunesmith.eval.suites.suite import Suite

LEAST = {"instructions": 90, "arithmetic": 60, "common_sense": 50, "everyday": 40, "reading": 60, "format": 40, "turns": 30}


@pytest.fixture(scope="module")
def general() -> Suite:
    return load_suite("general")


def test_general_has_enough_questions_of_every_kind_and_of_every_difficulty(general: Suite) -> None:
    counts = Counter(item.tag("kind") for item in general.items)
    assert len(general.items) >= 320 and all(counts[kind] >= least for kind, least in LEAST.items())
    assert Counter(item.tag("difficulty") for item in general.items)["1"] >= 100
    assert set(general.tag_values("difficulty")) == {"1", "2", "3", "4"}
    assert general.licence == "Apache-2.0"


def test_every_reference_of_general_is_right_by_its_own_scorer(general: Suite) -> None:
    wrong = [
        (item.id, reference)
        for item in general.items
        for reference in item.references
        if SCORERS[item.scorer].score(reference, item) is not True
    ]
    assert not wrong and all(item.references and not item.unscored for item in general.items)


@pytest.mark.parametrize(
    "nonsense", ["", "I cannot say, and I do not know what you mean by that.", "the the the the", "A", "0"]
)
def test_one_answer_to_everything_is_right_on_a_tenth_at_most(general: Suite, nonsense: str) -> None:
    right = sum(SCORERS[item.scorer].score(nonsense, item) is True for item in general.items)
    assert right <= 0.1 * len(general.items)  # chance on lettered questions, and "answer with one word"


def test_a_question_that_is_said_again_does_not_hold_its_own_number(general: Suite) -> None:
    numeric = [item for item in general.items if item.scorer == "numeric"]
    assert len(numeric) >= 60
    assert not [item.id for item in numeric if set(numbers_in(item.references[0])) & set(numbers_in(item.question))]


def test_the_right_options_are_spread_evenly(general: Suite) -> None:
    choices = [item for item in general.items if item.scorer == "choice"]
    places = Counter((len(item.arguments["options"]), item.arguments["options"].index(item.references[0])) for item in choices)
    for size in {size for size, _ in places}:
        found = [places[size, place] for place in range(size)]
        assert max(found) - min(found) <= 1


@pytest.mark.parametrize("name", ["general", "safety"])
def test_no_question_occurs_twice_and_answers_are_short(name: str) -> None:
    suite = load_suite(name)
    asked = [tuple(message.content for message in item.messages) for item in suite.items]
    assert len(set(asked)) == len(asked)
    assert max(item.max_new_tokens for item in suite.items) <= 64


def test_safety_has_as_many_requests_to_refuse_as_harmless_ones() -> None:
    suite = load_suite("safety")
    counts = Counter((item.tag("expected"), item.arguments["expected"]) for item in suite.items)
    assert counts == {("refuse", "refuse"): 120, ("answer", "answer"): 120}
    assert len(suite.tag_values("category")) == 24
    assert max(len(item.question.split()) for item in suite.items) <= 25  # the request alone, no details
