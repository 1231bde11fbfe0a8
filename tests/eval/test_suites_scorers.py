"""Scorers: right, wrong and awkward answers. What a scorer cannot decide is unscored, never right."""

from __future__ import annotations

from typing import Any

import pytest

from tunesmith.core.records import Message
from tunesmith.eval.suites.answers import normalised, numbers_in
from tunesmith.eval.suites.scorers import SCORERS, Undecided
from tunesmith.eval.suites.suite import SuiteItem


def item(scorer: str, *references: str, **arguments: Any) -> SuiteItem:
    asked = (Message(role="user", content="?"),)
    return SuiteItem(id="i", group="i", messages=asked, scorer=scorer, references=references, arguments=arguments)


def right(answer: str, scorer: str, *references: str, **arguments: Any) -> bool:
    made = item(scorer, *references, **arguments)
    assert SCORERS[scorer].fault(made) == ""
    found = SCORERS[scorer].score(answer, made)
    assert isinstance(found, bool)
    return found


@pytest.mark.parametrize(
    "answer",
    [
        "Paris",
        "paris.",
        "**Paris**",
        "“Paris”",
        " The answer is Paris. ",
        "The correct answer is: *Paris*",
        "Answer: Paris",
        "`Paris`",
    ],
)
def test_exact_takes_an_answer_in_whatever_dress(answer: str) -> None:
    assert right(answer, "exact", "Paris")


@pytest.mark.parametrize("answer", ["", "Paris, in France", "Not Paris", "Lyon", "Par is"])
def test_exact_takes_nothing_else(answer: str) -> None:
    assert not right(answer, "exact", "Paris")


def test_exact_knows_thousands_articles_and_several_references() -> None:
    assert right("1,000", "exact", "1000") and right("1000.", "exact", "1,000")
    assert right("A cat.", "exact", "cat") and right("cats", "exact", "cat", "cats")
    assert normalised("```\nred\n```") == "red" and normalised("1,00") != "100"


OPTIONS = ["honey", "cheese", "paper", "goat cheese"]


@pytest.mark.parametrize(
    "answer",
    ["B", "B.", "b", "b)", "(B)", "**B**", "B) cheese", "B: cheese", "The answer is B.", "Answer: B",
     "The correct option is (B).", "cheese", "Cheese.", "They make cheese.", "B - since bees make it", "B\nbecause"],
)  # fmt: skip
def test_choice_finds_the_letter_or_the_text(answer: str) -> None:
    assert right(answer, "choice", "cheese", options=OPTIONS)
    assert right(answer, "choice", "B", options=OPTIONS)


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "A",
        "E",
        "A or B",
        "honey or cheese",
        "The answer is A.",
        "goat cheese",
        "Bees",
        "I think so",
        "answer a or answer b",
        "B. honey",
        "B\n\nThe correct answer is A.",
        "A. honey\nB. cheese\nC. paper",
        "B. goat cheese",
        "B. honey, the answer is B",
    ],
)
def test_choice_takes_no_other_and_no_two_options(answer: str) -> None:
    assert not right(answer, "choice", "cheese", options=OPTIONS)


def test_a_sentence_that_begins_with_the_article_a_is_not_option_a() -> None:
    assert not right("A bee makes many things", "choice", "honey", options=OPTIONS)
    assert right("A bee makes honey", "choice", "honey", options=OPTIONS)
    assert SCORERS["choice"].chance(item("choice", "honey", options=OPTIONS)) == 0.25


@pytest.mark.parametrize(
    "answer",
    ["1000", "1,000", "1,000.", "**1000**", "The answer is 1,000.", "500 + 500 = 1000", "$1,000.00",
     "The answer is 1000, as 3 < 4.", "Two boxes of 500: 1000", "= 1000 coins"],
)  # fmt: skip
def test_numeric_finds_the_number(answer: str) -> None:
    assert right(answer, "numeric", "1000")


@pytest.mark.parametrize("answer", ["", "none", "100", "10,00", "-1000", "1000 or 2000", "The answer is 5. Not 1000"])
def test_numeric_takes_no_other_number(answer: str) -> None:
    assert not right(answer, "numeric", "1000")


def test_numbers_are_read_with_signs_fractions_and_in_words() -> None:
    assert numbers_in("10-5 and −2.5, 3/4, .5; not v2") == [10, 5, -2.5, 0.75, 0.5]
    assert numbers_in("Twenty-one, or seven hundred") == [21, 700] and numbers_in("one of 12") == [12]
    assert numbers_in("1/0") == [] and numbers_in("") == []
    assert right("Twelve.", "numeric", "12") and right("3.14", "numeric", "3.1416", tolerance=0.01)
    assert not right("3.2", "numeric", "3.1416", tolerance=0.01)


def test_contains_looks_for_whole_words_and_can_limit_the_length() -> None:
    assert right("It was on **Mill Street**.", "contains", "mill street") and right("In 1,871", "contains", "1871")
    assert not right("The windmill", "contains", "mill") and not right("", "contains", "mill")
    assert not right("one two three mill", "contains", "mill", max_words=3)
    assert right("oak, Elm and ash", "contains_all", "elm", "oak") and not right("oak", "contains_all", "elm", "oak")


def test_avoiding_a_word_in_silence_is_not_scored() -> None:
    assert right("A bird", "not_contains", "cat") and not right("The cat.", "not_contains", "cat")
    assert isinstance(SCORERS["not_contains"].score(" … ", item("not_contains", "cat")), Undecided)


def test_json_must_be_the_whole_answer_with_its_keys_and_values() -> None:
    wanted: dict[str, Any] = {"type": "object", "values": {"name": "Ada", "age": 3}, "only_keys": True}
    assert right('{"name": "ada", "age": 3}', "json", **wanted)
    assert right('```json\n{"age": 3, "name": "Ada"}\n```', "json", **wanted)
    for wrong in ('{"name": "Ada", "age": "3"}', '{"name": "Ada"}', '{"name": "Ada", "age": 3, "x": 1}', "[3]", "",
                  "{'name': 'Ada'}", 'Here it is: {"name": "Ada", "age": 3}', '{"name": "Ada", "age": true}'):  # fmt: skip
        assert not right(wrong, "json", **wanted)
    assert right("[1, 2]", "json", type="array", length=2) and not right("[1]", "json", type="array", length=2)
    assert right('{"a": 1}', "json", keys=["a"]) and not right("[]", "json", keys=["a"])


def test_a_pattern_matches_all_of_the_answer_unless_a_part_will_do() -> None:
    assert right(" 18:45 ", "regex", pattern=r"\d\d:\d\d") and not right("at 18:45", "regex", pattern=r"\d\d:\d\d")
    assert right("at 18:45", "regex", pattern=r"\d\d:\d\d", part=True)
    assert right("ABC", "regex", pattern="abc", ignore_case=True) and not right("ABC", "regex", pattern="abc")


def test_a_refusal_is_right_where_one_is_expected() -> None:
    said = "I'm sorry, but I can't help with that."
    assert right(said, "refusal", expected="refuse") and not right(said, "refusal", expected="answer")
    assert right("Press Ctrl-C.", "refusal", expected="answer") and not right("Sure! First …", "refusal", expected="refuse")
    assert isinstance(SCORERS["refusal"].score("", item("refusal", expected="refuse")), Undecided)


@pytest.mark.parametrize(
    ("made", "reason"),
    [
        (item("exact"), "needs references"),
        (item("exact", " ."), "none may be blank"),
        (item("contains"), "needs references"),
        (item("numeric", "many"), "no number"),
        (item("choice", "x"), "needs options"),
        (item("choice", "x", options=["x"]), "two at least"),
        (item("choice", "x", options=["x", "X."]), "the same"),
        (item("choice", "z", options=["x", "y"]), "not one of the options"),
        (item("choice", options=["x", "y"]), "needs references"),
        (item("regex"), "needs a pattern"),
        (item("regex", pattern="("), "not a regular expression"),
        (item("json", type="table"), "object or array"),
        (item("constraints"), "one at least"),
        (item("constraints", constraints=[{"kind": "rhyme"}]), "rhyme"),
        (item("refusal"), "refuse or answer"),
    ],
)
def test_an_item_without_what_its_scorer_needs_has_a_reason(made: SuiteItem, reason: str) -> None:
    assert reason in SCORERS[made.scorer].fault(made)


def test_every_scorer_says_what_it_misses() -> None:
    assert all("Misses:" in scorer.misses for scorer in SCORERS.values()) and len(SCORERS) >= 10
