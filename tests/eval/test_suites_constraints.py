"""Verifiable constraints: each with answers that keep it and answers that break it."""

from __future__ import annotations

from typing import Any

import pytest

from tunesmith.eval.suites.constraints import CONSTRAINTS, constraint_fault, meets

CASES: list[tuple[dict[str, Any], list[str], list[str]]] = [
    (
        {"kind": "num_words", "exactly": 3},
        ["It's so good.", "a well-known man", "- one\n- two\n- three"],
        ["one two", "a b c d"],
    ),
    ({"kind": "num_words", "at_least": 2, "at_most": 3}, ["a b", "a b c"], ["a", "a b c d"]),
    (
        {"kind": "num_sentences", "exactly": 2},
        ["Yes. No.", "Is it? It is…", "He said “Go.” Then he left", "Mr. Hill sat. He ate."],
        ["Yes.", "A. B. C."],
    ),
    ({"kind": "num_paragraphs", "exactly": 2}, ["a\n\nb", "a\nb\n \nc"], ["a\nb", "a\n\nb\n\nc"]),
    ({"kind": "num_lines", "exactly": 2}, ["a\nb", "a\n\nb"], ["a", "a\nb\nc"]),
    ({"kind": "num_bullets", "exactly": 2}, ["- a\n- b", "Here:\n* a\n  • b"], ["- a", "-a\n-b", "1. a\n2. b"]),
    ({"kind": "num_numbered", "exactly": 2}, ["1. a\n2. b", "1) a\n2) b"], ["1. a", "- a\n- b"]),
    ({"kind": "num_items", "exactly": 3}, ["a, b, c", "a, b and c.", "a, b, and c"], ["a, b", "a b c"]),
    ({"kind": "keyword", "keyword": "snow"}, ["Snow!", "the snow fell"], ["snowy", "rain"]),
    ({"kind": "keyword", "keyword": "snow", "exactly": 2}, ["snow on Snow"], ["snow", "snow snow snow"]),
    ({"kind": "keywords", "words": ["oak", "red door"]}, ["The red door is oak."], ["red oak door", "oak"]),
    ({"kind": "absent", "words": ["sun"]}, ["sunny days"], ["The Sun."]),
    ({"kind": "letter", "letter": "e", "at_most": 0}, ["book"], ["bee", "E"]),
    ({"kind": "no_characters", "characters": ","}, ["a b"], ["a, b"]),
    ({"kind": "lower_case"}, ["all is well.", "café"], ["All", "123"]),
    ({"kind": "upper_case"}, ["ALL IS WELL!"], ["ALL is", "1, 2"]),
    ({"kind": "num_capital_words", "at_least": 1}, ["I am VERY tired"], ["I am A man"]),
    ({"kind": "starts_with", "phrase": "If"}, ["If so", '"If so"', "**If** so"], ["if so", "So, If"]),
    ({"kind": "ends_with", "phrase": "care"}, ["Take care", "Take care.", "“Take care.”"], ["Take Care", "care not"]),
    ({"kind": "ends_with", "phrase": "Good night."}, ["So. Good night."], ["So. Good night"]),
    ({"kind": "in_quotes"}, ['"Hello."', "“Hello.”", "«Ja»"], ['"Hello', 'He said "no"', '"a']),
    ({"kind": "title"}, ["<<My Day>>\ntext", "a <<b>>"], ["<My Day>", "<<>>", "<<12>>"]),
    ({"kind": "postscript"}, ["Text.\nP.S. More", "P.S.: more"], ["Text", "P.S.", "a P.S. inside"]),
    ({"kind": "postscript", "marker": "P.P.S."}, ["x\nP.P.S. y"], ["x\nP.S. y"]),
    ({"kind": "json"}, ['{"a": 1}', "[1]", "```json\n[1]\n```"], ["{a: 1}", "Sure: [1]"]),
    ({"kind": "num_bold", "exactly": 1}, ["a **b** c", "a *b* c"], ["a b", "**a** **b**", "2 * 3 * 4"]),
    ({"kind": "num_placeholders", "at_least": 2}, ["[name] and [date]"], ["[name]", "[]x[]"]),
    ({"kind": "separator", "mark": "***"}, ["a\n***\nb"], ["a b", "a *** a", "a ***", "a *** b *** c"]),
    ({"kind": "ascii_letters"}, ["plain", "5 €"], ["café", "да"]),
    ({"kind": "title_case"}, ["The Old Sea", "7 Days"], ["The old Sea"]),
    ({"kind": "question"}, ["Who?", '"Who?"'], ["Who? Me.", "Who"]),
]


@pytest.mark.parametrize(("constraint", "kept", "broken"), CASES, ids=[str(n) for n in range(len(CASES))])
def test_a_constraint_is_kept_or_broken(constraint: dict[str, Any], kept: list[str], broken: list[str]) -> None:
    assert constraint_fault(constraint) == ""
    assert [answer for answer in kept if not meets(answer, [constraint])] == []
    assert [answer for answer in broken if meets(answer, [constraint])] == []


def test_every_kind_is_tested_and_says_what_it_counts() -> None:
    assert {case[0]["kind"] for case in CASES} == set(CONSTRAINTS)
    assert all(constraint.holds.__doc__ for constraint in CONSTRAINTS.values())


@pytest.mark.parametrize("silent", ["", " \n", "…", "***", "?!"])
def test_silence_keeps_no_constraint(silent: str) -> None:
    assert not any(meets(silent, [case[0]]) for case in CASES)


def test_all_constraints_must_hold() -> None:
    both: list[dict[str, Any]] = [{"kind": "lower_case"}, {"kind": "num_words", "at_most": 2}]
    assert meets("two words", both) and not meets("Two words", both) and not meets("now three words", both)


@pytest.mark.parametrize(
    ("constraint", "reason"),
    [
        ({"kind": "rhyme"}, "rhyme"),
        ("lower_case", "lower_case"),
        ({"kind": "keyword"}, "needs keyword"),
        ({"kind": "num_words"}, "needs one of"),
        ({"kind": "num_words", "atmost": 3}, "does not take atmost"),
        ({"kind": "num_words", "at_most": "3"}, "whole numbers"),
        ({"kind": "lower_case", "at_most": 3}, "does not take at_most"),
    ],
)
def test_a_constraint_that_cannot_be_is_named(constraint: object, reason: str) -> None:
    assert reason in constraint_fault(constraint)
