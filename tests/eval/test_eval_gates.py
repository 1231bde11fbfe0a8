"""Promises of the verdict. Every gate has its planted faults: what must fail fails, what was not measured is no pass."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from evidence_fakes import evidence, general, items, likelihood, parity, served, system

from tunesmith.core.records import FinishReason
from tunesmith.eval.gates import Gate, Verdict, decide
from tunesmith.eval.measure import measure
from tunesmith.eval.results import Evidence, GeneralResult, Limit, ParityResult, SystemRun
from tunesmith.models.use import Use
from tunesmith.pipeline.sections.eval import GateConfig

RULES = GateConfig()
GOOD: dict[str, float] = {"base": 1.4, "prompted": 1.3, "tuned": 1.1, "merged": 1.1001}


def judged(
    bits: dict[str, float] | None = None,
    *,
    rules: GateConfig = RULES,
    with_parity: ParityResult | None = parity(),  # noqa: B008
    with_general: GeneralResult | None = None,
    with_served: ParityResult | None = served(),  # noqa: B008
    documents: int = 10,
    each: int = 3,
    ended: float = 1.0,
    primary: str = "bits_per_byte",
) -> Verdict:
    made = evidence(
        bits or GOOD,
        documents=documents,
        each=each,
        ended=ended,
        with_parity=with_parity,
        with_general=with_general or general(),
        with_served=with_served,
    )
    baselines = ["prompted"] if "prompted" in (bits or GOOD) else []
    return decide(measure(made, draws=1000, primary=primary), rules, baselines=baselines)


def gate(verdict: Verdict, name: str) -> Gate:
    return next(g for g in verdict.gates if g.name == name)


def test_a_model_that_passes_every_gate_ships() -> None:
    verdict = judged()
    assert (verdict.verdict, verdict.exit_code) == ("SHIP", 0)
    assert {g.name: g.outcome for g in verdict.gates} == dict.fromkeys(
        ["primary", "beats_prompt", "parity", "served", "stop", "answers", "general"], "pass"
    )
    assert "better" in verdict.sentence
    assert verdict.not_measured == ("safety",)


def test_a_model_worse_than_the_base_does_not_ship() -> None:
    verdict = judged({"base": 1.2, "tuned": 1.4})
    assert (verdict.verdict, verdict.exit_code, gate(verdict, "primary").outcome) == ("DON'T SHIP", 2, "fail")


def test_a_gain_within_the_margin_does_not_ship() -> None:
    verdict = judged({"base": 1.4, "tuned": 1.1}, rules=GateConfig(primary_margin=0.9))
    assert gate(verdict, "primary").outcome == "fail"


def test_a_difference_that_may_be_chance_cannot_be_told() -> None:
    verdict = judged({"base": 1.4, "tuned": 1.39})
    primary = gate(verdict, "primary")
    assert (verdict.verdict, verdict.exit_code, primary.outcome) == ("CAN'T TELL", 3, "not measured")
    assert "includes no improvement" in primary.evidence
    assert "whether tuning helped" in verdict.not_measured


def test_too_few_documents_cannot_be_told_however_large_the_gain() -> None:
    verdict = judged({"base": 1.4, "tuned": 0.4}, documents=4, each=10)
    assert verdict.verdict == "CAN'T TELL"
    assert "4 test documents" in gate(verdict, "primary").evidence


def test_five_documents_can_never_show_enough_and_six_can() -> None:
    five = judged({"base": 1.4, "tuned": 0.9}, documents=5, each=8)
    assert five.verdict == "CAN'T TELL"
    assert "5 test documents are too few" in gate(five, "primary").evidence
    trusting = GateConfig(min_documents=2)
    allowed = judged({"base": 1.4, "tuned": 0.9}, documents=5, each=8, rules=trusting)
    assert "p cannot fall below 0.0625" in gate(allowed, "primary").evidence
    assert judged({"base": 1.4, "tuned": 0.9}, documents=6, each=8).verdict == "SHIP"


def test_one_of_six_documents_that_does_not_gain_leaves_it_open() -> None:
    of = items(6, 8)
    base, tuned = system("base", of, bits=1.4, noise=0.001), system("tuned", of, bits=0.9, noise=0.001)
    worse = tuple(likelihood(x.item_id, 1.41) if x.item_id.startswith("d0-") else x for x in tuned.likelihoods)
    made = Evidence(items=of, systems=(base, replace(tuned, likelihoods=worse)), parity=parity(), general=None)
    verdict = decide(measure(made), RULES)
    assert gate(verdict, "primary").outcome == "not measured"
    assert verdict.verdict == "CAN'T TELL"


def test_a_prompt_that_does_as_well_stops_the_fine_tuning() -> None:
    verdict = judged({"base": 1.6, "prompted": 1.0, "tuned": 1.3})
    assert (verdict.verdict, gate(verdict, "beats_prompt").outcome) == ("DON'T SHIP", "fail")
    assert verdict.sentence.startswith("Don't fine-tune, a prompt is enough")
    assert gate(verdict, "primary").outcome == "pass"


def test_a_prompt_that_may_do_as_well_leaves_it_open() -> None:
    verdict = judged({"base": 1.6, "prompted": 1.2, "tuned": 1.205})
    assert (verdict.verdict, gate(verdict, "beats_prompt").outcome) == ("CAN'T TELL", "not measured")


def test_a_prompted_baseline_that_was_asked_for_and_not_run_is_no_pass() -> None:
    made = evidence({"base": 1.4, "tuned": 1.1}, with_parity=parity())
    verdict = decide(measure(made, draws=500), RULES, baselines=["prompted"])
    assert (verdict.verdict, gate(verdict, "beats_prompt").outcome) == ("CAN'T TELL", "not measured")
    assert decide(measure(made, draws=500), RULES).verdict == "SHIP"


@pytest.mark.parametrize("broken", [parity(max_abs_logit=0.5), parity(top1=0.98), parity(max_abs_logit=math.nan)])
def test_a_merged_model_that_differs_stops_the_release(broken: ParityResult) -> None:
    verdict = judged(with_parity=broken)
    assert (verdict.verdict, gate(verdict, "parity").outcome) == ("DON'T SHIP", "fail")


def test_tuned_answers_made_without_the_adapter_stop_the_release_though_the_logits_agree() -> None:
    verdict = judged(with_parity=replace(parity(), greedy_equal=0))
    assert (verdict.verdict, gate(verdict, "parity").outcome) == ("DON'T SHIP", "fail")
    assert "0 of 30 greedy answers equal" in gate(verdict, "parity").evidence
    assert "greedy answers" in gate(verdict, "parity").rule


@pytest.mark.parametrize(
    ("equal", "total", "outcome"),
    [(27, 30, "pass"), (26, 30, "fail"), (5, 6, "pass"), (4, 6, "fail"), (0, 0, "not measured")],
)
def test_one_greedy_answer_in_ten_may_differ_by_rounding(equal: int, total: int, outcome: str) -> None:
    found = replace(parity(), greedy_equal=equal, greedy_total=total)
    assert gate(judged(with_parity=found), "parity").outcome == outcome


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
    assert found.outcome == outcome
    assert changes.get("stored", "bfloat16") in found.rule and all(d in found.evidence for d in changes.get("differences", ()))


@pytest.mark.parametrize(
    "faulty", [served(mean_kl=0.5), replace(served(), greedy_begun=3), replace(served(), top1_agreement=0.9)]
)
def test_a_model_that_serving_changes_is_reported_and_does_not_decide(faulty: ParityResult) -> None:
    verdict = judged(with_served=faulty)
    assert (verdict.verdict, gate(verdict, "served").outcome) == ("SHIP", "fail")
    assert not gate(verdict, "served").required and "bfloat16" in gate(verdict, "served").evidence


@pytest.mark.parametrize("nothing", [None, replace(served(), num_positions=0), replace(served(), greedy_total=0)])
def test_a_model_that_was_not_opened_as_served_is_not_measured_and_said(nothing: ParityResult | None) -> None:
    verdict = judged(with_served=nothing)
    assert gate(verdict, "served").outcome == "not measured"
    assert "what opening the merged model in 16 bits costs" in verdict.not_measured


def test_limits_set_in_the_recipe_take_the_place_of_the_table() -> None:
    rules = GateConfig(parity_logit=1e-6, parity_top1=0.5)
    assert gate(judged(rules=rules), "parity").outcome == "fail"
    assert gate(judged(rules=rules, with_parity=parity(1e-7, 0.6)), "parity").outcome == "pass"


def test_parity_that_nobody_measured_is_no_pass() -> None:
    assert judged(with_parity=None).verdict == "CAN'T TELL"
    assert gate(judged(with_parity=replace(parity(), num_positions=0)), "parity").outcome == "not measured"


def test_a_model_that_does_not_stop_does_not_ship() -> None:
    verdict = judged(ended=0.5)
    assert (verdict.verdict, gate(verdict, "stop").outcome) == ("DON'T SHIP", "fail")
    assert gate(verdict, "stop").value == 0.5


@pytest.mark.parametrize("said", ["", " \n", "…"])
def test_a_model_that_answers_without_a_word_does_not_ship(said: str) -> None:
    made = evidence(GOOD, with_parity=parity(), with_general=general())
    tuned = next(s for s in made.systems if s.name == "tuned")
    silent = replace(tuned, generations=tuple(replace(g, text=said) for g in tuned.generations))
    made = replace(made, systems=tuple(silent if s.name == "tuned" else s for s in made.systems))
    verdict = decide(measure(made, draws=500), RULES, baselines=["prompted"])
    assert (verdict.verdict, gate(verdict, "stop").outcome) == ("DON'T SHIP", "fail")
    assert "0 cut, 30 empty" in gate(verdict, "stop").evidence


def test_the_stop_gate_looks_at_the_share_and_prints_its_interval_beside_it() -> None:
    stop = gate(judged(ended=0.9), "stop")
    assert stop.outcome == "pass" and stop.value == 0.9
    assert "27 of 30 answers ended by themselves (90 % [" in stop.evidence and "the share itself" in stop.rule


def test_an_interval_that_includes_the_margin_and_not_zero_is_said_to_include_the_margin() -> None:
    rules = GateConfig(primary_margin=0.3)
    primary = gate(judged({"base": 1.4, "tuned": 1.1}, rules=rules), "primary")
    assert primary.outcome == "not measured" and primary.margin == 0.3
    assert "includes the margin of 0.3" in primary.evidence and "no improvement" not in primary.evidence


def test_stopping_in_too_few_answers_is_no_pass() -> None:
    assert gate(judged(each=1), "stop").outcome == "not measured"
    assert gate(judged(each=1, ended=0.2), "stop").outcome == "fail"


def with_answers(texts: Sequence[str], *, of: str = "tuned", reason: FinishReason = "stop", draws: int = 3) -> Evidence:
    """Good evidence in which the system named `of` gives `texts` in turn, `draws` times to each question."""
    made = evidence(GOOD, with_parity=parity(), with_general=general(), draws=draws)

    def changed(run: SystemRun) -> SystemRun:
        said = (replace(g, text=texts[n % len(texts)], finish_reason=reason) for n, g in enumerate(run.generations))
        return replace(run, generations=tuple(said))

    return replace(made, systems=tuple(changed(s) if s.name == of else s for s in made.systems))


def decided(made: Evidence, rules: GateConfig = RULES) -> Verdict:
    return decide(measure(made, draws=500), rules, baselines=["prompted"])


LOOP = "There is no hurry about the kettle. " * 8


def test_a_model_that_says_one_sentence_again_and_again_does_not_ship_though_its_bits_per_byte_fell() -> None:
    verdict = decided(with_answers([LOOP]))
    answers = gate(verdict, "answers")
    assert (verdict.verdict, answers.outcome, gate(verdict, "primary").outcome) == ("DON'T SHIP", "fail", "pass")
    assert "100 % of the tuned model's answers loop, 0 % of the base's (+100 points" in answers.evidence
    assert verdict.sentence.startswith("The primary metric improved, but the answers got worse.") and "loop" in verdict.sentence


def test_a_model_that_gives_one_answer_to_every_question_does_not_ship() -> None:
    verdict = decided(with_answers(["It depends on the kettle."]))
    assert (verdict.verdict, gate(verdict, "answers").outcome, gate(verdict, "stop").outcome) == ("DON'T SHIP", "fail", "pass")
    assert "100 % of the tuned model's answers repeat the answer to another question" in gate(verdict, "answers").evidence


def test_a_model_that_loops_no_more_than_its_base_passes_the_gate_of_answers() -> None:
    tuned, base = with_answers([LOOP]), with_answers([LOOP], of="base")
    systems = tuple(next(s for s in base.systems if s.name == "base") if s.name == "base" else s for s in tuned.systems)
    found = measure(replace(tuned, systems=systems), draws=500)
    answers = gate(decide(found, RULES), "answers")
    assert "100 % of the tuned model's answers loop, 100 % of the base's" in answers.evidence
    assert gate(decided(with_answers(["It depends."], of="base")), "answers").outcome == "pass"


def test_labels_that_are_the_same_for_many_questions_are_no_collapse() -> None:
    made = with_answers(["yes", "no"])
    items = tuple(replace(item, reference=("yes", "no")[n % 2]) for n, item in enumerate(made.items))
    answers = gate(decided(replace(made, items=items)), "answers")
    assert answers.outcome == "pass" and "100 % of the references" in answers.evidence


def test_a_few_loops_in_a_small_test_set_leave_it_open_and_a_wider_margin_lets_them_pass() -> None:
    tuned = with_answers([f"{LOOP} {n}" * 2 if n < 12 else f"A word about rust {n}." for n in range(90)])
    assert gate(decided(tuned), "answers").outcome == "not measured"
    assert gate(decided(tuned, GateConfig(loop_margin=0.6)), "answers").outcome == "pass"
    many = with_answers([f"{LOOP} {n}" * 2 if n < 60 else f"A word about rust {n}." for n in range(90)])
    assert gate(decided(many), "answers").outcome == "fail"


def test_a_limit_that_the_references_cannot_meet_makes_stopping_not_measured() -> None:
    cut = with_answers(["The kettle and"], reason="length")
    short = decided(replace(cut, limit=Limit(max_new_tokens=16, too_long=28, num_references=30)))
    assert gate(short, "stop").outcome == "not measured" and gate(cut_verdict := decided(cut), "stop").outcome == "fail"
    assert "28 of 30 references need more than the limit of 16 tokens" in gate(short, "stop").evidence
    assert "eval.max_new_tokens=auto" in gate(short, "stop").evidence and cut_verdict.verdict == "DON'T SHIP"
    enough = decided(replace(cut, limit=Limit(max_new_tokens=64, too_long=2, num_references=30)))
    assert gate(enough, "stop").outcome == "fail"


def test_the_stop_gate_goes_by_the_settings_of_use_and_greedy_answers_stand_beside_it() -> None:
    made = with_answers(["The kettle ended."])
    endless = tuple(replace(g, text=LOOP, finish_reason="length", draw=None) for g in made.systems[2].generations[::3])
    use = Use(temperature=0.7, top_p=0.9, repetition_penalty=1.1, draws=3, seed=7)
    tuned = replace(made.systems[2], greedy=endless)
    made = replace(made, use=use, systems=tuple(tuned if s.name == "tuned" else s for s in made.systems))
    stop = gate(decided(made), "stop")
    assert stop.outcome == "pass" and "90 of 90 answers" in stop.evidence and stop.evidence.endswith("for comparison, 0 %")


def test_a_tuned_model_without_answers_is_not_measured() -> None:
    made = evidence(GOOD, with_parity=parity())
    silent = tuple(replace(s, generations=()) if s.name == "tuned" else s for s in made.systems)
    verdict = decide(measure(replace(made, systems=silent), draws=500), RULES)
    assert (verdict.verdict, gate(verdict, "stop").outcome) == ("CAN'T TELL", "not measured")


def test_losing_general_skills_is_shown_and_does_not_decide() -> None:
    assert gate(judged(with_general=general(0.5)), "general").outcome == "fail"
    assert judged(with_general=general(0.5)).verdict == "SHIP"
    assert gate(judged(with_general=general(0.1, spread=0.2)), "general").outcome == "not measured"
    verdict = decide(measure(evidence(GOOD, with_parity=parity()), draws=500), RULES)
    assert gate(verdict, "general").outcome == "not measured"
    assert "general skills" in verdict.not_measured


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
    assert gate(verdict, "primary").outcome == "pass"
    assert gate(verdict, "equal_length").outcome == "fail"


def test_without_a_tuned_model_nothing_can_be_told() -> None:
    verdict = decide(measure(evidence({"base": 1.4}), draws=200), RULES)
    assert (verdict.verdict, verdict.exit_code) == ("CAN'T TELL", 3)


def shipped(documents: int, *, repetitions: int, rules: GateConfig = RULES, one_group_an_item: bool = False) -> float:
    """How often a tuned model ships that is, in truth, as good as the base."""
    of = items(documents, 4)
    if one_group_an_item:
        of = tuple(replace(item, group=item.id) for item in of)
    count = 0
    template = {name: system(name, of, bits=1.3) for name in ("base", "tuned")}
    for number in range(repetitions):
        rng = np.random.default_rng([number, documents])
        systems = []
        for name, run in template.items():
            level = {item.id.split("-")[0]: 0.1 * rng.normal() for item in of}
            rows = tuple(likelihood(i.id, 1.3 + level[i.id.split("-")[0]] + 0.1 * rng.normal()) for i in of)
            systems.append(replace(run, likelihoods=rows, generations=template[name].generations))
        made = Evidence(items=of, systems=tuple(systems), parity=parity(), general=None)
        count += decide(measure(made, draws=400, seed=number // 50), rules).verdict == "SHIP"
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
