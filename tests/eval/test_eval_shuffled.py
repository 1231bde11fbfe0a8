"""Promise: a run on shuffled questions never ships, however few documents tell it, and whatever the other gates say.

Its gain in likelihood is real (it learned the author's words), its answers end, nothing is forgotten. What it keeps of the
base's dependence on the question is a matter of its length: 0.019 of 0.029 bits per byte after 21 steps on a real base
(docs/log.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from evidence_fakes import evidence, general, items, likelihood, parity, taught, worth
from judging_fakes import gate

from tunesmith.core.records import Example, Message
from tunesmith.eval.gates import ALWAYS, gate_names
from tunesmith.eval.gates.answers_the_question import _finding, _taught
from tunesmith.eval.how import How
from tunesmith.eval.measure import Measurements, measure
from tunesmith.eval.probe_measures import question_worth
from tunesmith.eval.probes import OTHER_QUESTION, TAUGHT, probe_items, taught_of
from tunesmith.eval.results import Audited
from tunesmith.eval.stats import summarise
from tunesmith.eval.verdict import Verdict, decide
from tunesmith.pipeline.sections.eval import GateConfig

BITS = {"base": 1.4, "prompted": 1.35, "tuned": 1.1, "merged": 1.1}
BASE, NULL = 0.029, 0.019  # what the right question is worth, bits per byte
NAMED = "Whether the tuned model's answers depend on the question could not be measured."


@cache
def measured(
    base: float, tuned: float, *, documents: int, noise: float = 0.03, of_training: float | None = None, share: float = 0.6
) -> Measurements:
    """Of evidence in which all but the question is in order; `of_training`: what it is worth in the training rows, if known."""
    found = evidence(BITS, documents=documents, with_parity=parity(), with_general=general(), draws=3)
    wrong = {"base": base, "tuned": tuned}
    probes = {
        OTHER_QUESTION: {run.name: worth(run, wrong[run.name], noise=noise) for run in found.systems if run.name in wrong},
        **(taught(of_training) if of_training is not None else {}),
    }
    return measure(replace(found, probes=probes), draws=300, margin=0.02, question_share=share)


def verdict(found: Measurements, rules: GateConfig | None = None, baselines: Sequence[str] = ("prompted",)) -> Verdict:
    return decide(found, rules or GateConfig(), baselines=baselines)


def test_without_a_doubt_about_the_question_the_same_evidence_ships() -> None:
    found = verdict(measured(BASE, BASE, documents=60, noise=0.01, of_training=BASE))
    assert found.verdict == "SHIP", found.sentence


def test_nine_documents_that_hardly_depend_on_their_questions_leave_it_open_and_the_sentence_says_so() -> None:
    found = verdict(measured(BASE, NULL, documents=9))
    assert {gate(found, name).state for name in ("better", "general", "stop", "not_collapsed", "parity")} == {"pass"}
    assert gate(found, "answers_the_question").state == "not measured"
    assert found.verdict == "CAN'T TELL" and NAMED in found.sentence


def test_what_was_not_measured_of_the_question_is_named_before_cheaper_alternatives() -> None:
    found = verdict(measured(BASE, NULL, documents=9), baselines=["prompted", "few_shot", "retrieval"])
    assert found.verdict == "CAN'T TELL" and NAMED in found.sentence


@pytest.mark.parametrize("kept", [0.66, 0.9, 1.0])
def test_questions_of_training_rows_that_do_not_belong_to_their_answers_fail_however_much_a_short_run_kept(kept: float) -> None:
    found = verdict(measured(BASE, kept * BASE, documents=60, noise=0.01, of_training=0.0))
    assert found.verdict == "DON'T SHIP" and gate(found, "answers_the_question").state == "fail"
    assert "the questions of the training rows do not belong to their answers" in found.sentence
    known = verdict(measured(BASE, kept * BASE, documents=60, noise=0.01, of_training=BASE))
    assert known.verdict == ("CAN'T TELL" if kept < 0.7 else "SHIP")  # the tuned model alone does not show it


def test_training_rows_that_were_not_asked_are_no_pass_and_the_evidence_says_what_to_type() -> None:
    found = verdict(measured(BASE, BASE, documents=60, noise=0.01))
    asked = gate(found, "answers_the_question")
    assert (
        asked.state == "not measured"
        and "tunesmith eval" in asked.evidence
        and "to the base was not measured" in asked.evidence
    )
    assert found.verdict == "CAN'T TELL" and NAMED in found.sentence


@pytest.mark.parametrize("of_training", [0.0, None])
def test_a_task_whose_questions_the_base_makes_nothing_of_passes_where_the_tuned_model_certainly_does(
    of_training: float | None,
) -> None:
    made = measured(0.0, 0.3, documents=60, of_training=of_training)
    asked = gate(verdict(made), "answers_the_question")
    assert asked.state == "pass" and "worth more to the tuned model than to the base" in asked.evidence
    for tuned in (0.0, 0.02):  # as much as the base, or too little to be certain
        asked = gate(verdict(measured(0.0, tuned, documents=9, noise=0.1, of_training=of_training)), "answers_the_question")
        assert asked.state != "pass", tuned


def test_training_rows_of_one_document_are_too_few() -> None:
    made = measured(BASE, BASE, documents=60, noise=0.01, of_training=BASE)
    assert made.question is not None
    one = summarise([0.02, 0.03, 0.05], list("aaa"), draws=300)
    asked = gate(verdict(replace(made, question=replace(made.question, taught=one))), "answers_the_question")
    assert asked.state == "not measured" and "1 documents of training rows are too few" in asked.evidence


def test_an_audit_that_sees_no_training_rows_is_judged_by_the_model_alone() -> None:
    outside = Audited(what="an adapter", advisory=("not_recited", "parity"), unknown=("something else",))
    for kept, state in ((1.0, "pass"), (0.3, "fail")):
        made = replace(measured(BASE, kept * BASE, documents=60, noise=0.01), audited=outside)
        asked = gate(verdict(made), "answers_the_question")
        assert asked.state == state and "training rows" not in asked.rule + asked.evidence


def test_training_questions_that_may_be_worth_nothing_are_no_pass() -> None:
    found = measured(BASE, BASE, documents=60, noise=0.01)
    assert found.question is not None
    unclear = summarise([0.02, -0.03, 0.05, 0.01, -0.02, 0.04], list("abcdef"), draws=300)
    told = verdict(replace(found, question=replace(found.question, taught=unclear)))
    assert gate(told, "answers_the_question").state == "not measured" and NAMED in told.sentence


LOOSEST: dict[str, Any] = {
    **{"better_margin": 0.0, "min_documents": 2, "question_share": 0.0, "stop_margin": 1.0, "loop_margin": 1.0},
    **{"parity_logit": 1e9, "parity_top1": 0.01, "general_margin": 1.0, "general_text_margin": 99.0},
    "advisory": [name for name in gate_names() if name not in (ALWAYS, "answers_the_question")],
}


@pytest.mark.parametrize("changes", [*({name: value} for name, value in LOOSEST.items()), LOOSEST], ids=str)
@pytest.mark.parametrize("documents", [9, 60])
def test_no_setting_of_the_gates_lets_a_shuffled_run_ship(documents: int, changes: dict[str, Any]) -> None:
    rules = GateConfig(**changes)
    found = measured(BASE, NULL, documents=documents, noise=0.01, of_training=0.0, share=rules.question_share)
    assert verdict(found, rules).verdict == "DON'T SHIP", verdict(found, rules).sentence


@pytest.mark.parametrize("of_training", [None, 0.0])
def test_where_the_recipe_makes_the_gate_itself_advisory_the_sentence_says_what_is_missing(of_training: float | None) -> None:
    rules = GateConfig(advisory=["answers_the_question"])
    found = verdict(measured(BASE, NULL, documents=9, of_training=of_training), rules)
    said = NAMED if of_training is None else "The tuned model cannot have learned to answer"
    assert said in found.sentence and "answers the question easier to pass than by default" in found.sentence


def test_simulated_nulls_of_a_task_that_the_base_makes_nothing_of_hardly_ever_pass() -> None:
    rng = np.random.default_rng(8)
    nulls = [_state(rng, kept=rng.uniform(0.3, 1.5), of_training=0.0, worth_to_base=0.0) for _ in range(60)]
    assert nulls.count("pass") <= 2, nulls


def test_simulated_nulls_of_any_length_do_not_pass_and_real_runs_do() -> None:
    rng = np.random.default_rng(3)
    nulls = [_state(rng, kept=rng.uniform(0.3, 1.0), of_training=0.0) for _ in range(60)]
    real = [_state(rng, kept=rng.uniform(0.95, 1.1), of_training=BASE) for _ in range(30)]
    assert nulls.count("pass") <= 2, nulls  # the chance of an interval is 2.5 %
    assert real.count("fail") == 0 and real.count("pass") >= 27, real


def _state(
    rng: np.random.Generator, *, kept: float, of_training: float, documents: int = 30, worth_to_base: float = BASE
) -> str:
    """Of the gate, for documents and training rows as they were measured on a real base: 0.018 between documents."""
    of = items(documents, 2)
    each = {item.group: worth_to_base + 0.018 * rng.normal() for item in of}
    own = {item.id: 1.4 for item in of}
    base = {item.id: each[item.group] + 0.03 * rng.normal() for item in of}
    tuned = {id: kept * value + 0.01 * rng.normal() for id, value in base.items()}
    of_rows = [(f"train:{d}-{n}", f"{d}", 0.018 * rng.normal()) for d in range(20) for n in range(2)]

    def runs(name: str) -> Any:
        return SimpleNamespace(name=name, likelihoods=tuple(likelihood(id, value) for id, value in own.items()))

    said = {
        "base": tuple(likelihood(f"{id}#0", 1.4 + value) for id, value in base.items()),
        "tuned": tuple(likelihood(f"{id}#0", 1.4 + value) for id, value in tuned.items()),
    }
    probes = {
        OTHER_QUESTION: said,
        TAUGHT: {
            "base": tuple(
                likelihood(f"{id}#{group}#{at}", 1.4 + (of_training + noise + 0.03 * rng.normal() if at else 0.0))
                for id, group, noise in of_rows
                for at in (0, 1, 2)
            )
        },
    }
    systems = {name: runs(name) for name in ("base", "tuned")}
    given: Any = SimpleNamespace(items=of, probes=probes, system=systems.get)
    question = question_worth(given, How(draws=300), share=0.6)
    return _finding(cast("Any", SimpleNamespace(question=question, min_documents=6)), _taught(question)).state


def test_every_training_row_is_put_under_a_question_of_another_document_in_whatever_order_they_come() -> None:
    rows = [
        Example(
            id=f"r{n}",
            messages=(Message(role="user", content=f"What of {n}?"), Message(role="assistant", content=f"Number {n}.")),
            document_id=f"d{n // 2}",
            group=f"d{n // 2}",
            source="s",
        )
        for n in range(8)
    ]
    found = probe_items(items(4, 1), rows)[TAUGHT]
    asked = {row.prompt: row.group for row in rows}
    assert len(found) == 24 and {taught_of(one.id).row for one in found} == {f"train:{row.id}" for row in rows}
    assert all((asked[one.prompt] == one.group) == taught_of(one.id).is_own for one in found)
    assert len({taught_of(one.id).document for one in found}) == 4
    assert set(probe_items(items(4, 1), rows[::-1])[TAUGHT]) == set(found)
    assert TAUGHT not in probe_items(items(4, 1), rows[:2])  # of one document
