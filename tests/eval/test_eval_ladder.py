"""The ladder of alternatives: cheapest first, in a metric that all have, with what an answer took as it was measured."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from evidence_fakes import evidence
from fake_llm import fake_llm, saying

from fakes import Told, examples
from tunesmith.core.errors import EvaluationError
from tunesmith.core.records import to_json
from tunesmith.eval.asking import Conditions, cost_of
from tunesmith.eval.evaluate import choose_items, evaluate
from tunesmith.eval.ladder import ladder_rungs, ladder_section, ladder_values
from tunesmith.eval.measure import Measurements, measure
from tunesmith.eval.results import Cost, Evidence, read_evidence
from tunesmith.models.generate import Completion
from tunesmith.models.load import BaseFolder
from tunesmith.systems.system import Address

COST = Cost(num_answers=30, prompt_tokens=3000, generated_tokens=240, seconds=15.0, at_once=64)


def fake(*, without: str = "") -> tuple[Evidence, Measurements]:
    """Four systems; `without`: one whose log-probabilities nobody knows."""
    found = evidence({"tuned": 1.8, "base": 2.1, "retrieval": 2.0, "bigger": 1.7})
    systems = tuple(replace(run, cost=COST if run.name != "base" else None) for run in found.systems)
    systems = tuple(replace(run, likelihoods=()) if run.name == without else run for run in systems)
    found = replace(found, systems=systems)
    return found, measure(found, draws=200)


def test_alternatives_stand_in_the_order_of_what_they_take() -> None:
    rungs = ladder_rungs(*fake())
    assert [rung.name for rung in rungs] == ["base", "retrieval", "tuned", "bigger"]
    assert [round(rung.mean or 0, 1) for rung in rungs] == [2.1, 2.0, 1.8, 1.7]
    assert (rungs[1].prompt_tokens, rungs[1].generated_tokens, rungs[1].seconds, rungs[1].at_once) == (100, 8, 0.5, 64)


def test_what_was_not_counted_is_not_measured_and_never_zero() -> None:
    rungs = ladder_rungs(*fake())
    assert (rungs[0].prompt_tokens, rungs[0].seconds) == (None, None)
    assert ladder_section(*fake()).count("not measured") == 3
    assert replace(COST, num_answers=0).per_answer("seconds") is None


def test_a_system_without_log_probabilities_makes_all_be_compared_by_their_answers() -> None:
    assert {rung.metric for rung in ladder_rungs(*fake())} == {"bits_per_byte"}
    found = fake(without="bigger")
    assert {rung.metric for rung in ladder_rungs(*found)} == {"rouge_l"}
    assert all(rung.mean is not None for rung in ladder_rungs(*found))
    page = ladder_section(*found)
    assert "Compared by ROUGE-L, since not every system has bits per byte" in page and "bigger model" in page


def test_the_costs_survive_the_file_and_older_evidence_opens_without_them(tmp_path: Path) -> None:
    found, _ = fake()
    (tmp_path / "evidence.json").write_bytes(to_json(found))
    assert read_evidence(tmp_path / "evidence.json") == found
    old = replace(found, systems=tuple(replace(run, cost=None) for run in found.systems))
    (tmp_path / "evidence.json").write_bytes(to_json(old).replace(b',"cost":null', b""))
    assert read_evidence(tmp_path / "evidence.json") == old
    assert ladder_values(old, measure(old, draws=200))[0]["seconds"] is None


def test_what_a_server_counts_and_times_is_taken_from_it() -> None:
    own = [Completion("a", "stop", 3), Completion("b", "stop", 5)]
    assert cost_of(own, prompt_tokens=[10, 20], seconds=0.25, at_once=2) == Cost(
        num_answers=2, prompt_tokens=30, generated_tokens=8, seconds=0.5, at_once=2
    )
    told = [Completion("a", "stop", 3, prompt_tokens=7, seconds=1.0), Completion("b", "stop", 5, seconds=2.0)]
    found = cost_of(told, prompt_tokens=[10, 20], seconds=0.25, at_once=2)
    assert (found.prompt_tokens, found.seconds, found.at_once) == (None, 3.0, 1)
    assert cost_of(told[:1], prompt_tokens=[10], seconds=0.25, at_once=2).prompt_tokens == 7


def test_an_evaluation_measures_what_answers_take(tiny: BaseFolder, trained_adapter: Path) -> None:
    items = choose_items(examples(4), 0)
    with fake_llm(saying("So it is.")) as server:
        found = evaluate(
            tiny,
            adapter=trained_adapter,
            merged=None,
            items=items,
            train=examples(12),
            general=items[:1],
            conditions=Conditions(
                baselines=("retrieval",),
                max_new_tokens=4,
                batch_examples=8,
                additions=("bigger",),
                address=Address(url=server.url, model="m"),
            ),
            reporter=Told(),
        )
    costs = {run.name: run.cost for run in found.systems}
    base, retrieval, tuned, bigger = (costs[name] for name in ("base", "retrieval", "tuned", "bigger"))
    assert base and retrieval and tuned and bigger
    assert base.prompt_tokens == tuned.prompt_tokens and base.seconds == tuned.seconds > 0  # one batch
    assert retrieval.prompt_tokens is not None and base.prompt_tokens is not None
    assert retrieval.prompt_tokens > 2 * base.prompt_tokens
    assert base.generated_tokens == sum(g.num_tokens for run in found.systems if run.name == "base" for g in run.generations)
    assert (bigger.num_answers, bigger.prompt_tokens, bigger.generated_tokens, bigger.at_once) == (4, 400, 80, 1)


def test_a_file_that_holds_another_cost_is_named(tmp_path: Path) -> None:
    found, _ = fake()
    (tmp_path / "evidence.json").write_bytes(to_json(found).replace(b'"at_once":64', b'"at_once":"many"'))
    with pytest.raises(EvaluationError, match="cannot be read"):
        read_evidence(tmp_path / "evidence.json")
