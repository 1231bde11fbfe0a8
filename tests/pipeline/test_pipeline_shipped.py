"""The state of a shipped form, for every pair of verdicts and every result of the comparison with the adapter."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import Any, cast

import numpy as np
from evidence_fakes import evidence
from judging_fakes import GOOD

from tunesmith.eval.evaluate import Measured
from tunesmith.eval.gate import Finding, Gate, State
from tunesmith.eval.judge.evidence import JudgedAnswers
from tunesmith.eval.measure import Comparison, measure
from tunesmith.eval.probes import OTHER_QUESTION, TAUGHT
from tunesmith.eval.results import Evidence, Likelihood
from tunesmith.eval.stats import paired
from tunesmith.eval.verdict import Verdict, VerdictName, decide
from tunesmith.pipeline.exporting import _state
from tunesmith.pipeline.sections.eval import GateConfig
from tunesmith.pipeline.shipped import Shipped, _in_its_place, _kept

STATES: tuple[State, ...] = ("pass", "fail", "not measured")
WORD: dict[State, VerdictName] = {"pass": "SHIP", "fail": "DON'T SHIP", "not measured": "CAN'T TELL"}
MARGIN = 0.02


def gate(name: str, state: State, *, required: bool = True) -> Gate:
    return Gate(name=name, required=required, rule="", state=state, evidence="")


def verdict_of(*gates: Gate) -> Verdict:
    states = [one.state for one in gates if one.required]
    worst: State = "fail" if "fail" in states else "not measured" if "not measured" in states else "pass"
    return Verdict(verdict=WORD[worst], exit_code=0, sentence="", gates=gates, not_measured=())


def shipped(tested: Verdict, form: Verdict, kept: State = "pass") -> Shipped:
    nothing = cast("Any", None)
    found = Finding(state=kept, evidence="")
    return Shipped(evidence=nothing, measurements=nothing, verdict=form, tested=tested, against=None, kept=found)


def test_a_form_passes_only_if_nothing_that_decides_is_worse() -> None:
    pairs: list[tuple[State, State]] = list(product(STATES, STATES))
    for before, after, kept in product(pairs, pairs, STATES):
        tested, form = (verdict_of(gate("better", one), gate("stop", two)) for one, two in (before, after))
        found = shipped(tested, form, kept)
        is_worse = any(new not in ("pass", old) and old != "fail" for old, new in zip(before, after, strict=True))
        assert (found.state == "pass") == (kept == "pass" and tested.verdict == form.verdict and not is_worse)
        if kept == "fail" or (form.verdict == "DON'T SHIP" and tested.verdict != "DON'T SHIP"):
            assert found.state == "fail"
        assert found.marks or found.state == "pass"


def test_a_form_that_fails_for_another_reason_than_the_adapter_is_not_as_tested() -> None:
    tested = verdict_of(gate("beats_few_shot", "fail"), gate("stop", "pass"))
    form = verdict_of(gate("beats_few_shot", "fail"), gate("stop", "fail"))
    found = shipped(tested, form)
    assert tested.verdict == form.verdict == "DON'T SHIP" and found.state == "fail"
    assert any(mark.startswith("The gate stop changes from pass to fail") for mark in found.marks)


def test_an_advisory_gate_decides_nothing() -> None:
    tested = verdict_of(gate("better", "pass"), gate("served", "pass", required=False))
    form = verdict_of(gate("better", "pass"), gate("served", "fail", required=False))
    assert shipped(tested, form).state == "pass"


# --- the comparison with the adapter ----------------------------------------------------------------------------------


def kept(losses: np.ndarray[Any, Any], *, one_sided: int = 0, min_documents: int = 6, level: float = 0.95) -> Finding:
    """`_kept` of a form that loses this much in bits per byte in each document."""
    found = paired(
        [1.0] * len(losses),
        (1.0 + losses).tolist(),
        [str(n) for n in range(len(losses))],
        draws=300,
        higher_is_better=False,
        bounds=(0.0, float("inf")),
        margin=-MARGIN,
        level=level,
    )
    against = Comparison(
        a="base", b="tuned", differences={"bits_per_byte": found}, length_matched={}, one_sided_likelihoods=one_sided
    )

    class Numbers:
        primary = "bits_per_byte"

    Numbers.min_documents, Numbers.level = min_documents, level  # type: ignore[attr-defined]
    return _kept(against, cast("Any", Numbers()), MARGIN)


def test_a_form_just_below_the_margin_passes_and_one_just_above_fails() -> None:
    noise = np.random.default_rng(1).normal(0, 1e-3, 30)
    noise -= noise.mean()
    assert kept(noise + MARGIN - 1e-3).state == "pass"
    assert kept(noise + MARGIN + 1e-3).state == "fail"
    assert kept(noise + MARGIN).state == "not measured"


def test_a_form_that_gains_more_than_the_margin_is_another_model() -> None:
    """As an engine does that gives every token the same high probability."""
    found = kept(np.random.default_rng(1).normal(-0.5, 1e-2, 30))
    assert found.state == "fail" and "no conversion improves" in found.evidence
    good = verdict_of(gate("better", "pass"))
    assert "another model" in replace(shipped(good, good), kept=found).marks[0]


def test_likelihoods_of_some_items_alone_are_no_pass() -> None:
    small = np.random.default_rng(1).normal(0, 1e-3, 30)
    found = kept(small, one_sided=1)
    assert found.state == "not measured" and "only one of adapter and form" in found.evidence


def test_few_documents_are_no_pass() -> None:
    assert kept(np.random.default_rng(1).normal(0, 1e-4, 5)).state == "not measured"


def test_few_documents_cannot_pass_where_p_cannot_fall_low_enough() -> None:
    found = kept(np.random.default_rng(1).normal(0, 1e-4, 6), level=0.975)
    assert found.state == "not measured" and "p cannot fall below" in found.evidence


def test_a_form_that_loses_the_margin_seldom_passes_and_one_that_loses_nothing_does() -> None:
    rng = np.random.default_rng(5)
    states = [kept(rng.normal(MARGIN, 0.03, 20)).state for _ in range(200)]
    assert states.count("pass") / 200 <= 0.06  # nominal 0.025
    assert [kept(rng.normal(0, 0.01, 20)).state for _ in range(20)].count("pass") >= 19


# --- whose figures they are -------------------------------------------------------------------------------------------


def test_what_a_judge_said_of_the_adapter_is_not_said_of_the_form() -> None:
    made = evidence(GOOD)
    judged = JudgedAnswers(name="m", id="0", weak=False, pairs=())
    tuned = made.system("tuned")
    assert tuned is not None
    form = replace(tuned, fingerprint="form")
    found = _in_its_place(replace(made, judged=judged), Measured(systems=(form,), parity=None, general_texts={}))
    assert found.judged is None and found.people is None and found.system("tuned") == form


def test_a_form_judged_by_an_evaluation_that_did_not_ask_training_rows_is_not_measured_in_that() -> None:
    made = evidence(GOOD)
    tuned = made.system("tuned")
    assert tuned is not None
    for has_asked in (True, False):
        tested = replace(made, probes={name: one for name, one in made.probes.items() if has_asked or name != TAUGHT})
        form = Measured(systems=(tuned,), parity=None, general_texts={}, probes=own_probe(tested))
        ruled = decide(measure(_in_its_place(tested, form), draws=300), GateConfig())
        asked = next(one for one in ruled.gates if one.name == "answers_the_question")
        assert (asked.state == "not measured") == (not has_asked) and ("`tunesmith eval`" in asked.evidence) == (not has_asked)


def own_probe(tested: Evidence) -> dict[str, dict[str, tuple[Likelihood, ...]]]:
    """What the form gives under other questions: the same as the tuned model."""
    return {OTHER_QUESTION: {"tuned": tested.probes[OTHER_QUESTION]["tuned"]}}


# --- parity -----------------------------------------------------------------------------------------------------------


def test_a_form_that_parity_could_not_read_is_not_measured() -> None:
    good = shipped(verdict_of(gate("better", "pass")), verdict_of(gate("better", "pass")))
    assert good.state == "pass" and _state(good, None) == "not measured"
    bad = replace(good, kept=Finding(state="fail", evidence=""))
    assert _state(bad, None) == "fail"
