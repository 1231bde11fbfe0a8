"""Log-probabilities of a prompt (`echo` with `logprobs`), as programs that evaluate models ask for them: those of the model
itself, whoever shares the batch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import openai
import pytest
import torch
from running_server import Running, running
from tiny_models import loaded, make_adapters

from tunesmith.models.continuous import generator
from tunesmith.models.load import find_base, load_model, load_tokenizer
from tunesmith.models.tuned import open_tuned

TEXT = "The kettle hums: Größe 😀, and the lamp is lit."
LONG = "The hinge of the north door is worn, and a lamp stands beside it. " * 9  # more than a pass reads of a prompt


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Path]]:
    return make_adapters(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def server(models: tuple[Path, dict[str, Path]], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    base, adapters = models
    named = (f"{name}={base}+{path}" for name, path in adapters.items())
    registry, refused = loaded(tmp_path_factory.mktemp("project"), f"base={base}", *named)
    assert not refused
    with running(registry) as found:
        yield found


@pytest.fixture(scope="module")
def client(server: Running) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as found:
        yield found


@pytest.fixture(scope="module")
def tokenizer(models: tuple[Path, dict[str, Path]]) -> Any:
    return load_tokenizer(find_base(str(models[0])))


def score(client: openai.OpenAI, prompt: Any, model: str = "base", **how: Any) -> Any:
    asked = {"model": model, "prompt": prompt, "max_tokens": 0, "echo": True, "logprobs": 3, "temperature": 0}
    return client.completions.create(**{**asked, **how})


def own(model: Any, ids: Sequence[int]) -> torch.Tensor:
    """ln p (T, V) after each token, by transformers."""
    with torch.inference_mode():
        log_p_TV: torch.Tensor = torch.log_softmax(model(input_ids=torch.tensor([ids])).logits[0].float(), -1)
    return log_p_TV


@pytest.mark.parametrize("name", ["base", "a", "b"])
def test_the_tokens_of_a_prompt_have_the_log_probabilities_of_the_model_itself(
    client: openai.OpenAI, tokenizer: Any, models: tuple[Path, dict[str, Path]], name: str
) -> None:
    base, adapters = models
    model = load_model(find_base(str(base)), "float32")
    model = open_tuned(model, adapters[name]) if name in adapters else model
    prompts = [tokenizer(text)["input_ids"] for text in (TEXT, LONG, "A", LONG + TEXT)]
    assert len(prompts[1]) > 256 and len(prompts[2]) == 1
    others: dict[str, Any] = {"echo": False, "max_tokens": 40, "temperature": 1, "seed": 3}
    with ThreadPoolExecutor(3) as pool:  # with others in the batch, who put these prompts into the cache
        beside = [pool.submit(score, client, LONG, one, **others) for one in ("base", "a")]
        answer = pool.submit(score, client, prompts, name).result()
        assert all(one.result().choices for one in beside)
    assert [choice.index for choice in answer.choices] == [0, 1, 2, 3]
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (sum(map(len, prompts)), 0)
    for ids, choice in zip(prompts, answer.choices, strict=True):
        log_p_TV, found = own(model, ids), choice.logprobs
        assert choice.finish_reason == "length" and len(found.tokens) == len(ids)
        assert (found.token_logprobs[0], found.top_logprobs[0]) == (None, None)
        wanted = [float(log_p_TV[at, id]) for at, id in enumerate(ids[1:])]
        torch.testing.assert_close(found.token_logprobs[1:], wanted, rtol=0, atol=2e-4)
        for at, told in enumerate(found.top_logprobs[1:]):  # two tokens of one text, as those that mean nothing, are one here
            top = log_p_TV[at].topk(3).values.tolist()
            assert max(told.values()) == pytest.approx(top[0], abs=2e-4) and len(told) <= 3
            assert all(min(abs(one - other) for other in top) < 2e-4 for one in told.values())
            if found.token_logprobs[at + 1] == max(told.values()):
                assert max(told, key=told.get) == found.tokens[at + 1]


def test_the_text_is_the_prompt_and_each_token_says_where_it_begins(client: openai.OpenAI, tokenizer: Any) -> None:
    for prompt in (TEXT, tokenizer(TEXT)["input_ids"]):
        choice = score(client, prompt).choices[0]
        assert choice.text == TEXT
        begins = choice.logprobs.text_offset
        assert begins[0] == 0 and begins == sorted(begins)
        for token, begin, end in zip(choice.logprobs.tokens, begins, [*begins[1:], len(TEXT)], strict=True):
            assert TEXT[begin:end] == token if not token.startswith("bytes:") else end - begin in (0, 1)
        assert any(token.startswith("bytes:\\x") for token in choice.logprobs.tokens)  # parts of a character stay apart


@pytest.mark.parametrize("prompt", [TEXT, LONG])
def test_an_answer_behind_its_prompt_is_the_one_without_it(client: openai.OpenAI, prompt: str) -> None:
    plain = score(client, prompt, echo=False, max_tokens=3).choices[0]
    choice = score(client, prompt, max_tokens=3).choices[0]
    assert (choice.text, choice.finish_reason) == (prompt + plain.text, plain.finish_reason)
    assert choice.logprobs.tokens[-3:] == plain.logprobs.tokens
    torch.testing.assert_close(choice.logprobs.token_logprobs[-3:], plain.logprobs.token_logprobs, rtol=0, atol=2e-4)
    assert choice.logprobs.text_offset[-3] == len(prompt)
    assert score(client, prompt, max_tokens=3, logprobs=None).choices[0].text == choice.text
    assert score(client, prompt, logprobs=None).choices[0].text == prompt
    pieces = [chunk.choices[0] for chunk in score(client, prompt, max_tokens=3, stream=True)]
    assert "".join(piece.text for piece in pieces) == choice.text
    for name in ("tokens", "text_offset"):
        heard = [one for piece in pieces if piece.logprobs for one in getattr(piece.logprobs, name)]
        assert heard == getattr(choice.logprobs, name)


def test_the_end_of_an_answer_is_listed_too_so_that_what_was_generated_can_be_cut_off_by_number(
    client: openai.OpenAI, tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(generator, "choose", lambda logits_nV, voices: [7] * len(voices))
    choice = score(client, TEXT, max_tokens=1).choices[0]
    assert (choice.text, choice.finish_reason) == (TEXT, "stop")
    assert len(choice.logprobs.tokens) == len(tokenizer(TEXT)["input_ids"]) + 1


@pytest.mark.parametrize(
    ("how", "param"),
    [
        ({"echo": False}, "max_tokens"),
        ({"max_tokens": -1}, "max_tokens"),
        ({"logprobs": 21}, "logprobs"),
        ({"prompt": LONG * 9}, "prompt"),
        ({"prompt": [[1, 2], [10**9]]}, "prompt"),
    ],
)
def test_what_cannot_be_scored_is_refused_by_the_name_of_its_field(client: openai.OpenAI, how: Any, param: str) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        score(client, **{"prompt": TEXT, **how})
    assert caught.value.param == param


def test_a_program_that_evaluates_models_finds_the_same_likelihoods(
    server: Running, tokenizer: Any, models: tuple[Path, dict[str, Path]]
) -> None:
    pytest.importorskip("lm_eval", reason="needs tunesmith[lm-eval]")
    from lm_eval.api.instance import Instance
    from lm_eval.models.openai_completions import LocalCompletionsAPI

    model = load_model(find_base(str(models[0])), "float32")
    asking = LocalCompletionsAPI(
        model="base", base_url=f"{server.url}/v1/completions", tokenizer=str(models[0]), tokenizer_backend="huggingface"
    )
    pairs = [("The kettle", " hums"), (LONG.rstrip(), " A lamp"), (TEXT, " It is")]
    found = asking.loglikelihood([Instance("loglikelihood", {}, pair, n) for n, pair in enumerate(pairs)])
    for (context, rest), (total, _) in zip(pairs, found, strict=True):
        ids = tokenizer(context + rest)["input_ids"]
        begin, log_p_TV = len(tokenizer(context)["input_ids"]), own(model, ids)
        wanted = sum(float(log_p_TV[at - 1, ids[at]]) for at in range(begin, len(ids)))
        assert total == pytest.approx(wanted, abs=1e-3)
