"""A server whose models' next tokens are guessed answers as one without, and counts its guesses under vLLM's names."""

from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import openai
import pytest
from running_server import Running, running
from tiny_models import loaded, make_adapters, raised

from fakes import copy_base
from tunesmith.core.errors import ModelError, RecipeError
from tunesmith.models.continuous import forward
from tunesmith.models.continuous.draft_model import DraftModel
from tunesmith.models.continuous.forward import Costs
from tunesmith.pipeline.recipe_file import recipe_from
from tunesmith.serve.loading import drafting

FREE, NOTHING = Costs(((1, 1.0), (2, 1.0))), Costs(((1, 0.0), (2, 0.0)))
TEXT = "The kettle is on the stove, and the stove is cold. "
SCHEMA = {
    "type": "object",
    "properties": {"kind": {"enum": ["kettle", "lamp"]}, "words": {"type": "array", "items": {"enum": ["the stove", "cold"]}}},
    "required": ["kind", "words"],
    "additionalProperties": False,
}
ASKED: dict[str, dict[str, Any]] = {
    "greedy": {"temperature": 0},
    "penalised": {"temperature": 0, "extra_body": {"repetition_penalty": 1.2}},
    "drawn": {"temperature": 0.7, "top_p": 0.9, "seed": 5, "n": 2},
    "stopped": {"temperature": 0, "stop": ["e s", "he"]},
    "schema": {
        "temperature": 1.0,
        "seed": 2,
        "max_tokens": 60,
        "response_format": {"type": "json_schema", "json_schema": {"name": "thing", "schema": SCHEMA}},
    },
    "logprobs": {"temperature": 0, "logprobs": True, "top_logprobs": 2},
}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Path]]:
    return make_adapters(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def servers(models: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Running]]:
    """Without guesses, by n-grams, and by the base itself, which is often right about its own answers."""
    base, adapters = models
    references = [f"base={base}", *(f"{name}={base}+{path}" for name, path in adapters.items())]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(forward.Forward, "costs", lambda self: FREE)  # not measured: all is guessed and checked
        patch.setattr(drafting, "DraftModel", partial(DraftModel, costs=NOTHING))
        opened = {
            name: loaded(tmp_path_factory.mktemp(name), *references, speculative=how)[0]
            for name, how in (("off", ""), ("ngram", "ngram"), ("model", str(base)))
        }
    with running(opened["off"]) as off, running(opened["ngram"]) as ngram, running(opened["model"]) as model:
        yield {"off": off, "ngram": ngram, "model": model}


def ask(server: Running, model: str, how: dict[str, Any]) -> list[Any]:
    """The choices, as plain values without numbers that differ in their last bits."""
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as client:
        messages: Any = [{"role": "user", "content": TEXT * 3}]
        found = client.chat.completions.create(**{"model": model, "messages": messages, "max_tokens": 40, **how})
    choices = [choice.model_dump() for choice in found.choices]
    for choice in choices:
        for one in (choice["logprobs"] or {}).get("content") or []:
            for place in (one, *one["top_logprobs"]):
                place["logprob"] = round(place["logprob"], 2)
    return [choices, found.usage.completion_tokens if found.usage else 0]


def counted(server: Running, name: str) -> float:
    text = urlopen(f"{server.url}/metrics").read().decode()
    return sum(float(value) for value in re.findall(rf"^vllm:spec_decode_num_{name}_total{{.*}} (.+)$", text, re.MULTILINE))


@pytest.mark.parametrize("by", ["ngram", "model"])
def test_requests_of_every_kind_to_three_models_at_once_are_answered_as_without_guesses(
    servers: dict[str, Running], by: str
) -> None:
    asked = [(model, how) for how in ASKED.values() for model in ("base", "a", "b")]
    wanted = [ask(servers["off"], model, how) for model, how in asked]
    with ThreadPoolExecutor(len(asked)) as pool:
        found = list(pool.map(lambda one: ask(servers[by], *one), asked))
    assert found == wanted
    assert 0 < counted(servers[by], "accepted_tokens") < counted(servers[by], "draft_tokens")
    assert 0 < counted(servers[by], "drafts") < counted(servers[by], "draft_tokens")
    assert counted(servers["off"], "draft_tokens") == 0


def test_a_model_of_other_tokens_an_adapter_and_a_server_without_models_of_its_own_are_refused(
    models: Any, tmp_path: Path
) -> None:
    base, adapters = models
    other = copy_base(base, tmp_path / "other")
    file = other / "tokenizer.json"
    file.write_text(file.read_text(encoding="utf-8").replace('"<pad>"', '"<fill>"'), encoding="utf-8")
    config = other / "tokenizer_config.json"
    config.write_text(config.read_text(encoding="utf-8").replace('"<pad>"', '"<fill>"'), encoding="utf-8")
    for reference, how, what in (
        (str(base), str(other), "has other tokens than the one that answers"),
        (str(base), f"{base}+{adapters['a']}", "must be whole"),
        (str(base), "no-such-model", "no-such-model"),
        ("http://127.0.0.1:9/v1#m", "ngram", "none of these models can have its next tokens guessed"),
    ):
        with pytest.raises(ModelError, match=what) as caught:
            raised(loaded(tmp_path, reference, speculative=how))
        assert "hint" in str(caught.value) and "expected" in str(caught.value)


def test_a_reference_that_is_refused_does_not_let_vllm_pass_with_guesses_that_it_never_makes(
    models: Any, tmp_path: Path
) -> None:
    base, _ = models
    with pytest.raises(ModelError, match="next tokens guessed"):
        loaded(tmp_path, str(base), str(tmp_path / "nowhere"), engine="vllm", speculative="ngram")


def test_off_is_a_word_and_what_cannot_be_guessed_with_is_an_error() -> None:
    assert recipe_from({"sources": ["./posts"], "serve": {"speculative": False}}).serve.speculative == "off"
    assert recipe_from({"sources": ["./posts"]}, ["serve.speculative=off"]).serve.speculative == "off"
    for wrong in ({"speculative": True}, {"speculative": ""}, {"speculative_tokens": 0}):
        with pytest.raises(RecipeError, match=r"serve\.speculative"):
            recipe_from({"sources": ["./posts"], "serve": wrong})
