"""What takes more than tuning: tuned + retrieval, and a bigger model behind a real server; compared, and never a gate."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from fake_llm import Asked, Character, Said, fake_llm, saying, with_usage

from fakes import Told, conversation, examples
from tunesmith.api import Project
from tunesmith.core.errors import EvaluationError, RecipeError
from tunesmith.eval.evaluate import Conditions, Measured, choose_items, evaluate
from tunesmith.eval.measure import Measurements, measure
from tunesmith.eval.results import Evidence
from tunesmith.eval.verdict import decide
from tunesmith.models.generation.requests import Completion, Request, Sampling
from tunesmith.models.load import BaseFolder
from tunesmith.pipeline.recipe_file import recipe_from
from tunesmith.pipeline.sections.eval import GateConfig
from tunesmith.systems.addressed import ModelAtAddress
from tunesmith.systems.bigger import WORDS
from tunesmith.systems.registry import by_role, pairs
from tunesmith.systems.system import Address

ITEMS = choose_items(examples(6), 0)


def run(
    base: BaseFolder, adapter: Path, *additions: str, baselines: Sequence[str] = (), url: str = "", told: Told | None = None
) -> Measured:
    return evaluate(
        base,
        adapter=adapter,
        merged=None,
        items=ITEMS,
        train=examples(12),
        general=ITEMS[:1],
        conditions=Conditions(
            baselines=tuple(baselines),
            max_new_tokens=4,
            batch_examples=8,
            additions=additions,
            address=Address(url=url, model="large-1") if url else None,
        ),
        reporter=told or Told(),
    )


def measured(found: Measured) -> Measurements:
    return measure(Evidence(items=ITEMS, systems=found.systems, parity=None, general=None), draws=200)


def test_additions_are_compared_with_the_tuned_model_and_have_no_gate(tiny: BaseFolder, trained_adapter: Path) -> None:
    names = [kind.name for kind in by_role("addition")]
    assert names == ["tuned_retrieval", "bigger"] and {("tuned", name) for name in names} < set(pairs())
    found = run(tiny, trained_adapter, "tuned_retrieval", baselines=["retrieval"])
    assert [system.name for system in found.systems] == ["base", "retrieval", "tuned", "tuned_retrieval"]
    over = measured(found).comparison("tuned", "tuned_retrieval")
    assert over is not None and over.differences["bits_per_byte"].n == len(ITEMS)
    verdict = decide(measured(found), GateConfig())
    assert not [gate.name for gate in verdict.gates if "tuned_retrieval" in gate.name or "bigger" in gate.name]


def test_additions_are_left_out_unless_they_are_asked_for(tiny: BaseFolder, trained_adapter: Path) -> None:
    assert [system.name for system in run(tiny, trained_adapter).systems] == ["base", "tuned"]


def ask(address: Address, *requests: Request, waits: list[float] | None = None) -> list[Completion]:
    def wait(seconds: float) -> bool:
        (waits if waits is not None else []).append(seconds)
        return False

    return ModelAtAddress(address, name="bigger", words=WORDS, wait=wait).answer(requests, on_done=lambda count: None)


def request(question: str = "What is rain?", **more: Any) -> Request:
    return Request(messages=conversation(question, system="Be brief."), max_new_tokens=9, **more)


def test_a_bigger_model_is_asked_the_same_with_the_same_settings() -> None:
    with fake_llm(saying("Water.")) as server:
        address = Address(url=server.url, model="large-1", api_key="sk-secret")
        drawn = Sampling(temperature=0.7, top_p=0.9, seed=3)
        (said,) = ask(address, request(sampling=drawn, number=2))
    assert (said.text, said.finish_reason, said.num_tokens, said.prompt_tokens) == ("Water.", "stop", 20, 100)
    assert said.seconds is not None and said.seconds > 0
    body = server.asked[0].body
    assert (body["model"], body["temperature"], body["top_p"], body["seed"], body["max_tokens"]) == ("large-1", 0.7, 0.9, 5, 9)
    assert [turn["role"] for turn in body["messages"]] == ["system", "user"]
    assert "sk-secret" not in repr(address) and server.asked[0].headers["authorization"] == "Bearer sk-secret"


def test_answers_keep_the_order_of_the_questions_and_say_when_they_were_cut() -> None:
    def echo(asked: Asked) -> Said:
        return with_usage(Said(asked.user, finish="length" if "3" in asked.user else "stop"), None)

    with fake_llm(echo) as server:
        said = ask(Address(url=server.url, model="m", concurrency=3), *(request(f"question {n}") for n in range(8)))
    assert [one.text for one in said] == [f"question {n}" for n in range(8)]
    assert [n for n, one in enumerate(said) if one.finish_reason == "length"] == [3]
    assert said[0].prompt_tokens is None  # the server did not count


def test_a_bigger_model_can_be_asked_again_and_what_stops_the_work_leaves_no_question_waiting() -> None:
    done: list[int] = []
    with fake_llm(saying("So.")) as server:
        model = ModelAtAddress(Address(url=server.url, model="m", concurrency=1), name="bigger", words=WORDS)
        for _ in range(2):
            assert len(model.answer([request(), request("And?")], on_done=done.append)) == 2
        assert done == [1, 1, 1, 1]

        def stop(count: int) -> None:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            model.answer([request(f"{n}?") for n in range(50)], on_done=stop)
        assert len(server.asked) < 4 + 50


@pytest.mark.parametrize(
    ("character", "what", "hint"),
    [
        (saying("no", status=401), "wants a key", "bigger.api_key_env"),
        (saying("no", status=404), "has no such model", "bigger.model=fake-1"),
        (saying("too long", status=400), "does not take a test question", "longer context"),
        (saying("busy", status=503), "does not answer after 3 attempts", "bigger.url=''"),
    ],
    ids=["key", "model", "context", "busy"],
)
def test_what_a_server_refuses_is_an_error_that_names_the_setting(character: Character, what: str, hint: str) -> None:
    with fake_llm(character) as server, pytest.raises(EvaluationError, match=what) as caught:
        ask(Address(url=server.url, model="m", concurrency=1), request())
    assert hint in caught.value.problems[0].hint and "generator" not in str(caught.value)


def test_a_bigger_model_is_compared_by_its_answers_and_not_by_likelihoods(tiny: BaseFolder, trained_adapter: Path) -> None:
    with fake_llm(saying("The kettle waits, and I wait with it.")) as server:
        found = run(tiny, trained_adapter, "bigger", url=server.url)
    assert [system.name for system in found.systems] == ["base", "tuned", "bigger"]
    assert found.systems[-1].label == f"large-1 at {server.url}" and not found.systems[-1].likelihoods
    over = measured(found).comparison("tuned", "bigger")
    assert over is not None and over.differences["bits_per_byte"].mean is None
    assert over.differences["word_overlap"].n == len(ITEMS)


def test_a_server_that_fails_costs_its_own_figures_alone(tiny: BaseFolder, trained_adapter: Path) -> None:
    told = Told()
    with fake_llm(saying("no", status=401)) as server:
        found = run(tiny, trained_adapter, "bigger", url=server.url, told=told)
    assert [system.name for system in found.systems] == ["base", "tuned"]
    assert any("whether the bigger model does more was not measured" in text for text in told.warnings)


BIGGER = {"url": "http://127.0.0.1:1/v1", "model": "m"}


@pytest.mark.parametrize(
    ("settings", "what"),
    [
        ({"bigger": {"url": BIGGER["url"]}}, "only one of"),
        ({"bigger": {"model": "m"}}, "only one of"),
        ({"bigger": {"concurrency": 2}}, r"bigger\.concurrency has no effect"),
        ({"bigger": {**BIGGER, "url": "http://user:key@host/v1"}}, r"bigger\.url"),
        ({"eval": {"additions": ["bigger"]}}, "nothing says where"),
        ({"eval": {"additions": ["tuned_retrival"]}}, "not an addition"),
    ],
)
def test_a_wrong_setting_is_told_before_anything_runs(tmp_path: Path, settings: dict[str, Any], what: str) -> None:
    with pytest.raises(RecipeError, match=what):
        Project(recipe_from({"sources": ["./posts"], **settings}), tmp_path)


def test_a_key_that_is_not_set_is_told_before_anything_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = recipe_from({"sources": ["./posts"], "bigger": {**BIGGER, "api_key_env": "A_KEY_OF_A_TEST"}})
    with pytest.raises(EvaluationError, match="A_KEY_OF_A_TEST"):
        Project(recipe, tmp_path)
    monkeypatch.setenv("A_KEY_OF_A_TEST", "x")
    assert Project(recipe, tmp_path).additions == ("bigger",)
