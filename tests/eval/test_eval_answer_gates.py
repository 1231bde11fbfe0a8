"""Promises of the gates about answers: loops, one answer for all, recital, shuffled questions, answers that never end."""

from __future__ import annotations

from dataclasses import replace

import pytest
from evidence_fakes import evidence, general, likelihood, parity
from judging_fakes import GOOD, LOOP, RULES, decided, gate, with_answers

from tunesmith.eval.measure import measure
from tunesmith.eval.probes import TRAINING
from tunesmith.eval.results import Limit
from tunesmith.eval.verdict import decide
from tunesmith.models.use import Use
from tunesmith.pipeline.sections.eval import GateConfig


def test_a_model_that_says_one_sentence_again_and_again_does_not_ship_though_its_bits_per_byte_fell() -> None:
    verdict = decided(with_answers([LOOP]))
    answers = gate(verdict, "not_collapsed")
    assert (verdict.verdict, answers.state, gate(verdict, "better").state) == ("DON'T SHIP", "fail", "pass")
    assert "100 % of the tuned model's answers loop, 0 % of the base's (+100 points" in answers.evidence
    assert verdict.sentence.startswith("The primary metric improved, but the answers got worse.") and "loop" in verdict.sentence


def test_a_model_that_gives_one_answer_to_every_question_does_not_ship() -> None:
    verdict = decided(with_answers(["It depends on the kettle."]))
    assert (verdict.verdict, gate(verdict, "not_collapsed").state, gate(verdict, "stop").state) == (
        "DON'T SHIP",
        "fail",
        "pass",
    )
    assert "100 % of the tuned model's answers repeat the answer to another question" in gate(verdict, "not_collapsed").evidence


def test_a_model_that_loops_no_more_than_its_base_passes_the_gate_of_answers() -> None:
    loops = [f"{LOOP} {n}" * 2 for n in range(90)]
    tuned, base = with_answers(loops), with_answers(loops, of="base")
    systems = tuple(next(s for s in base.systems if s.name == "base") if s.name == "base" else s for s in tuned.systems)
    found = measure(replace(tuned, systems=systems), draws=500)
    answers = gate(decide(found, RULES), "not_collapsed")
    assert answers.state == "pass" and "loop more often than the base's (100 %)" in answers.evidence
    assert gate(decided(with_answers(["It depends."], of="base")), "not_collapsed").state == "pass"


def test_labels_that_are_the_same_for_many_questions_are_no_collapse() -> None:
    made = with_answers([("yes", "no")[n // 3 % 2] for n in range(90)])
    items = tuple(replace(item, reference=("yes", "no")[n % 2]) for n, item in enumerate(made.items))
    answers = gate(decided(replace(made, items=items)), "not_collapsed")
    assert answers.state == "pass" and "repeat the answer to another question" in answers.evidence


def test_a_few_loops_in_a_small_test_set_leave_it_open_and_a_wider_margin_lets_them_pass() -> None:
    base = [f"A word about the kettle {n}." for n in range(90)]
    tuned = with_answers([f"{LOOP} {n}" * 2 if n < 12 else f"A word about rust {n}." for n in range(90)], base=base)
    assert gate(decided(tuned), "not_collapsed").state == "not measured"
    assert gate(decided(tuned, GateConfig(loop_margin=0.6)), "not_collapsed").state == "pass"
    many = with_answers([f"{LOOP} {n}" * 2 if n < 60 else f"A word about rust {n}." for n in range(90)])
    assert gate(decided(many), "not_collapsed").state == "fail"


def test_a_limit_that_the_references_cannot_meet_makes_stopping_not_measured() -> None:
    cut = with_answers(["The kettle and"], reason="length")
    short = decided(replace(cut, limit=Limit(max_new_tokens=16, too_long=28, num_references=30)))
    assert gate(short, "stop").state == "not measured" and gate(cut_verdict := decided(cut), "stop").state == "fail"
    assert "28 of 30 references need more than the limit of 16 tokens" in gate(short, "stop").evidence
    assert "eval.max_new_tokens=auto" in gate(short, "stop").evidence and cut_verdict.verdict == "DON'T SHIP"
    enough = decided(replace(cut, limit=Limit(max_new_tokens=64, too_long=2, num_references=30)))
    assert gate(enough, "stop").state == "fail"


def test_the_stop_gate_goes_by_the_settings_of_use_and_greedy_answers_stand_beside_it() -> None:
    made = with_answers(["The kettle ended."])
    endless = tuple(replace(g, text=LOOP, finish_reason="length", draw=None) for g in made.systems[2].generations[::3])
    use = Use(temperature=0.7, top_p=0.9, repetition_penalty=1.1, draws=3, seed=7)
    tuned = replace(made.systems[2], greedy=endless)
    made = replace(made, use=use, systems=tuple(tuned if s.name == "tuned" else s for s in made.systems))
    stop = gate(decided(made), "stop")
    assert stop.state == "pass" and "90 of 90 answers" in stop.evidence and stop.evidence.endswith("for comparison, 0 %")


def test_a_tuned_model_without_answers_is_not_measured() -> None:
    made = evidence(GOOD, with_parity=parity())
    silent = tuple(replace(s, generations=()) if s.name == "tuned" else s for s in made.systems)
    verdict = decide(measure(replace(made, systems=silent), draws=500), RULES)
    assert (verdict.verdict, gate(verdict, "stop").state) == ("CAN'T TELL", "not measured")


def test_a_model_tuned_on_shuffled_questions_does_not_ship_however_large_its_gain() -> None:
    made = evidence(GOOD, with_parity=parity(), with_general=general(), question={"base": 0.1, "tuned": 0.04})
    verdict = decided(made)
    assert (verdict.verdict, gate(verdict, "answers_the_question").state, gate(verdict, "better").state) == (
        "DON'T SHIP",
        "fail",
        "pass",
    )
    assert verdict.sentence.startswith("The primary metric improved, but the answers got worse.")


@pytest.mark.parametrize(
    ("worth", "state"),
    [
        ({"base": 0.1, "tuned": 0.085}, "pass"),
        ({"base": 0.1, "tuned": 0.0605}, "not measured"),  # too near to the limit
        ({"base": 0.0, "tuned": 0.0}, "not measured"),  # the question means nothing to either
        ({"base": 0.0, "tuned": 0.1}, "pass"),
        ({"base": 0.1}, "not measured"),
    ],
)
def test_what_the_right_question_is_worth_decides_in_three_values(worth: dict[str, float], state: str) -> None:
    made = evidence(GOOD, with_parity=parity(), with_general=general(), question=worth)
    assert gate(decided(made), "answers_the_question").state == state


def test_a_model_that_recites_its_training_rows_does_not_ship() -> None:
    learned = [
        f"Of the {word} I have this to say, and I have said it every year since the bench was new." for word in "abcdefgh"
    ]
    made = replace(with_answers(learned), train_answers=tuple(learned))
    verdict = decided(made)
    recited = gate(verdict, "not_recited")
    assert (verdict.verdict, recited.state) == ("DON'T SHIP", "fail")
    assert "100 %" in recited.evidence and "the longest run copied is 20 words" in recited.evidence
    assert gate(decided(replace(made, train_answers=("Another text.",))), "not_recited").state == "pass"


def test_a_gain_on_training_rows_far_above_that_on_test_rows_is_warned_of() -> None:
    rows = {
        "base": tuple(likelihood(f"train:{n}", 1.4) for n in range(9)),
        "tuned": tuple(likelihood(f"train:{n}", 0.2) for n in range(9)),
    }
    made = with_answers(["Rust on the hinge."])
    found = gate(decided(replace(made, probes={**made.probes, TRAINING: rows})), "not_recited")
    assert "training rows gained 1.20 bits per byte" in found.warning


def test_answers_that_got_worse_are_named_in_the_sentence_of_a_gain_in_likelihood() -> None:
    made = evidence(GOOD, with_parity=parity(), with_general=general())
    tuned = next(s for s in made.systems if s.name == "tuned")
    worse = replace(tuned, generations=tuple(replace(g, text=f"{g.text} filler{n}") for n, g in enumerate(tuned.generations)))
    verdict = decided(replace(made, systems=tuple(worse if s.name == "tuned" else s for s in made.systems)))
    assert (
        verdict.verdict == "SHIP"
        and "But its answers got worse in word overlap, cut to the reference's length: −0." in verdict.sentence
    )
