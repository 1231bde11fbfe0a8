"""Models behind an address: what the server says is passed on, whatever its chunks; what it breaks off is an error."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import openai
import orjson
import pytest
from running_server import Running, running
from tiny_models import loaded
from upstream import upstream

from tunesmith.core.errors import EngineError

ASKED: list[Any] = [{"role": "user", "content": "Say it."}]
TEXT = "Größe 😀 and\nlines, twice: 日本語 {} data: [DONE]"


def piece(text: str, **how: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": None} | how]}


def event_stream(ends: Sequence[str], *, last: bool = True) -> bytes:
    """A whole stream of TEXT; `ends`: how its lines end, in turn."""
    rows = [orjson.dumps(piece(letter)).decode() for letter in TEXT]
    rows += [orjson.dumps(piece("", finish_reason="stop")).decode()] if last else []
    rows += [orjson.dumps({"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 9}}).decode(), "[DONE]"]
    made = ""
    for n, row in enumerate(rows):
        end = ends[n % len(ends)]
        made += (f": a comment{end}event: message{end}" if n % 5 == 0 else "") + f"data: {row}{end}{end}"
    return made.encode()


class Script:
    """What the server says next; `heard` are the bodies that it got."""

    def __init__(self) -> None:
        self.heard: list[dict[str, Any]] = []
        self.says: tuple[int, dict[str, str], Sequence[bytes], bool] = (200, {}, [], True)

    def __call__(self, path: str, body: bytes) -> tuple[int, dict[str, str], Sequence[bytes], bool]:
        if path == "/v1/models":
            return 200, {}, [b'{"data": [{"id": "Org/Big"}, {"id": "small"}]}'], True
        self.heard.append(json.loads(body))
        return self.says


@pytest.fixture(scope="module")
def script() -> Script:
    return Script()


@pytest.fixture(scope="module")
def server(script: Script, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with upstream(script) as url:
        registry, _ = loaded(tmp_path_factory.mktemp("project"), f"big={url}/v1#Org/Big", f"{url}/v1/#small")
        with running(registry) as found:
            yield found


@pytest.fixture
def client(server: Running) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as found:
        yield found


def test_a_stream_is_passed_on_whatever_its_chunks_and_line_ends(client: openai.OpenAI, script: Script) -> None:
    draw = random.Random(5)
    for _ in range(40):
        content, parts = event_stream(draw.choice([["\n"], ["\r\n"], ["\r"], ["\n", "\r\n", "\r"]])), []
        while content:
            size = draw.choice([1, 2, 7, 60, 3000])
            parts.append(content[:size])
            content = content[size:]
        script.says = (200, {"Content-Type": "text/event-stream"}, parts, True)
        chunks: Any = client.chat.completions.create(
            model="big", messages=ASKED, stream=True, stream_options={"include_usage": True}
        )
        heard = list(chunks)
        assert "".join(c.choices[0].delta.content or "" for c in heard[:-1]) == TEXT
        assert heard[-2].choices[0].finish_reason == "stop" and heard[-1].usage.completion_tokens == 9
    assert script.heard[-1]["model"] == "Org/Big" and "temperature" not in script.heard[-1]


@pytest.mark.parametrize(
    "says",
    [
        (200, {}, [event_stream(["\n"], last=False)], True),
        (200, {}, [event_stream(["\n"])[:300]], False),
        (200, {}, [b'data: {"error": {"message": "no memory"}}\n\n'], True),
        (200, {}, [b"data: <html>\n\n"], True),
    ],
    ids=["no last piece", "connection lost", "error event", "no JSON"],
)
def test_a_stream_that_breaks_off_is_an_error_and_never_a_short_answer(
    client: openai.OpenAI, script: Script, says: Any
) -> None:
    script.says = says
    with pytest.raises(openai.APIError):
        list(client.chat.completions.create(model="big", messages=ASKED, stream=True))


@pytest.mark.parametrize(
    ("status", "headers", "kind", "retry_after"),
    [
        (400, {}, openai.BadRequestError, None),
        (429, {"Retry-After": "7"}, openai.RateLimitError, "7"),
        (503, {}, openai.InternalServerError, "1"),
        (401, {}, openai.InternalServerError, None),
    ],
)
def test_an_error_of_the_server_keeps_its_kind_its_field_and_its_wait(
    client: openai.OpenAI,
    script: Script,
    status: int,
    headers: dict[str, str],
    kind: type[openai.APIStatusError],
    retry_after: Any,
) -> None:
    script.says = (status, headers, [b'{"error": {"message": "not so", "param": "top_p", "code": "odd"}}'], True)
    with pytest.raises(kind, match="not so") as caught:
        client.chat.completions.create(model="big", messages=ASKED)
    assert caught.value.response.headers.get("retry-after") == retry_after
    assert status != 400 or (caught.value.param, caught.value.code) == ("top_p", "odd")


def test_tools_and_what_else_a_message_has_are_passed_on_both_ways(client: openai.OpenAI, script: Script) -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": "{}"}}
    whole = {
        "choices": [
            {"index": 0, "message": {"role": "assistant", "content": None, "tool_calls": [call]}, "finish_reason": "tool_calls"}
        ]
    }
    script.says = (200, {}, [orjson.dumps(whole)], True)
    tools: Any = [{"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}]
    found: Any = client.chat.completions.create(model="small", messages=ASKED, tools=tools)
    assert found.choices[0].message.tool_calls[0].function.name == "look" and found.choices[0].finish_reason == "tool_calls"
    assert script.heard[-1]["tools"] == tools and script.heard[-1]["model"] == "small"
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model="small", messages=ASKED, extra_body={"top_k": 5})
    assert caught.value.param == "top_k"


def test_the_log_probabilities_of_a_prompt_are_passed_on_as_the_server_counts_them(
    client: openai.OpenAI, script: Script
) -> None:
    told = {
        "tokens": ["<s>", "Hi", " there"],
        "token_logprobs": [None, -1.5, -0.25],
        "top_logprobs": [None, {"Oh": -0.5, "Hi": -1.5}, {" there": -0.25}],
        "text_offset": [0, 0, 2],
    }
    choice = {"index": 0, "text": "Hi there", "finish_reason": "length", "logprobs": told}
    script.says = (200, {}, [orjson.dumps({"choices": [choice], "usage": {"prompt_tokens": 3, "completion_tokens": 0}})], True)
    how: Any = {"max_tokens": 0, "echo": True, "logprobs": 2}
    found = client.completions.create(model="small", prompt="Hi there", **how).choices[0]
    assert found.text == "Hi there" and found.logprobs and found.logprobs.model_dump() == told
    assert how.items() <= script.heard[-1].items()


def test_a_gateway_of_servers_alone_does_not_load_torch(script: Script, tmp_path: Any) -> None:
    code = (
        "import asyncio, sys; from tunesmith.core.artifacts import Store\n"
        "from tunesmith.serve.loading.asked import Loading, Named\n"
        "from tunesmith.serve.loading.load import load_all; from tunesmith.serve.registry import Registry\n"
        "from tunesmith.serve import app, running; from pathlib import Path; found = Registry()\n"
        "asyncio.run(load_all([Named(sys.argv[1])], Loading(store=Store(Path(sys.argv[2]))), found))\n"
        "print(sorted(found.names()), 'torch' in sys.modules)"
    )
    with upstream(script) as url:
        done = subprocess.run(
            [sys.executable, "-c", code, f"{url}/v1", str(tmp_path)], capture_output=True, text=True, check=True
        )
    assert done.stdout.strip() == "['org-big', 'small'] False"


def test_a_server_that_is_not_there_or_lacks_the_model_is_said_at_the_start(script: Script, tmp_path: Any) -> None:
    with upstream(script) as url:
        registry, refused = loaded(tmp_path, f"{url}/v1#huge", f"{url}/v1#small", "http://127.0.0.1:9/v1")
    assert registry.names() == ("small",) and [type(one) for one in refused] == [EngineError, EngineError]
    assert "does not serve this model" in str(refused[0]) and "cannot be reached" in str(refused[1])
