"""Promise: what a recipe made advisory never decides, and the verdict's sentence never claims what such a gate disproved."""

from __future__ import annotations

from dataclasses import replace

import pytest
from evidence_fakes import evidence, general, parity

from tunesmith.core.errors import RecipeError
from tunesmith.eval.gates import check_advisory, gate_names
from tunesmith.eval.measure import measure
from tunesmith.eval.verdict import Verdict, decide
from tunesmith.pipeline.sections.eval import GateConfig

ALL = [*gate_names()]


def verdict(bits: dict[str, float], advisory: list[str], *, noise: float = 0.05) -> Verdict:
    made = evidence(bits, with_parity=parity(), with_general=general(), noise=noise)
    return decide(measure(made, draws=500, margin=0.02), GateConfig(advisory=advisory), baselines=["prompted"])


def test_a_worse_model_does_not_ship_though_every_gate_is_advisory() -> None:
    found = verdict({"base": 1.2, "prompted": 1.19, "tuned": 1.4, "merged": 1.4}, ALL)
    assert found.verdict == "DON'T SHIP" and found.sentence.startswith("Tuning did not help")


def test_no_difference_does_not_ship_though_every_gate_is_advisory() -> None:
    found = verdict({"base": 1.2, "prompted": 1.2, "tuned": 1.2, "merged": 1.2}, ALL, noise=0.0)
    assert found.verdict != "SHIP"


def test_a_prompt_that_does_better_is_not_called_beaten() -> None:
    found = verdict({"base": 1.6, "prompted": 1.0, "tuned": 1.3, "merged": 1.3}, ["beats_prompt"])
    assert found.verdict == "SHIP" and "better than the base does: " in found.sentence
    assert "a prompt is enough" in found.sentence


def test_a_gate_that_does_not_exist_cannot_be_made_advisory() -> None:
    with pytest.raises(RecipeError, match="names an unknown gate") as caught:
        check_advisory(["stopp", "stop"])
    assert caught.value.problems[0].hint == "--set gates.advisory=[stop]"
    with pytest.raises(RecipeError, match="names a gate that always decides"):
        check_advisory(["better"])


def test_the_names_of_all_gates_are_known_before_any_is_judged() -> None:
    found = verdict({"base": 1.6, "prompted": 1.5, "tuned": 1.3, "merged": 1.3}, [])
    assert {gate.name for gate in found.gates} <= set(ALL)


@pytest.mark.parametrize(("primary", "margin", "marked"), [("bits_per_byte", 0.015, True), ("rouge_l", 0.015, False)])
def test_a_margin_below_the_preset_of_its_metric_is_marked(primary: str, margin: float, marked: bool) -> None:
    made = evidence({"base": 1.6, "tuned": 1.3, "merged": 1.3}, with_parity=parity(), with_general=general())
    found = decide(measure(made, draws=300, primary=primary), GateConfig(better_margin=margin))
    better = next(gate for gate in found.gates if gate.name == "better")
    assert better.loosened == ("gates.better_margin is 0.015, by default 0.02 for bits per byte" if marked else "")


@pytest.mark.parametrize(("stored", "marked"), [("float32", True), ("bfloat16", False)])
def test_a_parity_limit_below_that_of_the_stored_type_is_marked(stored: str, marked: bool) -> None:
    merged = replace(parity(), stored=stored, as_summed=1.0)
    made = evidence({"base": 1.6, "tuned": 1.3, "merged": 1.3}, with_parity=merged, with_general=general())
    found = decide(measure(made, draws=300), GateConfig(parity_top1=0.99))
    assert bool(next(gate for gate in found.gates if gate.name == "parity").loosened) is marked


def test_a_warning_of_two_gates_stands_once_in_the_sentence() -> None:
    made = evidence(
        {"base": 1.6, "prompted": 1.6, "tuned": 1.3, "merged": 1.3},
        with_parity=parity(),
        with_general=general(),
        documents=8,
        noise=0.01,
    )
    sentence = decide(measure(made, draws=300), GateConfig(), baselines=["prompted"]).sentence
    assert sentence.count("8 documents are few") == 1
