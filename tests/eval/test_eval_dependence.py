"""Promises of the comparison that needs no reference: answers that ignore the question are found, whatever they say."""

from __future__ import annotations

import numpy as np
import pytest
from evidence_fakes import WORDS, items
from judging_fakes import decided, gate, with_answers

from tunesmith.core.records import Generation
from tunesmith.eval.dependence import dependence
from tunesmith.eval.stats import summarise


def said(texts: list[str], draws: int = 3) -> list[float | None]:
    """The dependence of answers to ten documents of three items, `texts` in turn."""
    of = items(10, 3)
    keys = [(item.id, draw) for item in of for draw in range(draws)]
    made = [
        Generation(
            item_id=id, system="x", text=texts[n % len(texts)], finish_reason="stop", num_tokens=9, fingerprint="f", draw=d
        )
        for n, (id, d) in enumerate(keys)
    ]
    return dependence(made, of)


def mean(values: list[float | None]) -> float:
    found = summarise(values, [item.group for item in items(10, 3)], draws=300).mean
    assert found is not None
    return found


def on_subject(rng: np.random.Generator) -> list[str]:
    """Three answers to each of thirty questions, of random words and two of the question's own document."""
    return [f"The {WORDS[n // 9]} of matter{n // 9} and {' '.join(rng.choice(WORDS, 5))} {n}." for n in range(90)]


def test_answers_about_the_question_resemble_each_other_more_than_answers_to_others() -> None:
    rng = np.random.default_rng(2)
    values = said(on_subject(rng))
    assert mean(values) > 0.03 and all(value is not None for value in values)


@pytest.mark.parametrize(
    "texts",
    [
        ["It depends on the kettle."],
        [" ".join(np.random.default_rng(n).choice(WORDS, 9)) for n in range(90)],  # another bag of words for every answer
        ["the " * 40, "the " * 39],
    ],
)
def test_answers_that_ignore_the_question_have_none_of_it(texts: list[str]) -> None:
    assert abs(mean(said(texts))) < 0.02


def test_one_answer_a_question_or_one_document_is_not_measured() -> None:
    assert said(["A word."], draws=1) == [None] * 30
    one = items(1, 3)
    made = [
        Generation(item_id=i.id, system="x", text="A.", finish_reason="stop", num_tokens=1, fingerprint="f", draw=d)
        for i in one
        for d in (0, 1)
    ]
    assert dependence(made, one) == [None] * 3


def test_words_at_random_do_not_ship_though_no_answer_loops_or_comes_twice() -> None:
    rng = np.random.default_rng(3)
    words = [f"{' '.join(rng.choice(WORDS, 9))} {n}." for n in range(90)]
    found = gate(decided(with_answers(words, base=on_subject(rng))), "not_collapsed")
    assert found.state == "fail" and "they ignore the question" in found.evidence


def test_gibberish_does_not_ship() -> None:
    rng = np.random.default_rng(4)
    noise = ["".join(rng.choice(list("bcdfghjk"), 5)) + f" qz{n} " + "".join(rng.choice(list("lmnpqrs"), 6)) for n in range(90)]
    found = gate(decided(with_answers(noise)), "not_collapsed")
    assert found.state == "fail" and "word overlap, cut to the reference's length, −" in found.evidence


def test_answers_that_score_no_higher_than_trivial_ones_are_warned_of() -> None:
    found = gate(decided(with_answers(["Kettle switch steam."])), "not_collapsed")
    assert "overlap with the references no more than" in found.warning
