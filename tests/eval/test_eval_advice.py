"""Advice from measurements: the cheapest alternative that is not worse than the best; what is not measured is no reason."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest
from evidence_fakes import evidence

from tunesmith.eval.advice import MeasuredAdvice, advise_by_measurement
from tunesmith.eval.gate import Gate
from tunesmith.eval.measure import measure
from tunesmith.eval.verdict import Verdict

VERDICT = Verdict(verdict="SHIP", exit_code=0, sentence="", gates=(), not_measured=())


def failing(*names: str) -> Verdict:
    gates = tuple(Gate(name=name, required=True, rule="", state="fail", evidence="") for name in names)
    return replace(VERDICT, verdict="DON'T SHIP", exit_code=2, gates=gates)


def advised(
    bits: Mapping[str, float],
    *,
    verdict: Verdict = VERDICT,
    excluded: Mapping[str, str] | None = None,
    margin: float | None = None,
    documents: int = 20,
    noise: float = 0.01,
    without_likelihood: str = "",
) -> MeasuredAdvice:
    found = evidence(bits, documents=documents, noise=noise)
    kept = tuple(replace(run, likelihoods=()) if run.name == without_likelihood else run for run in found.systems)
    found = replace(found, systems=kept)
    return advise_by_measurement(found, measure(found, draws=500), verdict, excluded=excluded or {}, margin=margin)


LADDER = {"base": 2.2, "prompted": 2.1, "few_shot": 2.0, "retrieval": 1.95, "tuned": 1.8, "tuned_retrieval": 1.7}


@pytest.mark.parametrize(
    ("changed", "advice", "system"),
    [
        ({}, "tune + retrieve", "tuned_retrieval"),
        ({"tuned": 1.7}, "tune", "tuned"),
        ({"retrieval": 1.7}, "retrieve", "retrieval"),
        ({"few_shot": 1.7}, "prompt", "few_shot"),
        ({"prompted": 1.6}, "prompt", "prompted"),
        ({"base": 1.5}, "prompt", "base"),
    ],
)
def test_the_cheapest_that_is_not_worse_than_the_best_is_advised(changed: dict[str, float], advice: str, system: str) -> None:
    found = advised({**LADDER, **changed})
    assert (found.advice, found.system, found.sure) == (advice, system, True)
    assert found.reasons[0].startswith(("Base", "Tuned")) and len(found.reasons) == len(LADDER)


def test_a_difference_within_the_margin_is_no_reason_to_tune() -> None:
    within = {"base": 1.81, "tuned": 1.8}
    assert advised(within, noise=0.002).advice == "prompt"
    assert advised(within, noise=0.002, margin=0.001).advice == "tune"
    assert advised({"base": 1.9, "tuned": 1.8}, noise=0.002).advice == "tune"


def test_a_cheaper_one_that_cannot_be_told_from_the_best_makes_the_advice_unsure() -> None:
    """The planted doubt: the interval of the gain includes both nothing and more than the margin."""
    found = advised({"base": 2.2, "retrieval": 1.95, "tuned": 1.8}, noise=0.1, documents=8)
    states = {one.name: one.state for one in found.systems}
    assert states["retrieval"] == "can't tell" and not found.sure
    assert any("whether it is worse is not clear" in reason for reason in found.reasons)


def test_every_reason_for_or_against_comes_with_its_interval() -> None:
    found = advised(LADDER)
    against = [one for one in found.systems if one.state == "worse"]
    assert len(against) == 5 and all(one.gain is not None and one.gain[1] > 0 for one in against)
    assert all("[" in one.reason and "margin" in one.reason for one in against)


def test_too_few_documents_give_no_advice() -> None:
    found = advised(LADDER, documents=5)
    assert (found.advice, found.sure) == (None, False) and "too few" in found.reasons[0]


def test_what_was_not_measured_is_named_with_its_setting_and_is_no_reason() -> None:
    found = advised({"base": 2.2, "tuned": 1.8})
    assert found.advice == "tune"
    told = " ".join(found.not_measured)
    assert "eval.baselines: [retrieval]" in told and "bigger.url" in told and "eval.additions: [tuned_retrieval]" in told
    assert not any(word in " ".join(found.reasons) for word in ("retrieval", "bigger", "examples"))


def test_a_tuned_model_that_failed_another_gate_is_not_advised() -> None:
    found = advised(LADDER, verdict=failing("not_recited"))
    assert found.advice == "retrieve" and any("failed the gate not recited" in reason for reason in found.reasons)
    assert advised(LADDER, verdict=failing("better", "beats_prompt")).advice == "tune + retrieve"


def test_what_the_task_rules_out_is_not_advised_however_good_it_is() -> None:
    cites = {"prompt": "answers must name their sources", "tune": "answers must name their sources"}
    assert advised({**LADDER, "tuned": 1.0}, excluded=cites).advice == "tune + retrieve"
    assert advised({"base": 2.2, "tuned": 1.0}, excluded=cites).reasons == ("Nothing that the task allows was measured.",)


def test_a_bigger_model_without_log_probabilities_is_weighed_by_answers() -> None:
    found = advised({"base": 2.0, "tuned": 1.8, "bigger": 1.0}, without_likelihood="bigger")
    assert found.metric == "rouge_l"
    bigger = {one.name: one for one in found.systems}["bigger"]
    assert bigger.gain is not None and "ROUGE-L" in bigger.reason


def test_the_same_answers_in_twenty_documents_leave_open_what_others_would_get() -> None:
    """Every pair of answers is the same, and the interval holds what other documents could still differ by."""
    found = advised({"base": 2.0, "tuned": 1.8, "bigger": 1.0}, without_likelihood="bigger")
    assert {one.state for one in found.systems[1:]} == {"can't tell"}
    assert all(one.gain is not None and one.gain[1] < 0 < one.gain[2] for one in found.systems[1:])
