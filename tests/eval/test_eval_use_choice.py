"""The choice of the sampling settings: by its rule, for both models alike, cheap, and never against the recipe."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fakes import examples
from tunesmith.eval import use_choice
from tunesmith.eval.evaluate import choose_items
from tunesmith.eval.use_choice import CANDIDATES, Asked, Candidate, Choice, choose_use, num_answers, set_use
from tunesmith.models.adapters import open_adapter
from tunesmith.models.chat import Chat
from tunesmith.models.generate import Completion, Request
from tunesmith.models.load import BaseFolder, load_model
from tunesmith.pipeline.sections.use import UseConfig

ITEMS = choose_items(examples(20), 0)
ASKED = Asked(max_new_tokens=30, batch_examples=64, context=768)
LOOP = "and so it goes on " * 12


def chosen(monkeypatch: pytest.MonkeyPatch, says: Any, wanted: UseConfig = UseConfig()) -> tuple[Choice, list[Request]]:  # noqa: B008
    """The choice where `says(request)` is what a model answers, and everything that was asked."""
    seen: list[Request] = []

    def answering(model: Any, chat: Any, requests: list[Request], **_: Any) -> list[Completion]:
        seen.extend(requests)
        return [says(request) for request in requests]

    monkeypatch.setattr(use_choice, "answer", answering)
    return choose_use(None, None, ITEMS, wanted=wanted, asked=ASKED), seen  # type: ignore[arg-type]


def fine(text: str = "A kettle.") -> Completion:
    return Completion(text, "stop", 4)


def test_settings_at_which_the_tuned_model_loops_are_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    def says(request: Request) -> Completion:
        greedy = request.sampling.temperature == 0
        return fine(LOOP) if greedy and request.adapter else fine()

    found, _ = chosen(monkeypatch, says)
    assert found.use.temperature > 0
    assert {c.temperature: c.tuned_good for c in found.candidates}[0.0] == 0.0


def test_settings_that_suit_the_tuned_model_alone_are_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    def says(request: Request) -> Completion:
        s = request.sampling
        best = (s.temperature, s.repetition_penalty) == (0.9, 1.1)
        return fine() if best or request.adapter else replace(fine(), finish_reason="length")

    found, _ = chosen(monkeypatch, says)
    assert (found.use.temperature, found.use.repetition_penalty) == (0.9, 1.1)


def test_where_all_end_and_none_loops_the_answers_closest_to_the_references_win(monkeypatch: pytest.MonkeyPatch) -> None:
    by_prompt = {item.prompt: " ".join(item.reference.split()[:6]) for item in ITEMS}

    def says(request: Request) -> Completion:
        s = request.sampling
        return fine(by_prompt[tuple(request.messages)] if (s.temperature, s.repetition_penalty) == (0.7, 1.0) else "zzz")

    found, _ = chosen(monkeypatch, says)
    assert (found.use.temperature, found.use.top_p, found.use.repetition_penalty) == (0.7, 0.9, 1.0)


def test_where_nothing_tells_them_apart_the_first_candidate_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    found, _ = chosen(monkeypatch, lambda request: fine())
    assert found.use.is_plain_greedy and "from 7 candidates" in found.use.how


def test_what_the_recipe_sets_is_kept_and_the_choice_is_made_of_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = UseConfig(temperature=0.4, seed=9)
    found, seen = chosen(monkeypatch, lambda request: fine(), wanted)
    assert {r.sampling.temperature for r in seen} == {0.4} and found.use.seed == 9
    assert {r.sampling.seed for r in seen} == {9}
    assert len({r.sampling for r in seen}) == len({penalty for *_, penalty in CANDIDATES}) == 3


def test_numbers_that_are_all_set_ask_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = UseConfig(temperature=0.6, top_p=0.95, repetition_penalty=1.2)
    found, seen = chosen(monkeypatch, lambda request: fine(), wanted)
    assert not seen and found.use.words == "temperature 0.6, top-p 0.95, repetition penalty 1.2"
    assert set_use(UseConfig(temperature=0, repetition_penalty=1)) is not None  # top-p has no effect there
    assert set_use(UseConfig(temperature=0.5)) is None


def test_both_models_answer_the_same_questions_and_as_many_as_progress_says(monkeypatch: pytest.MonkeyPatch) -> None:
    _, seen = chosen(monkeypatch, lambda request: fine())
    assert len(seen) == num_answers(UseConfig(), len(ITEMS)) == 2 * (7 * 6 + 3 * 12)
    sides = [[(r.messages, r.sampling) for r in seen if r.adapter is on] for on in (False, True)]
    assert sides[0] == sides[1]


def test_one_answer_more_or_less_does_not_decide(monkeypatch: pytest.MonkeyPatch) -> None:
    usual: dict[str, Any] = {"top_p": 0.9, "repetition_penalty": 1.0, "questions": 18, "base_good": 1.0}
    rows = [
        Candidate(temperature=0.5, tuned_good=1.0, overlap=0.10, **usual),
        Candidate(temperature=0.7, tuned_good=17 / 18, overlap=0.12, **usual),
        Candidate(temperature=0.9, tuned_good=16 / 18, overlap=0.30, **usual),
    ]
    assert use_choice._best(rows).temperature == 0.7


def test_a_real_tiny_model_gives_the_same_choice_twice(tiny: BaseFolder, tiny_chat: Chat, trained_adapter: Path) -> None:
    model = open_adapter(load_model(tiny, "float32"), trained_adapter)
    first, second = (
        choose_use(model, tiny_chat, ITEMS, wanted=UseConfig(), asked=replace(ASKED, batch_examples=size)) for size in (64, 5)
    )
    assert first == second and len(first.candidates) == len(CANDIDATES)
