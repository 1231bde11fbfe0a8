"""What OpenAI's own client hears: answers, streams, log-probabilities, JSON, and for each error the right exception."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
import torch
from running_server import Running, running
from tiny_models import loaded, make_adapters

from tunesmith.core.records import Message
from tunesmith.models.chat import open_chat
from tunesmith.models.generate import Request, Sampling, answer
from tunesmith.models.load import find_base, load_model
from tunesmith.models.tuned import open_tuned

ASKED: list[Any] = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Tell me about the kettle."}]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Path]]:
    return make_adapters(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def server(models: tuple[Path, dict[str, Path]], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    base, adapters = models
    registry, refused = loaded(
        tmp_path_factory.mktemp("project"), f"base={base}", *(f"{name}={base}+{path}" for name, path in adapters.items())
    )
    assert not refused
    with running(registry) as found:
        yield found


@pytest.fixture(scope="module")
def client(server: Running) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as found:
        yield found


def ask(client: openai.OpenAI, model: str = "base", **how: Any) -> Any:
    return client.chat.completions.create(**{"model": model, "messages": ASKED, "max_tokens": 24, "temperature": 0, **how})


@pytest.mark.parametrize("name", ["base", "a", "b"])
def test_each_name_answers_as_that_model_was_evaluated(
    client: openai.OpenAI, models: tuple[Path, dict[str, Path]], name: str
) -> None:
    base, adapters = models
    folder = find_base(str(base))
    model, chat = load_model(folder, "float32"), open_chat(folder)
    model = open_tuned(model, adapters[name]) if name in adapters else model
    messages = [Message(**one) for one in ASKED]
    for sampling in (Sampling(), Sampling(temperature=0.8, top_p=0.9, seed=11)):
        request = Request(messages=messages, max_new_tokens=24, sampling=sampling)
        wanted = answer(model, chat, [request], batch_examples=1, context=768)[0]
        found = ask(client, name, temperature=sampling.temperature, top_p=sampling.top_p, seed=sampling.seed)
        choice = found.choices[0]
        assert (choice.message.content, choice.finish_reason) == (wanted.text, wanted.finish_reason)
        assert found.usage.completion_tokens == wanted.num_tokens
        assert found.model.startswith(f"{name}@")


def test_a_stream_is_the_answer_in_pieces_with_one_end_and_the_usage_last(client: openai.OpenAI) -> None:
    whole = ask(client, "a", n=2, seed=4, temperature=0.9, max_tokens=30)
    chunks = list(
        ask(client, "a", n=2, seed=4, temperature=0.9, max_tokens=30, stream=True, stream_options={"include_usage": True})
    )
    for index, choice in enumerate(whole.choices):
        own = [c for chunk in chunks for c in chunk.choices if c.index == index]
        assert "".join(c.delta.content or "" for c in own) == choice.message.content
        assert [c.finish_reason for c in own if c.finish_reason] == [choice.finish_reason] == [own[-1].finish_reason]
        assert own[0].delta.role == "assistant" and not any(c.delta.role for c in own[1:])
    assert chunks[-1].choices == [] and all(chunk.usage is None for chunk in chunks[:-1])
    assert chunks[-1].usage.completion_tokens == whole.usage.completion_tokens


def test_log_probabilities_name_the_chosen_token_and_the_likeliest(client: openai.OpenAI) -> None:
    tokens = ask(client, logprobs=True, top_logprobs=3).choices[0].logprobs.content
    assert len(tokens) >= 1
    for one in tokens:
        assert one.token == one.top_logprobs[0].token and one.logprob == one.top_logprobs[0].logprob <= 0
        assert bytes(one.bytes).decode(errors="replace") == one.token and len(one.top_logprobs) == 3
    plain: Any = client.completions.create(
        model="base", prompt=["The hinge", "A lamp"], max_tokens=3, logprobs=2, temperature=0
    )
    assert [choice.index for choice in plain.choices] == [0, 1]
    for choice in plain.choices:
        assert len(choice.logprobs.tokens) == len(choice.logprobs.text_offset) == 3 >= len(choice.logprobs.top_logprobs[0])


def test_a_stop_text_ends_the_answer_and_is_left_out(client: openai.OpenAI) -> None:
    text = ask(client).choices[0].message.content
    stop = text[len(text) // 2 :][:3]
    cut = ask(client, stop=["never said", stop]).choices[0]
    assert (cut.message.content, cut.finish_reason) == (text[: text.index(stop)], "stop")


def test_an_answer_asked_for_in_a_schema_is_json_of_that_schema(client: openai.OpenAI) -> None:
    schema = {
        "type": "object",
        "properties": {"kind": {"enum": ["kettle", "lamp"]}, "sound": {"type": "boolean"}},
        "required": ["kind", "sound"],
        "additionalProperties": False,
    }
    form = {"type": "json_schema", "json_schema": {"name": "thing", "schema": schema}}
    for seed in range(3):
        choice = ask(client, "b", response_format=form, temperature=1, seed=seed, max_tokens=60).choices[0]
        said = json.loads(choice.message.content)
        assert choice.finish_reason == "stop" and said["kind"] in ("kettle", "lamp") and said["sound"] in (True, False)
    with pytest.raises(openai.BadRequestError) as caught:
        bad = {
            "type": "json_schema",
            "json_schema": {"name": "x", "schema": {"type": "object", "properties": {"a": {"type": "colour"}}}},
        }
        ask(client, response_format=bad)
    assert caught.value.param == "response_format"


def test_the_asynchronous_client_streams_many_answers_at_once(server: Running, client: openai.OpenAI) -> None:
    names = ["base", "a", "b"] * 4
    wanted = {name: ask(client, name).choices[0].message.content for name in set(names)}

    async def one(asked: openai.AsyncOpenAI, name: str) -> str:
        stream: Any = await asked.chat.completions.create(model=name, messages=ASKED, max_tokens=24, temperature=0, stream=True)
        return "".join([chunk.choices[0].delta.content or "" async for chunk in stream])

    async def everyone() -> list[str]:
        async with openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as asked:
            return await asyncio.gather(*(one(asked, name) for name in names))

    assert asyncio.run(everyone()) == [wanted[name] for name in names]


@pytest.mark.parametrize(
    ("how", "kind", "param"),
    [
        ({"model": "nobody"}, openai.NotFoundError, "model"),
        ({"model": "base@0000"}, openai.NotFoundError, "model"),
        ({"n": 1_000_000}, openai.BadRequestError, "n"),
        ({"max_tokens": 100_000}, openai.BadRequestError, "max_tokens"),
        ({"max_tokens": 0}, openai.BadRequestError, "max_tokens"),
        ({"temperature": -1}, openai.BadRequestError, "temperature"),
        ({"temperature": "hot"}, openai.BadRequestError, "temperature"),
        ({"top_logprobs": 2}, openai.BadRequestError, "top_logprobs"),
        ({"logprobs": True, "top_logprobs": 21}, openai.BadRequestError, "top_logprobs"),
        ({"stop": [""]}, openai.BadRequestError, "stop"),
        ({"stop": list("abcde")}, openai.BadRequestError, "stop"),
        ({"frequency_penalty": 0.5}, openai.BadRequestError, "frequency_penalty"),
        ({"logit_bias": {"7": 5}}, openai.BadRequestError, "logit_bias"),
        ({"tools": [{"type": "function", "function": {"name": "f"}}]}, openai.BadRequestError, "tools"),
        ({"extra_body": {"best_of": 3}}, openai.BadRequestError, "best_of"),
        ({"extra_body": {"chat_template": "{{ 1 }}"}}, openai.BadRequestError, "chat_template"),
        ({"messages": []}, openai.BadRequestError, "messages"),
        ({"messages": [{"role": "user", "content": "a\0b"}]}, openai.BadRequestError, "messages[0].content"),
        ({"messages": [{"role": "wizard", "content": "a"}]}, openai.BadRequestError, "messages[0].role"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, openai.BadRequestError, "messages[0].content"),
        ({"messages": [{"role": "user", "content": "w " * 2000}]}, openai.BadRequestError, "messages"),
        ({"response_format": {"type": "json_schema"}}, openai.BadRequestError, "response_format"),
        ({"stream_options": {"include_usage": True}}, openai.BadRequestError, "stream_options"),
        ({"seed": 1.5}, openai.BadRequestError, "seed"),
    ],
)  # fmt: skip
def test_a_request_that_cannot_be_honoured_is_refused_by_the_name_of_its_field(
    client: openai.OpenAI, how: dict[str, Any], kind: type[openai.APIStatusError], param: str
) -> None:
    with pytest.raises(kind) as caught:
        ask(client, **how)
    error = caught.value
    assert error.param == param and error.code and error.type and error.message


def turn(**more: Any) -> list[Any]:
    """The conversation with one message more."""
    return [*ASKED, {"role": "assistant", **more}]


PADDED = {"include_obfuscation": True}
CACHED = [{"type": "text", "text": "a", "cache_control": {}}]


@pytest.mark.parametrize(
    ("how", "param"),
    [
        ({"response_format": {"type": "json_object", "schema": {}}}, "response_format.schema"),
        ({"stream": True, "stream_options": PADDED}, "stream_options.include_obfuscation"),
        ({"max_completion_tokens": 9}, "max_tokens"),
        ({"extra_body": {"functions": [{"name": "f"}]}}, "functions"),
        ({"extra_body": {"function_call": "auto"}}, "function_call"),
        ({"messages": [{**ASKED[1], "name": "ada"}]}, "messages[0].name"),
        ({"messages": [{**ASKED[1], "tool_call_id": "a"}]}, "messages[0].tool_call_id"),
        ({"messages": [{"role": "user", "content": CACHED}]}, "messages[0].content[0].cache_control"),
        ({"messages": turn(refusal="No.")}, "messages[2].refusal"),
        ({"messages": turn(content="a", reasoning_content="b")}, "messages[2].reasoning_content"),
        ({"messages": turn(content="a", audio={"id": "b"})}, "messages[2].audio"),
        ({"messages": turn(content="a", annotations=[{"type": "url_citation"}])}, "messages[2].annotations"),
        ({"messages": turn(function_call={"name": "f", "arguments": "{}"})}, "messages[2].function_call"),
        ({"messages": [*ASKED, {"role": "function", "name": "f", "content": "21"}]}, "messages[2].role"),
    ],
)
def test_nothing_that_a_model_would_not_be_told_is_taken_in_silence(
    client: openai.OpenAI, how: dict[str, Any], param: str
) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        ask(client, **how)
    assert caught.value.param == param


def test_an_answer_that_the_client_gives_back_as_a_dictionary_is_taken(client: openai.OpenAI) -> None:
    first = ask(client).choices[0].message.model_dump() | {"content": "It hums."}
    assert {"refusal", "annotations", "audio", "function_call"} <= first.keys()
    assert ask(client, messages=[*ASKED, first, {"role": "user", "content": "And the lamp?"}]).choices


def test_fields_that_ask_for_nothing_are_taken(client: openai.OpenAI) -> None:
    neutral: dict[str, Any] = {
        "n": 1,
        "frequency_penalty": 0,
        "presence_penalty": 0,
        "logit_bias": {},
        "tools": [],
        "logprobs": False,
        "user": "me",
    }
    assert ask(client, **neutral).choices[0].message.content == ask(client).choices[0].message.content


@pytest.mark.parametrize("name", ["base", "a"])
def test_an_embedding_is_the_mean_of_the_last_layer_at_length_one(
    client: openai.OpenAI, models: tuple[Path, dict[str, Path]], name: str
) -> None:
    base, adapters = models
    folder = find_base(str(base))
    model, chat = load_model(folder, "float32"), open_chat(folder)
    model = open_tuned(model, adapters[name]) if name in adapters else model
    texts = ["The kettle hums.", "A lamp"]
    found = client.embeddings.create(model=name, input=texts)
    for one, text in zip(found.data, texts, strict=True):
        ids = torch.tensor([chat.tokenizer(text)["input_ids"]])
        with torch.inference_mode():
            mean_D = model(input_ids=ids, output_hidden_states=True).hidden_states[-1][0].mean(0)
        torch.testing.assert_close(torch.tensor(one.embedding), mean_D / mean_D.norm(), rtol=1e-4, atol=1e-5)
    assert found.usage.total_tokens == sum(len(chat.tokenizer(text)["input_ids"]) for text in texts)
    with pytest.raises(openai.BadRequestError) as caught:
        client.embeddings.create(model=name, input="w " * 2000)
    assert caught.value.code == "context_length_exceeded" and caught.value.param == "input"


def test_the_models_are_listed_with_version_engine_and_what_the_check_of_their_prompts_found(client: openai.OpenAI) -> None:
    listed: dict[str, Any] = {one.id: one for one in client.models.list()}
    assert listed.keys() == {"base", "a", "b"}
    assert all("prompts have the same token ids" in one.model_extra["prompt_parity"] for one in listed.values())
    exact = listed["a"].model_extra["version"]
    assert ask(client, f"a@{exact}").model == ask(client, "a@live").model == f"a@{exact}"
    about: Any = client.models.retrieve("b")
    assert about.model_extra["base"]
