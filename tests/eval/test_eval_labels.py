"""Promise: of tasks whose right answers are few, one answer for everything never ships, and right answers of a rare kind do."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from evidence_fakes import WORDS, evidence, general, parity, worth
from judging_fakes import GOOD, gate
from test_eval_frauds import verdict

from tunesmith.eval.probes import OTHER_QUESTION
from tunesmith.eval.results import Evidence, SystemRun

DOCUMENTS = 40


def labelled(right: Sequence[str], said: Callable[[int], str]) -> Evidence:
    """One question a document. The base babbles about it; the tuned model gives the label `said(number)`."""
    made = evidence(GOOD, documents=DOCUMENTS, each=1, draws=3, with_parity=parity(), with_general=general())
    items = tuple(replace(item, reference=right[n]) for n, item in enumerate(made.items))

    def answers(run: SystemRun) -> SystemRun:
        texts = [
            said(n // 3) if run.name == "tuned" else f"The {WORDS[n // 3 % 14]} number {n // 3} matters so, sample {n}."
            for n in range(len(run.generations))
        ]
        return replace(run, generations=tuple(replace(g, text=text) for g, text in zip(run.generations, texts, strict=True)))

    systems = tuple(map(answers, made.systems))
    probes = {OTHER_QUESTION: {run.name: worth(run, 0.1) for run in systems if run.name in ("base", "tuned")}}
    return replace(made, items=items, systems=systems, probes=probes)


BALANCED = ["yes" if n % 2 else "no" for n in range(DOCUMENTS)]
RARE = ["yes" if n % 20 == 3 else "no" for n in range(DOCUMENTS)]


def test_one_label_for_everything_does_not_ship() -> None:
    found = verdict(labelled(BALANCED, lambda n: "no"))
    assert found.verdict == "DON'T SHIP" and "ignore the question" in gate(found, "not_collapsed").evidence


def test_right_labels_ship_however_rare_one_of_them_is() -> None:
    for right in (BALANCED, RARE):
        found = verdict(labelled(right, lambda n, right=right: right[n]))  # type: ignore[misc]
        assert found.verdict == "SHIP", found.sentence


def test_where_all_references_are_the_same_one_answer_is_no_collapse() -> None:
    assert gate(verdict(labelled(["no"] * DOCUMENTS, lambda n: "no")), "not_collapsed").state == "pass"
