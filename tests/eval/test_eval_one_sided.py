"""Promise: no system profits from what is missing or was counted otherwise on its side; the rest is compared on equal terms."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from evidence_fakes import general, likelihood, suite_answers, worth
from judging_fakes import GOOD, gate
from test_eval_frauds import good, verdict

from tunesmith.core.errors import EvaluationError
from tunesmith.core.records import Score
from tunesmith.eval.probes import OTHER_QUESTION
from tunesmith.eval.results import Evidence, Likelihood, SystemRun
from tunesmith.eval.suites.answered import scored_otherwise


def tuned(change: Callable[[SystemRun], SystemRun]) -> Evidence:
    made = good()
    return replace(made, systems=tuple(change(run) if run.name == "tuned" else run for run in made.systems))


def test_likelihoods_missing_on_one_side_are_no_gain() -> None:
    made = tuned(lambda run: replace(run, likelihoods=run.likelihoods[:-3]))
    found = verdict(made)
    assert found.verdict == "CAN'T TELL"
    assert {gate(found, name).state for name in ("better", "beats_prompt", "answers_the_question")} == {"not measured"}
    assert "3 answers or likelihoods exist for only one" in gate(found, "better").evidence


@pytest.mark.parametrize("name", ["hard items", "all but the best draw"])
def test_answers_missing_on_one_side_pass_no_gate_about_answers(name: str) -> None:
    kept: dict[str, Callable[[SystemRun], SystemRun]] = {
        "hard items": lambda run: replace(run, generations=tuple(g for g in run.generations if not g.item_id.endswith("-2"))),
        "all but the best draw": lambda run: replace(run, generations=tuple(g for g in run.generations if g.draw == 0)),
    }
    found = verdict(tuned(kept[name]))
    assert found.verdict == "CAN'T TELL"
    assert {gate(found, one).state for one in ("stop", "not_collapsed", "not_recited")} == {"not measured"}


def with_rows(change: Callable[[Likelihood], Likelihood]) -> Evidence:
    return tuned(lambda run: replace(run, likelihoods=tuple(map(change, run.likelihoods))))


def with_probe(rows: Callable[[tuple[Likelihood, ...]], tuple[Likelihood, ...]]) -> Evidence:
    made = good()
    probe = dict(made.probes[OTHER_QUESTION])
    return replace(made, probes={OTHER_QUESTION: {**probe, "tuned": rows(worth(made.systems[2], GOOD["tuned"]))}})


CANNOT_BE: dict[str, Callable[[], Evidence]] = {
    "a reference of twice the bytes": lambda: with_rows(lambda row: replace(row, num_bytes=2 * row.num_bytes)),
    "a probability above one": lambda: with_rows(lambda row: replace(row, nats=-5.0)),
    "a row of a probe twice": lambda: with_probe(lambda rows: (*rows, rows[-1])),
    "a probe of the easy rows only": lambda: with_probe(lambda rows: rows[::2]),
    "general texts on one side only": lambda: good(general=replace(general(), tuned=general().tuned[:12])),
    "general texts of twice the bytes": lambda: good(
        general=replace(general(0.5), tuned=tuple(replace(row, num_bytes=200) for row in general(0.5).tuned))
    ),
}


@pytest.mark.parametrize("name", CANNOT_BE)
def test_likelihoods_that_cannot_be_compared_are_an_error(name: str) -> None:
    with pytest.raises(EvaluationError, match=r"carry an id twice|lacks some|cannot be"):
        verdict(CANNOT_BE[name]())


def test_a_sum_that_is_below_zero_by_rounding_is_none() -> None:
    row = likelihood("d0-0", 0.0)
    assert verdict(with_rows(lambda one: replace(row, item_id=one.item_id, nats=-1e-6)))


def test_general_questions_that_became_unscored_count_as_possibly_lost() -> None:
    asked = suite_answers(lost=0.5)
    base, after = asked.runs
    hidden = tuple(replace(one, value=None, reason="undecided") if one.value == 0 else one for one in after.scores)
    found = verdict(good(suites=(replace(asked, runs=(base, replace(after, scores=hidden))),)))
    assert found.verdict != "SHIP" and gate(found, "general").state != "pass"
    assert "scored on one side only" in gate(found, "general").evidence


@pytest.mark.parametrize("number", [6, 12])
def test_a_handful_of_general_questions_says_nothing(number: int) -> None:
    found = verdict(good(suites=(suite_answers(1.0, 1.0, n=number),)))
    assert gate(found, "general").state == "not measured"


def test_scores_that_are_not_those_of_the_answers_are_named() -> None:
    asked = suite_answers(n=4)
    forged = tuple(
        Score(item_id=one.item_id, metric=one.metric, value=1.0 - (one.value or 0.0)) for one in asked.runs[1].scores
    )
    wrong = replace(asked, runs=(replace(asked.runs[1], scores=forged),))
    assert scored_otherwise([wrong]) == ["the scores of tuned on the suite general"]


def test_later_evaluations_have_wider_intervals_in_the_gates_about_answers_too() -> None:
    first, fifth = verdict(good()), verdict(good(), look=5)
    before, after = gate(first, "not_recited").interval, gate(fifth, "not_recited").interval
    assert before is not None and after is not None and after[1] - after[0] > before[1] - before[0]
