"""Promises of the verdict. Every gate has its planted faults: what must fail fails, what was not measured is no pass."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from evidence_fakes import evidence, general, items, likelihood, parity, served, suite_answers, system
from judging_fakes import GOOD, RULES, decided, gate, judged

from tunesmith.eval.gates import ALWAYS, gate_names
from tunesmith.eval.measure import Measurements, measure
from tunesmith.eval.report import evaluation_report
from tunesmith.eval.results import Evidence, ParityResult, SystemRun
from tunesmith.eval.suites.answered import SuiteAnswers
from tunesmith.eval.verdict import Gate, decide
from tunesmith.pipeline.sections.eval import GateConfig
from tunesmith.systems.registry import by_role


def test_a_model_that_passes_every_gate_ships() -> None:
    verdict = judged()
    assert (verdict.verdict, verdict.exit_code) == ("SHIP", 0)
    assert {g.name: g.state for g in verdict.gates if g.name != "safety"} == dict.fromkeys(
        [
            "better",
            "beats_prompt",
            "answers_the_question",
            "general",
            "general_text",
            "not_collapsed",
            "not_recited",
            "stop",
            "parity",
            "served",
        ],
        "pass",
    )
    assert "better" in verdict.sentence
    cheaper = ", ".join(kind.name for kind in by_role("baseline") if kind.name != "prompted")
    assert verdict.not_measured == ("safety", f"whether other cheaper alternatives would be enough ({cheaper})")


def test_a_model_worse_than_the_base_does_not_ship() -> None:
    verdict = judged({"base": 1.2, "tuned": 1.4})
    assert (verdict.verdict, verdict.exit_code, gate(verdict, "better").state) == ("DON'T SHIP", 2, "fail")


def test_a_gain_within_the_margin_does_not_ship() -> None:
    verdict = judged({"base": 1.4, "tuned": 1.1}, rules=GateConfig(better_margin=0.9))
    assert gate(verdict, "better").state == "fail"


def test_a_difference_that_may_be_chance_cannot_be_told() -> None:
    verdict = judged({"base": 1.4, "tuned": 1.37})
    primary = gate(verdict, "better")
    assert (verdict.verdict, verdict.exit_code, primary.state) == ("CAN'T TELL", 3, "not measured")
    assert "includes the margin of 0.02" in primary.evidence
    assert "whether tuning helped" in verdict.not_measured


def test_too_few_documents_cannot_be_told_however_large_the_gain() -> None:
    verdict = judged({"base": 1.4, "tuned": 0.4}, documents=4, each=10)
    assert verdict.verdict == "CAN'T TELL"
    assert "4 test documents" in gate(verdict, "better").evidence


def test_five_documents_can_never_show_enough_and_six_can() -> None:
    five = judged({"base": 1.4, "tuned": 0.9}, documents=5, each=8)
    assert five.verdict == "CAN'T TELL"
    assert "5 test documents are too few" in gate(five, "better").evidence
    trusting = GateConfig(min_documents=2)
    allowed = judged({"base": 1.4, "tuned": 0.9}, documents=5, each=8, rules=trusting)
    assert "p cannot fall below 0.0625" in gate(allowed, "better").evidence
    assert judged({"base": 1.4, "tuned": 0.9}, documents=6, each=8).verdict == "SHIP"


def test_one_of_six_documents_that_does_not_gain_leaves_it_open() -> None:
    of = items(6, 8)
    base, tuned = system("base", of, bits=1.4, noise=0.001), system("tuned", of, bits=0.9, noise=0.001)
    worse = tuple(likelihood(x.item_id, 1.41) if x.item_id.startswith("d0-") else x for x in tuned.likelihoods)
    made = Evidence(items=of, systems=(base, replace(tuned, likelihoods=worse)), parity=parity(), general=None)
    verdict = decide(measure(made), RULES)
    assert gate(verdict, "better").state == "not measured"
    assert verdict.verdict == "CAN'T TELL"


def test_a_prompt_that_does_as_well_stops_the_fine_tuning() -> None:
    verdict = judged({"base": 1.6, "prompted": 1.0, "tuned": 1.3})
    assert (verdict.verdict, gate(verdict, "beats_prompt").state) == ("DON'T SHIP", "fail")
    assert verdict.sentence.startswith("Don't fine-tune, a prompt is enough")
    assert gate(verdict, "better").state == "pass"


def test_a_prompt_that_may_do_as_well_leaves_it_open() -> None:
    verdict = judged({"base": 1.6, "prompted": 1.2, "tuned": 1.205})
    assert (verdict.verdict, gate(verdict, "beats_prompt").state) == ("CAN'T TELL", "not measured")


def test_a_prompted_baseline_that_was_asked_for_and_not_run_is_no_pass() -> None:
    made = evidence({"base": 1.4, "tuned": 1.1}, with_parity=parity())
    verdict = decide(measure(made, draws=500), RULES, baselines=["prompted"])
    assert (verdict.verdict, gate(verdict, "beats_prompt").state) == ("CAN'T TELL", "not measured")
    made = replace(made, general=general())
    assert decide(measure(made, draws=500), RULES).verdict == "SHIP"


@pytest.mark.parametrize("broken", [parity(max_abs_logit=0.5), parity(top1=0.98), parity(max_abs_logit=math.nan)])
def test_a_merged_model_that_differs_stops_the_release(broken: ParityResult) -> None:
    verdict = judged(with_parity=broken)
    assert (verdict.verdict, gate(verdict, "parity").state) == ("DON'T SHIP", "fail")


def test_tuned_answers_made_without_the_adapter_stop_the_release_though_the_logits_agree() -> None:
    verdict = judged(with_parity=replace(parity(), greedy_equal=0))
    assert (verdict.verdict, gate(verdict, "parity").state) == ("DON'T SHIP", "fail")
    assert "0 of 30 greedy answers equal" in gate(verdict, "parity").evidence
    assert "greedy answers" in gate(verdict, "parity").rule


@pytest.mark.parametrize(
    ("equal", "total", "outcome"),
    [(27, 30, "pass"), (26, 30, "fail"), (5, 6, "pass"), (4, 6, "fail"), (0, 0, "not measured")],
)
def test_one_greedy_answer_in_ten_may_differ_by_rounding(equal: int, total: int, outcome: str) -> None:
    found = replace(parity(), greedy_equal=equal, greedy_total=total)
    assert gate(judged(with_parity=found), "parity").state == outcome


ROUNDED = replace(parity(0.3, 0.985), mean_kl=4e-4, stored="bfloat16", as_summed=1.0, greedy_equal=9, greedy_begun=24)


@pytest.mark.parametrize(
    ("changes", "outcome"),
    [
        ({}, "pass"),
        ({"as_summed": 0.98}, "fail"),  # a scale that is off by a hundredth
        ({"as_summed": None}, "fail"),
        ({"mean_kl": 0.1}, "fail"),
        ({"mean_kl": math.nan}, "fail"),
        ({"top1_agreement": 0.9}, "fail"),
        ({"greedy_begun": 14}, "fail"),  # answers that were made without the adapter
        ({"max_abs_logit": math.inf}, "pass"),
        ({"stored": "float16"}, "fail"),  # the same rounding is too much for a finer type
        ({"stored": "float32"}, "fail"),
        ({"differences": ("config.json: rope_theta is nothing, in the base 100000.0",)}, "fail"),
    ],
)
def test_weights_rounded_to_16_bits_have_limits_of_their_own(changes: dict[str, Any], outcome: str) -> None:
    found = gate(judged(with_parity=replace(ROUNDED, **changes)), "parity")
    assert found.state == outcome
    assert changes.get("stored", "bfloat16") in found.rule and all(d in found.evidence for d in changes.get("differences", ()))


@pytest.mark.parametrize(
    "faulty", [served(mean_kl=0.5), replace(served(), greedy_begun=3), replace(served(), top1_agreement=0.9)]
)
def test_a_model_that_serving_changes_is_reported_and_does_not_decide(faulty: ParityResult) -> None:
    verdict = judged(with_served=faulty)
    assert (verdict.verdict, gate(verdict, "served").state) == ("SHIP", "fail")
    assert not gate(verdict, "served").required and "bfloat16" in gate(verdict, "served").evidence


@pytest.mark.parametrize("nothing", [None, replace(served(), num_positions=0), replace(served(), greedy_total=0)])
def test_a_model_that_was_not_opened_as_served_is_not_measured_and_said(nothing: ParityResult | None) -> None:
    verdict = judged(with_served=nothing)
    assert gate(verdict, "served").state == "not measured"
    assert "what opening the merged model in 16 bits costs" in verdict.not_measured


def test_limits_set_in_the_recipe_take_the_place_of_the_table() -> None:
    rules = GateConfig(parity_logit=1e-6, parity_top1=0.5)
    assert gate(judged(rules=rules), "parity").state == "fail"
    assert gate(judged(rules=rules, with_parity=parity(1e-7, 0.6)), "parity").state == "pass"


def test_parity_that_nobody_measured_is_no_pass() -> None:
    assert judged(with_parity=None).verdict == "CAN'T TELL"
    assert gate(judged(with_parity=replace(parity(), num_positions=0)), "parity").state == "not measured"


def test_a_model_that_does_not_stop_does_not_ship() -> None:
    verdict = judged(ended=0.5)
    assert (verdict.verdict, gate(verdict, "stop").state) == ("DON'T SHIP", "fail")
    assert gate(verdict, "stop").value == -0.5 and "15 of 30 answers" in gate(verdict, "stop").evidence


@pytest.mark.parametrize("said", ["", " \n", "…"])
def test_a_model_that_answers_without_a_word_does_not_ship(said: str) -> None:
    made = evidence(GOOD, with_parity=parity(), with_general=general())
    tuned = next(s for s in made.systems if s.name == "tuned")
    silent = replace(tuned, generations=tuple(replace(g, text=said) for g in tuned.generations))
    made = replace(made, systems=tuple(silent if s.name == "tuned" else s for s in made.systems))
    verdict = decide(measure(made, draws=500), RULES, baselines=["prompted"])
    assert (verdict.verdict, gate(verdict, "stop").state) == ("DON'T SHIP", "fail")
    assert "0 cut, 30 empty" in gate(verdict, "stop").evidence


def test_a_model_that_ends_a_little_less_often_than_the_base_cannot_be_told_with_few_documents() -> None:
    stop = gate(judged(ended=0.9), "stop")
    assert stop.state == "not measured" and stop.value == pytest.approx(-0.1) and stop.interval is not None
    assert "27 of 30 answers ended by themselves (90 % [" in stop.evidence and "−10 points" in stop.evidence
    assert gate(judged(ended=0.9, rules=GateConfig(stop_margin=0.5)), "stop").state == "pass"


def test_a_model_that_ends_as_seldom_as_its_base_passes_with_a_warning_and_one_that_never_ends_fails() -> None:
    def both(share: float) -> Gate:
        of = items(10, 3)
        runs = (system("base", of, bits=1.4, ended=share), system("tuned", of, bits=1.1, ended=share, seed=1))
        return gate(decided(Evidence(items=of, systems=runs, parity=parity(), general=general())), "stop")

    assert both(0.7).state == "pass" and "only 70 % of the answers end by themselves" in both(0.7).warning
    assert both(0.1).state == "fail"


def test_an_interval_that_includes_the_margin_and_not_zero_is_said_to_include_the_margin() -> None:
    rules = GateConfig(better_margin=0.3)
    primary = gate(judged({"base": 1.4, "tuned": 1.1}, rules=rules), "better")
    assert primary.state == "not measured" and primary.threshold == 0.3
    assert "includes the margin of 0.3" in primary.evidence and "no improvement" not in primary.evidence


def test_stopping_in_too_few_answers_is_no_pass() -> None:
    assert gate(judged(each=1), "stop").state == "not measured"
    assert gate(judged(each=1, ended=0.2), "stop").state == "fail"


def test_a_model_that_forgot_general_text_does_not_ship() -> None:
    assert gate(judged(with_general=general(0.5)), "general_text").state == "fail"
    assert judged(with_general=general(0.5)).verdict == "DON'T SHIP"
    assert gate(judged(with_general=general(0.2, spread=0.2)), "general_text").state == "not measured"
    assert "general text costs 0.15 bits per byte more" in gate(judged(with_general=general(0.15)), "general_text").warning
    verdict = decide(measure(evidence(GOOD, with_parity=parity()), draws=500), RULES)
    assert gate(verdict, "general_text").state == "not measured"
    assert "likelihood of general text" in verdict.not_measured


@pytest.mark.parametrize(
    ("answers", "state", "words"),
    [
        (suite_answers(), "pass", "no question was lost"),
        (suite_answers(lost=0.01), "pass", ""),
        (suite_answers(lost=0.5), "fail", "most lost:"),
        (suite_answers(lost=0.08), "not measured", "the interval includes the limit"),
        (suite_answers(0.5, 0.2, chance=True), "not measured", "not more than by guessing"),
        (suite_answers(0.5, 0.5, chance=True), "not measured", "not measurable with this base"),
        (suite_answers(0.0, 0.0), "not measured", "not measurable with this base"),
    ],
)
def test_general_questions_that_were_lost_decide_in_three_values(answers: SuiteAnswers, state: str, words: str) -> None:
    made = replace(evidence(GOOD, with_parity=parity(), with_general=general()), suites=(answers,))
    verdict = decided(made)
    assert gate(verdict, "general").state == state and words in gate(verdict, "general").evidence
    assert verdict.verdict == {"pass": "SHIP", "fail": "DON'T SHIP", "not measured": "CAN'T TELL"}[state]


def test_a_loss_of_general_questions_that_is_not_excluded_is_warned_of_in_the_sentence() -> None:
    made = replace(evidence(GOOD, with_parity=parity(), with_general=general()), suites=(suite_answers(lost=0.01),))
    assert (
        "general questions: −" in gate(decided(made), "general").warning and "Note: general questions" in decided(made).sentence
    )


def test_a_failed_gate_outweighs_one_that_was_not_measured() -> None:
    assert judged(with_parity=None, ended=0.1).verdict == "DON'T SHIP"


def test_a_gain_by_length_alone_shows_in_the_advisory_gate() -> None:
    of = items(10, 3)
    short, long = system("base", of, bits=1.4), system("tuned", of, bits=1.4, seed=1)
    texts = {item.id: item.reference.split() for item in of}
    # the base says three words of the reference; the tuned model says the same three, then a long tail that holds the rest
    base = replace(short, generations=tuple(replace(g, text=" ".join(texts[g.item_id][:3])) for g in short.generations))
    tail = "filler " * 30
    padded = tuple(
        replace(g, text=" ".join(texts[g.item_id][:3]) + f" {tail}" + " ".join(texts[g.item_id])) for g in long.generations
    )
    made = Evidence(items=of, systems=(base, replace(long, generations=padded)), parity=parity(), general=None)
    verdict = decide(measure(made, primary="word_overlap", draws=1000), RULES)
    assert gate(verdict, "better").state == "pass"
    assert gate(verdict, "equal_length").state == "fail"


def test_a_gate_that_the_recipe_loosened_or_made_advisory_is_marked_in_the_verdict() -> None:
    rules = GateConfig(stop_margin=1.0, better_margin=0.0, advisory=["general_text"])
    verdict = judged(rules=rules, with_general=general(0.5))
    assert verdict.verdict == "SHIP" and not gate(verdict, "general_text").required
    assert gate(verdict, "general_text").loosened == "made advisory by the recipe"
    assert gate(verdict, "stop").loosened == "gates.stop_margin is 1, by default 0.1"
    assert "The recipe made better, general text and stop easier to pass than by default." in verdict.sentence
    assert not any(g.loosened for g in judged(rules=GateConfig(stop_margin=0.05, better_margin=0.05)).gates)


def test_without_a_tuned_model_nothing_can_be_told() -> None:
    verdict = decide(measure(evidence({"base": 1.4}), draws=200), RULES)
    assert (verdict.verdict, verdict.exit_code) == ("CAN'T TELL", 3)


ALONE = GateConfig(advisory=[name for name in gate_names() if name != ALWAYS])
"""The gate of the gain decides alone: what the draws do not change need not be judged again at each of them."""


def shipped(documents: int, *, repetitions: int, one_group_an_item: bool = False) -> float:
    """How often a tuned model ships that is, in truth, as good as the base."""
    of = items(documents, 4)
    if one_group_an_item:
        of = tuple(replace(item, group=item.id) for item in of)
    count = 0
    template = {name: replace(system(name, of, bits=1.3), generations=()) for name in ("base", "tuned")}
    for number in range(repetitions):
        rng = np.random.default_rng([number, documents])
        systems = []
        for run in template.values():
            level = {item.id.split("-")[0]: 0.1 * rng.normal() for item in of}
            rows = tuple(likelihood(i.id, 1.3 + level[i.id.split("-")[0]] + 0.1 * rng.normal()) for i in of)
            systems.append(replace(run, likelihoods=rows))
        made = Evidence(items=of, systems=tuple(systems), parity=parity(), general=None)
        count += decide(measure(made, draws=400, seed=number // 50), ALONE).verdict == "SHIP"
    return count / repetitions


def ships_rarely(share: float, repetitions: int) -> bool:
    return share <= 0.025 + 3 * math.sqrt(0.025 * 0.975 / repetitions)


@pytest.mark.slow
@pytest.mark.parametrize("documents", [6, pytest.param(12, marks=pytest.mark.nightly)])
def test_two_equally_good_systems_ship_at_most_one_time_in_forty(documents: int) -> None:
    assert ships_rarely(shipped(documents, repetitions=200), 200)


@pytest.mark.slow
def test_ignoring_the_documents_ships_equally_good_systems_too_often() -> None:
    assert not ships_rarely(shipped(6, repetitions=200, one_group_an_item=True), 200)


def _in_json(base: str, tuned: str) -> Evidence:
    """Good evidence whose references are JSON with two fields; answers of the base, and of the others."""
    made = evidence(GOOD, with_parity=parity(), with_general=general())
    of = tuple(replace(item, reference='{"action": "cancel", "text": "Done."}') for item in made.items)

    def said(run: SystemRun) -> SystemRun:
        text = base if run.name in ("base", "prompted") else tuned
        return replace(run, generations=tuple(replace(one, text=text) for one in run.generations))

    return replace(made, items=of, systems=tuple(said(run) for run in made.systems))


def test_a_field_of_an_answer_in_json_can_decide() -> None:
    wrong, right = '{"action": "stop", "text": "Done."}', '{"action": "cancel", "text": "All done!"}'
    ruled = decide(measure(_in_json(wrong, right), draws=500, primary="json_field:action"), RULES, baselines=["prompted"])
    assert gate(ruled, "better").state == "pass"
    assert "right: action" in gate(ruled, "better").rule
    other = decide(measure(_in_json(wrong, right), draws=500, primary="json_field:text"), RULES, baselines=["prompted"])
    assert gate(other, "better").state == "fail"


def test_equal_answers_in_the_deciding_field_are_no_gain() -> None:
    one, other = '{"action": "cancel", "text": "a"}', '{"action": "cancel", "text": "b"}'
    for primary in ("json_field:action", "field_accuracy", "field_f1"):
        ruled = decide(measure(_in_json(one, other), draws=500, primary=primary), RULES, baselines=["prompted"])
        assert gate(ruled, "better").state != "pass"


def test_the_page_shows_a_primary_metric_of_its_own() -> None:
    made = _in_json('{"action": "stop"}', '{"action": "cancel"}')
    measured = measure(made, draws=500, primary="json_field:action")
    values, page = evaluation_report(made, measured, decide(measured, RULES, baselines=["prompted"]))
    assert values["primary"] == "json_field:action"
    assert values["items"][0]["scores"]["tuned"]["json_field:action"] == 1.0
    assert "right: action" in page
    assert "json_field:action" not in evidence_scores(measure(made, draws=500))


def evidence_scores(found: Measurements) -> list[str]:
    return list(found.systems["tuned"].scores)
