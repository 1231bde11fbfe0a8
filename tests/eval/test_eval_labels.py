"""Promise: of tasks whose right answers are few, one answer for everything never ships, and right answers of a rare kind do."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
from evidence_fakes import WORDS, evidence, general, parity, taught, worth
from judging_fakes import GOOD, gate
from test_eval_frauds import verdict

from tunesmith.eval.probes import OTHER_QUESTION
from tunesmith.eval.results import Evidence, SystemRun

DOCUMENTS = 40


def labelled(right: Sequence[str], said: Callable[[int], str], *, draws: int = 3, base: str = "") -> Evidence:
    """One question a document. The base babbles about it, or says `base`; the tuned model gives the label `said(number)`."""
    made = evidence(GOOD, documents=DOCUMENTS, each=1, draws=draws, with_parity=parity(), with_general=general())
    items = tuple(replace(item, reference=right[n]) for n, item in enumerate(made.items))

    def answers(run: SystemRun) -> SystemRun:
        texts = [
            said(n // draws)
            if run.name == "tuned"
            else base or f"The {WORDS[n // draws % 14]} number {n // draws} matters so, sample {n}."
            for n in range(len(run.generations))
        ]
        return replace(run, generations=tuple(replace(g, text=text) for g, text in zip(run.generations, texts, strict=True)))

    systems = tuple(map(answers, made.systems))
    probes = {OTHER_QUESTION: {run.name: worth(run, 0.1) for run in systems if run.name in ("base", "tuned")}, **taught(0.1)}
    return replace(made, items=items, systems=systems, probes=probes)


BALANCED = ["yes" if n % 2 else "no" for n in range(DOCUMENTS)]
RARE = ["yes" if n % 20 == 3 else "no" for n in range(DOCUMENTS)]


FIVE = [("a", "b", "a", "c", "a", "d", "a", "b", "a", "e")[n % 10] for n in range(DOCUMENTS)]


@pytest.mark.parametrize("base", ["", "yes"])
@pytest.mark.parametrize("draws", [1, 3])
@pytest.mark.parametrize("right", [BALANCED, RARE, FIVE], ids=["two", "two, one of them rare", "five"])
def test_the_most_frequent_label_for_everything_fails_whatever_the_base_says(right: list[str], draws: int, base: str) -> None:
    most = max(right, key=right.count)
    found = verdict(labelled(right, lambda n: most, draws=draws, base=base))
    assert found.verdict == "DON'T SHIP" and gate(found, "not_collapsed").state == "fail", found.sentence
    assert "100 % of the pairs of questions with different references" in gate(found, "not_collapsed").evidence


@pytest.mark.parametrize("draws", [1, 3])
@pytest.mark.parametrize("right", [BALANCED, RARE, FIVE], ids=["two", "two, one of them rare", "five"])
def test_a_classifier_that_is_wrong_in_one_question_of_five_has_not_collapsed(right: list[str], draws: int) -> None:
    labels = sorted(set(right))
    found = verdict(labelled(right, lambda n: right[n] if n % 5 else labels[labels.index(right[n]) - 1], draws=draws))
    assert gate(found, "not_collapsed").state == "pass", gate(found, "not_collapsed").evidence


def test_equal_answers_that_are_right_do_not_count_beside_answers_of_their_own() -> None:
    """A sixth of the questions want one line, the others one each, and the tuned model has them all right."""
    right = ["top(3)" if n % 6 == 0 else f"take({n}, of={WORDS[n % 14]})" for n in range(DOCUMENTS)]
    made = labelled(right, lambda n: right[n], draws=1)
    found = gate(verdict(made), "not_collapsed")
    assert found.state == "pass" and "no question's answers repeat" in found.evidence
    repeats = verdict(labelled(right, lambda n: "top(3)" if n % 2 else right[n], draws=1))
    assert gate(repeats, "not_collapsed").state == "fail"  # planted: the same answer where another is right


def test_one_label_for_everything_does_not_ship() -> None:
    found = verdict(labelled(BALANCED, lambda n: "no"))
    assert found.verdict == "DON'T SHIP" and "ignore the question" in gate(found, "not_collapsed").evidence


def test_right_labels_ship_however_rare_one_of_them_is() -> None:
    for right in (BALANCED, RARE):
        found = verdict(labelled(right, lambda n, right=right: right[n]))  # type: ignore[misc]
        assert found.verdict == "SHIP", found.sentence


def test_where_all_references_are_the_same_one_answer_is_no_collapse() -> None:
    assert gate(verdict(labelled(["no"] * DOCUMENTS, lambda n: "no")), "not_collapsed").state == "pass"
