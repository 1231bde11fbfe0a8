"""What the conformance run asks of a server through OpenAI's own client: each check is a name and a function that raises."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import openai

Check = tuple[str, Callable[[], None]]
ASKED: list[Any] = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Tell me about the kettle."}]
SCHEMAS: dict[str, Any] = {
    "enumeration": {"enum": ["kettle", "lamp"]},
    "number": {"type": "integer", "minimum": 0, "maximum": 99},
    "object": {
        "type": "object",
        "properties": {"kind": {"enum": ["a", "b"]}, "sound": {"type": "boolean"}},
        "required": ["kind", "sound"],
        "additionalProperties": False,
    },
    "list": {"type": "array", "items": {"type": "boolean"}, "minItems": 1, "maxItems": 3},
    "choice": {"anyOf": [{"type": "null"}, {"type": "boolean"}]},
}


class Asking:
    """The synchronous or the asynchronous client, whole or streamed: always the choices' texts, ends and the usage."""

    def __init__(self, url: str, *, waits: bool, streams: bool, key: str = "none") -> None:
        self.url, self.waits, self.streams, self.key = f"{url}/v1", waits, streams, key

    def __str__(self) -> str:
        return f"{'async' if self.waits else 'sync'} {'stream' if self.streams else 'whole'}"

    def __call__(self, kind: str, **how: Any) -> tuple[dict[int, str], dict[int, str], Any, str]:
        return _read(kind, self.made(kind, **how))

    def made(self, kind: str, **how: Any) -> list[Any]:
        """What the client makes of the answer: one object, or the pieces of a stream."""
        how |= {"stream": True, "stream_options": {"include_usage": True}} if self.streams else {}
        return asyncio.run(self._later(kind, how)) if self.waits else self._now(kind, how)

    def _now(self, kind: str, how: dict[str, Any]) -> list[Any]:
        with openai.OpenAI(base_url=self.url, api_key=self.key, max_retries=0) as client:
            api: Any = client.chat.completions if kind == "chat" else client.completions
            found = api.create(**how)
            return list(found) if self.streams else [found]

    async def _later(self, kind: str, how: dict[str, Any]) -> list[Any]:
        async with openai.AsyncOpenAI(base_url=self.url, api_key=self.key, max_retries=0) as client:
            api: Any = client.chat.completions if kind == "chat" else client.completions
            found = await api.create(**how)
            return [one async for one in found] if self.streams else [found]


def _read(kind: str, made: list[Any]) -> tuple[dict[int, str], dict[int, str], Any, str]:
    texts: dict[int, str] = {}
    ends: dict[int, str] = {}
    for one in made:
        for choice in one.choices:
            part = (choice.delta if hasattr(choice, "delta") else choice.message).content if kind == "chat" else choice.text
            texts[choice.index] = texts.get(choice.index, "") + (part or "")
            if choice.finish_reason:
                assert choice.index not in ends, "two ends of one choice"
                ends[choice.index] = choice.finish_reason
    assert texts.keys() == ends.keys()
    assert len({one.id for one in made}) == 1
    return texts, ends, made[-1].usage, made[-1].model


def answers(url: str, models: list[str]) -> Iterator[Check]:
    """Texts, ends, numbers and usage of what can be asked for, by all four ways to ask."""
    ways = [Asking(url, waits=w, streams=s) for w in (False, True) for s in (False, True)]
    plain = ways[0]
    draws: list[dict[str, Any]] = [
        {"temperature": 0},
        {"temperature": 0.9, "seed": 7},
        {"temperature": 1, "top_p": 0.5, "seed": 1},
    ]
    for model, draw, n, way in itertools.product(models, draws, (1, 3), ways):
        yield (
            f"chat {model} {draw} n={n} {way}",
            partial(_equal, plain, way, "chat", {"model": model, "messages": ASKED, "max_tokens": 12, "n": n, **draw}),
        )
    for prompt, way in itertools.product(["The lamp", ["The lamp", "A hinge"], [5, 6, 7], [[5, 6], [7]]], ways):
        asked = {"model": models[0], "prompt": prompt, "max_tokens": 6, "temperature": 0}
        yield f"completion {prompt!r} {way}", partial(_equal, plain, way, "completion", asked)
    for size, way in itertools.product((1, 2, 5), ways):
        yield f"max_tokens {size} {way}", partial(_ends_at, way, models[0], size)
    for form, way in itertools.product(SCHEMAS, ways):
        yield f"schema {form} {way}", partial(_is_json, way, models[0], SCHEMAS[form])
    for cut, way in itertools.product((2, 5, 9), ways):
        yield f"stop after {cut} {way}", partial(_stops, plain, way, models[0], cut)
    for top in (0, 1, 5, 20):
        yield f"logprobs {top}", partial(_logprobs, url, models[0], top)
    for model, prompt in itertools.product(models, ("The lamp and a Größe 😀.", [5, 6, 7, 8], "lamp " * 90)):
        yield f"echo {model} {prompt!r:.20}", partial(_echo, url, model, prompt)


def _equal(plain: Asking, way: Asking, kind: str, asked: dict[str, Any]) -> None:
    wanted, found = plain(kind, **asked), way(kind, **asked)
    assert found[:2] == wanted[:2], (wanted, found)
    assert found[3] == wanted[3] and found[3].startswith(asked["model"] + "@")
    for usage in (wanted[2], found[2]):
        assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens > 0
    assert found[2].completion_tokens == wanted[2].completion_tokens


def _ends_at(way: Asking, model: str, size: int) -> None:
    _, ends, usage, _ = way("chat", model=model, messages=ASKED, max_completion_tokens=size, temperature=0)
    assert usage.completion_tokens <= size and ends[0] == ("length" if usage.completion_tokens == size else "stop")


def _is_json(way: Asking, model: str, schema: dict[str, Any]) -> None:
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema, "strict": True}}
    texts, ends, _, _ = way("chat", model=model, messages=ASKED, max_tokens=80, seed=3, response_format=form)
    said = json.loads(texts[0])
    kinds = {"enum": str, "integer": int, "object": dict, "array": list}
    wanted = kinds.get("enum" if "enum" in schema else schema.get("type", ""), (bool, type(None)))
    assert ends[0] == "stop" and isinstance(said, wanted)


def _stops(plain: Asking, way: Asking, model: str, cut: int) -> None:
    asked = {"model": model, "messages": ASKED, "max_tokens": 24, "temperature": 0}
    text = plain("chat", **asked)[0][0]
    stop = text[cut : cut + 3]
    texts, ends, _, _ = way("chat", **asked, stop=["never said", stop])
    assert texts[0] == text[: text.index(stop)] and ends[0] == "stop"


def _logprobs(url: str, model: str, top: int) -> None:
    with openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client:
        asked: Any = {"model": model, "messages": ASKED, "max_tokens": 6, "temperature": 0, "logprobs": True}
        whole: Any = client.chat.completions.create(**asked, top_logprobs=top)
        streamed = [c for one in client.chat.completions.create(**asked, top_logprobs=top, stream=True) for c in one.choices]
    tokens = whole.choices[0].logprobs.content
    heard = [one for choice in streamed if choice.logprobs for one in choice.logprobs.content]
    assert [(one.token, len(one.top_logprobs)) for one in heard] == [(one.token, len(one.top_logprobs)) for one in tokens]
    assert all(one.logprob <= 0 and len(one.top_logprobs) == top for one in tokens)


def _echo(url: str, model: str, prompt: str | list[int]) -> None:
    """The prompt alone has the log-probabilities that it has before an answer, whole and streamed."""
    with openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client:
        asked: Any = {"model": model, "prompt": prompt, "temperature": 0, "echo": True, "logprobs": 2}
        alone = client.completions.create(**asked, max_tokens=0).choices[0]
        longer = client.completions.create(**asked, max_tokens=3).choices[0]
        pieces = [one.choices[0] for one in client.completions.create(**asked, max_tokens=3, stream=True)]
    assert alone.logprobs and longer.logprobs and alone.logprobs.token_logprobs and longer.logprobs.token_logprobs
    count = len(alone.logprobs.token_logprobs)
    assert longer.text.startswith(alone.text) and longer.logprobs.tokens and alone.finish_reason == "length"
    assert alone.text == prompt or not isinstance(prompt, str)
    assert alone.logprobs.token_logprobs[0] is None and longer.logprobs.tokens[:count] == alone.logprobs.tokens
    pairs = zip(alone.logprobs.token_logprobs[1:], longer.logprobs.token_logprobs[1:], strict=False)
    assert all(abs(one - other) < 1e-3 for one, other in pairs)
    assert "".join(one.text for one in pieces) == longer.text
    assert sum(len(one.logprobs.tokens or ()) for one in pieces if one.logprobs) == len(longer.logprobs.tokens)


REFUSED: list[tuple[dict[str, Any], type[openai.APIStatusError], str]] = [
    ({"model": "nobody"}, openai.NotFoundError, "model"),
    ({"n": 1_000_000}, openai.BadRequestError, "n"),
    ({"n": 0}, openai.BadRequestError, "n"),
    ({"max_tokens": 10**6}, openai.BadRequestError, "max_tokens"),
    ({"max_tokens": -1}, openai.BadRequestError, "max_tokens"),
    ({"temperature": 2.1}, openai.BadRequestError, "temperature"),
    ({"top_p": 0}, openai.BadRequestError, "top_p"),
    ({"top_logprobs": 2}, openai.BadRequestError, "top_logprobs"),
    ({"stop": [""]}, openai.BadRequestError, "stop"),
    ({"frequency_penalty": 0.5}, openai.BadRequestError, "frequency_penalty"),
    ({"presence_penalty": 0.5}, openai.BadRequestError, "presence_penalty"),
    ({"logit_bias": {"7": 5}}, openai.BadRequestError, "logit_bias"),
    ({"reasoning_effort": "high"}, openai.BadRequestError, "reasoning_effort"),
    ({"modalities": ["audio"]}, openai.BadRequestError, "modalities"),
    ({"extra_body": {"chat_template": "{{ 1 }}"}}, openai.BadRequestError, "chat_template"),
    ({"messages": []}, openai.BadRequestError, "messages"),
    ({"messages": [{"role": "user", "content": "a\0b"}]}, openai.BadRequestError, "messages[0].content"),
    ({"messages": [{"role": "wizard", "content": "a"}]}, openai.BadRequestError, "messages[0].role"),
    ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, openai.BadRequestError, "messages[0].content"),
    ({"messages": [{"role": "user", "content": "w " * 5000}]}, openai.BadRequestError, "messages"),
    ({"messages": [{"role": "user", "content": "w" * 1_000_001}]}, openai.APIStatusError, "messages"),
    ({"response_format": {"type": "json_schema"}}, openai.BadRequestError, "response_format"),
    ({"seed": 1.5}, openai.BadRequestError, "seed"),
    ({"messages": [{"role": "user", "content": "a", "name": "ada"}]}, openai.BadRequestError, "messages[0].name"),
    (
        {"messages": [*ASKED, {"role": "assistant", "refusal": "No."}]},
        openai.BadRequestError,
        f"messages[{len(ASKED)}].refusal",
    ),
    ({"extra_body": {"function_call": "auto"}}, openai.BadRequestError, "function_call"),
]


def refusals(url: str, model: str) -> Iterator[Check]:
    """A field at fault, by all four ways to ask: the exception of its kind, which names the field."""
    for waits, streams, (how, kind, param) in itertools.product((False, True), (False, True), REFUSED):
        way = Asking(url, waits=waits, streams=streams)
        asked = {"model": model, "messages": ASKED, **how}
        yield f"refused {param} {str(how)[:40]} {way}", partial(_refused, way, asked, kind, param)


def _refused(way: Asking, asked: dict[str, Any], kind: type[openai.APIStatusError], param: str) -> None:
    error = failure(way, kind, asked)
    assert error.param == param and error.code and error.type and error.message, (error.param, error.code)


def failure(way: Asking, kind: type[openai.APIStatusError], asked: dict[str, Any]) -> openai.APIStatusError:
    """The exception of this kind."""
    try:
        way("chat", **asked)
    except kind as error:
        return error
    raise AssertionError("it was answered")
