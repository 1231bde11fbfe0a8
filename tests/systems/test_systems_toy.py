"""Adding a system touches one file: a toy is evaluated, compared, gated and shown, and what it cannot give is not measured."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from toy_systems import added, toy

from fakes import Told, example, examples
from tunesmith.core.errors import EvaluationError
from tunesmith.eval.evaluate import Conditions, Measured, choose_items, evaluate
from tunesmith.eval.files import write_evaluation
from tunesmith.eval.measure import Measurements, measure
from tunesmith.eval.results import Evidence, read_evidence
from tunesmith.eval.verdict import Verdict, decide
from tunesmith.models.load import BaseFolder, find_base
from tunesmith.models.merge import merge
from tunesmith.pipeline.sections.eval import GateConfig

ITEMS = choose_items(examples(9), 0)


@pytest.fixture(scope="module")
def merged(tiny: BaseFolder, trained_adapter: Path, tmp_path_factory: pytest.TempPathFactory) -> BaseFolder:
    out = tmp_path_factory.mktemp("merged") / "m"
    merge(tiny, trained_adapter, out)
    return find_base(str(out))


def run(base: BaseFolder, adapter: Path, merged: BaseFolder | None, *baselines: str, told: Told | None = None) -> Measured:
    return evaluate(
        base,
        adapter=adapter,
        merged=merged,
        items=ITEMS,
        train=examples(12),
        general=choose_items([example("What is rain?", "Water that falls.", id="g")], 0),
        conditions=Conditions(baselines=baselines, max_new_tokens=4, batch_examples=8),
        reporter=told or Told(),
    )


def judged(found: Measured, out: Path, *baselines: str) -> tuple[Evidence, Measurements, Verdict, dict[str, Any], str]:
    evidence = Evidence(
        items=ITEMS,
        systems=found.systems,
        parity=found.parity,
        general=found.general,
        served=found.served,
        limit=found.limit,
        forms=found.forms,
    )
    measurements = measure(evidence, draws=200)
    verdict = decide(measurements, GateConfig(), baselines=baselines)
    out.mkdir()
    write_evaluation(out, evidence, measurements, verdict)
    return (
        evidence,
        measurements,
        verdict,
        json.loads((out / "report.json").read_text()),
        (out / "report.html").read_text(encoding="utf-8"),
    )


def test_a_baseline_added_by_one_file_is_asked_compared_gated_and_shown(
    tiny: BaseFolder, trained_adapter: Path, merged: BaseFolder, tmp_path: Path
) -> None:
    with added(tmp_path, parrot=toy("parrot", 'role="baseline"')):
        found = run(tiny, trained_adapter, merged, "parrot")
        evidence, measurements, verdict, report, page = judged(found, tmp_path / "out", "parrot")
        assert [s.name for s in found.systems] == ["base", "tuned", "merged", "parrot"]
        said = found.systems[-1]
        assert [g.text for g in said.generations] == [item.question for item in ITEMS] and not said.likelihoods
        gain = measurements.comparison("parrot", "tuned")
        assert gain is not None and gain.differences["word_overlap"].n == len(ITEMS)
        assert gain.differences["bits_per_byte"].n == 0
        gate = next(gate for gate in verdict.gates if gate.name == "beats_parrot")
        assert (gate.required, gate.state) == (True, "not measured")
        assert "whether the parrot toy would be enough" in verdict.not_measured and verdict.exit_code != 0
        assert report["systems"]["parrot"]["label"] == "a toy that repeats the question"
        assert "parrot toy" in page and "beats parrot" in page
        assert (tmp_path / "out" / "predictions-parrot.jsonl").is_file()
    reread = read_evidence(tmp_path / "out" / "evidence.json")
    assert reread == evidence
    again = measure(reread, draws=200)  # its file is gone: the evidence still opens
    assert "parrot" in again.systems and again.comparison("base", "tuned") is not None


def test_a_form_added_by_one_file_is_held_against_the_tuned_model_by_what_both_can_give(
    tiny: BaseFolder, trained_adapter: Path, merged: BaseFolder, tmp_path: Path
) -> None:
    limits = 'role="form", limits=FormLimits(mean_abs_logprob=0.1, begun=0.5)'
    with added(tmp_path, echo=toy("echo", limits)):
        found = run(tiny, trained_adapter, merged)
        evidence, measurements, verdict, report, page = judged(found, tmp_path / "out")
        echo = found.forms["echo"]
        assert (echo.logits, echo.mean_abs_logprob, echo.greedy_total) == (None, None, len(ITEMS))
        assert found.parity is not None and found.served is not None and set(found.forms) == {"echo"}
        gate = next(gate for gate in verdict.gates if gate.name == "echo")
        assert gate.state == "fail" and "0 of 9 greedy answers equal" in gate.evidence  # it says other things
        assert "not measured here: log-probabilities" in gate.evidence
        assert report["forms"]["echo"]["greedy_total"] == len(ITEMS) and "echo toy" in page
        assert measurements.comparison("tuned", "echo") is not None
        assert read_evidence(tmp_path / "out" / "evidence.json") == evidence


def test_a_form_that_cannot_give_what_its_limit_asks_for_is_not_measured_and_cannot_ship(
    tiny: BaseFolder, trained_adapter: Path, merged: BaseFolder, tmp_path: Path
) -> None:
    with added(tmp_path, echo=toy("echo", 'role="form", listed=False, limits=FormLimits(mean_abs_logprob=0.1)')):
        found = run(tiny, trained_adapter, merged)
        _, _, verdict, _, page = judged(found, tmp_path / "out")
        gate = next(gate for gate in verdict.gates if gate.name == "echo")
        assert (gate.state, gate.required) == ("not measured", True)
        assert "whether the form echo toy is the tuned model" in verdict.not_measured and "not measured here" in page
        assert [s.name for s in found.systems] == ["base", "tuned", "merged"]


def test_a_system_that_cannot_be_opened_is_told_of_and_not_measured(
    tiny: BaseFolder, trained_adapter: Path, merged: BaseFolder, tmp_path: Path
) -> None:
    closed = toy("echo", 'role="form"').replace("Toy()", 'NotMeasured("nothing answers there")')
    closed = closed.replace("import FormLimits", "import NotMeasured")
    told = Told()
    with added(tmp_path, echo=closed):
        found = run(tiny, trained_adapter, merged, told=told)
        assert found.forms["echo"].reason == "nothing answers there" and "nothing answers there" in told.warnings
        gate = next(gate for gate in judged(found, tmp_path / "out")[2].gates if gate.name == "echo")
        assert gate.state == "not measured" and "nothing answers there" in gate.evidence


def test_log_probabilities_of_the_wrong_length_are_an_error_and_no_number(
    tiny: BaseFolder, trained_adapter: Path, merged: BaseFolder, tmp_path: Path
) -> None:
    short = toy("parrot", 'role="baseline"').replace("return None", "return [TokenLogprobs((-1.0,), (True,)) for _ in rows]")
    short = short.replace("import FormLimits", "import TokenLogprobs")
    with added(tmp_path, parrot=short), pytest.raises(EvaluationError, match="parrot gave other log-probabilities"):
        run(tiny, trained_adapter, merged, "parrot")


def test_without_a_merged_folder_its_forms_are_not_measured(tiny: BaseFolder, trained_adapter: Path, tmp_path: Path) -> None:
    found = run(tiny, trained_adapter, None)
    assert [s.name for s in found.systems] == ["base", "tuned"] and found.parity is found.served is None
    outcomes = {gate.name: gate.state for gate in judged(found, tmp_path / "out")[2].gates}
    assert outcomes["parity"] == outcomes["served"] == "not measured"
