"""Tools whose schemas, and calls whose arguments, were made to hurt: each is refused or stays text, and others are answered."""

from __future__ import annotations

import asyncio
import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
from running_server import Running, running
from tiny_models import loaded

from fakes import make_base
from tool_templates import FORMS
from tunesmith.models.continuous import generator
from tunesmith.models.generation.sampling import choose
from tunesmith.models.load import find_base, load_tokenizer
from tunesmith.models.tools.reading import CallReader, read_json
from tunesmith.serve import app
from tunesmith.serve.ask import Limits, read_chat
from tunesmith.serve.engine import Delta
from tunesmith.serve.engines.strict import keeps

ASKED: list[Any] = [{"role": "user", "content": "How warm is it in Zug?"}]


@pytest.fixture(scope="module")
def plant(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[int]]:
    """Tokens that the model says instead of its own, for as long as there are any."""
    planted: list[int] = []

    def chosen(logits_nV: Any, voices: Any) -> list[int]:
        own = choose(logits_nV, voices)
        return [planted.pop(0)] if planted else own

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(generator, "choose", chosen)
        yield planted


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_base(tmp_path_factory.mktemp("base") / "tagged", template=FORMS["tagged"])


@pytest.fixture(scope="module")
def server(base: Path, plant: list[int], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    registry, refused = loaded(tmp_path_factory.mktemp("project"), f"tagged={base}", rows=2)
    assert not refused
    with running(registry) as found:
        yield found


@pytest.fixture(scope="module")
def client(server: Running) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as found:
        yield found


def say(base: Path, plant: list[int], text: str) -> None:
    plant[:] = [*load_tokenizer(find_base(str(base)))(text, add_special_tokens=False)["input_ids"], 7]


def call(arguments: str) -> str:
    return '<tool_call>\n{"name": "look", "arguments": ' + arguments + "}\n</tool_call>"


def ask(client: openai.OpenAI, schema: dict[str, Any] | None = None, *, strict: bool = True, **how: Any) -> Any:
    function = {"name": "look", "parameters": {"type": "object", **(schema or {})}, "strict": strict}
    asked = {"model": "tagged", "messages": ASKED, "tools": [{"type": "function", "function": function}], "max_tokens": 200}
    return client.chat.completions.create(**{**asked, **how})


@pytest.mark.parametrize(
    "schema",
    [
        {"properties": {"a": {"$ref": "#/$defs/gone"}}},
        {"properties": {"a": {"$ref": "http://127.0.0.1:9/schema.json"}}},
        {"properties": {"a": {"$ref": "file:///etc/hostname"}}},
        {"properties": {"a": {"pattern": "(?=x)x", "type": "string"}}},
        {"patternProperties": {"^(a+)+$": {"type": "string"}}},
    ],
    ids=["no such place", "an address", "a file", "looks ahead", "names by pattern"],
)
@pytest.mark.parametrize("choice", ["auto", "required"])
def test_a_strict_schema_that_cannot_be_kept_is_refused_before_anything_is_written(
    client: openai.OpenAI, schema: dict[str, Any], choice: str
) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        ask(client, schema, tool_choice=choice)
    assert caught.value.param == "tools[0].function.parameters"


def test_a_pattern_is_matched_in_linear_time_and_as_re_does() -> None:
    takes = keeps({"type": "object", "properties": {"a": {"type": "string", "pattern": "^(a+)+$"}}})
    assert takes({"a": "a" * 5000}) and not takes({"a": "a" * 5000 + "!"})  # `re` would not come back
    anywhere = keeps({"properties": {"a": {"pattern": 'é"\\d'}}})
    assert anywhere({"a": 'xé"3y'}) and not anywhere({"a": 'xé"y'}) and anywhere({"a": 17})


def test_no_address_in_a_schema_is_ever_asked() -> None:
    asked: list[str] = []

    class Trap(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(404)

        def log_message(self, *_: Any) -> None: ...

    with http.server.HTTPServer(("127.0.0.1", 0), Trap) as trap:
        threading.Thread(target=trap.serve_forever, daemon=True).start()
        takes = keeps({"properties": {"a": {"$ref": f"http://127.0.0.1:{trap.server_port}/secret"}}})
        with pytest.raises(Exception, match="secret"):
            takes({"a": 1})
        trap.shutdown()
    assert asked == []


def test_references_in_a_circle_and_deep_arguments_leave_the_call_as_text(
    client: openai.OpenAI, base: Path, plant: list[int]
) -> None:
    circle = {"properties": {"a": {"$ref": "#/$defs/x"}}, "$defs": {"x": {"anyOf": [{"$ref": "#/$defs/x"}, {"type": "null"}]}}}
    assert not keeps(circle)({"a": 1})
    deep = call('{"a": ' + "[" * 80 + "]" * 80 + "}")
    say(base, plant, deep)
    choice = ask(client, strict=False, max_tokens=500).choices[0]
    assert choice.message.content == deep and choice.message.tool_calls is None


def test_what_fails_while_an_answer_is_read_fails_that_answer_alone(
    client: openai.OpenAI, base: Path, plant: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    plant.clear()
    begun, let_go = threading.Event(), threading.Event()
    other: list[Any] = []
    own = CallReader.add

    def add(self: Any, text: str, *, last: bool = False) -> Any:
        if "broken" in self.offered:
            raise RuntimeError("planted")
        begun.set()
        let_go.wait(30)
        return own(self, text, last=last)

    monkeypatch.setattr(CallReader, "add", add)
    thread = threading.Thread(target=lambda: other.append(ask(client, max_tokens=40, temperature=0)))
    thread.start()
    assert begun.wait(30)
    broken = [{"type": "function", "function": {"name": "broken"}}]
    failing: list[Any] = []

    def fail() -> None:
        try:
            ask(client, tools=broken, max_tokens=5)
        except openai.APIStatusError as error:
            failing.append(error.status_code)

    second = threading.Thread(target=fail)
    second.start()
    let_go.set()
    second.join(60)
    thread.join(60)
    assert failing and failing[0] >= 500
    assert other and other[0].choices[0].finish_reason in ("stop", "length")


@pytest.mark.parametrize(
    "arguments", ["[" * 100_000, '{"a": ' + "[" * 100 + "]" * 100 + "}", '{"a": NaN}', '{"a": "\\ud83d"}', "[1]", "3", "null"]
)
def test_arguments_in_the_conversation_that_are_no_usual_json_object_are_named(client: openai.OpenAI, arguments: str) -> None:
    calls = [{"id": "abc123def", "type": "function", "function": {"name": "look", "arguments": arguments}}]
    with pytest.raises(openai.BadRequestError) as caught:
        ask(client, messages=[*ASKED, {"role": "assistant", "tool_calls": calls}])
    assert caught.value.param == "messages[1].tool_calls[0].function.arguments"


def test_arguments_that_other_programs_do_not_read_stay_text(client: openai.OpenAI, base: Path, plant: list[int]) -> None:
    for arguments in ('{"a": "\\ud83d"}', '{"a": NaN}'):
        say(base, plant, call(arguments))
        choice = ask(client, strict=False).choices[0]
        assert choice.message.content == call(arguments) and choice.message.tool_calls is None
    say(base, plant, call('{"a": "\\ud83d\\ude00"}'))
    found = ask(client, strict=False).choices[0].message.tool_calls[0]
    assert json.loads(found.function.arguments) == {"a": "😀"} == read_json('{"a": "😀"}')


def test_tools_beyond_what_is_checked_are_refused_and_a_large_body_is_checked_beside_the_others(
    client: openai.OpenAI, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        ask(client, {"description": "x" * 200_001})
    assert caught.value.param == "tools"
    threads: list[str] = []

    def read(body: bytes) -> Any:
        threads.append(threading.current_thread().name)
        return json.loads(body)

    monkeypatch.setattr(app, "read_json", read)
    for size in (10, 30_000):
        with pytest.raises(openai.BadRequestError):
            ask(client, {"type": "array", "description": "x" * size})
    assert len(set(threads)) == 2


def test_a_call_that_is_being_written_is_not_silence_and_its_client_gets_no_empty_pieces(
    client: openai.OpenAI, server: Running, base: Path, plant: list[int]
) -> None:
    written = call(json.dumps({"a": "many words " * 10}))
    function = {"name": "look", "parameters": {"type": "object"}}
    body = {"model": "tagged", "messages": ASKED, "tools": [{"type": "function", "function": function}], "max_tokens": 200}
    version = server.registry.resolve("tagged")

    async def pieces() -> list[Any]:
        return [one async for one in version.engine.generate(version.target, read_chat(body, Limits()))]

    say(base, plant, written)
    tokens = len(plant)
    assert sum(isinstance(one, Delta) for one in asyncio.run(pieces())) >= tokens  # else a chain would give the model up
    say(base, plant, written)
    events = list(ask(client, strict=False, stream=True))
    assert len(events) == 2 and events[0].choices[0].delta.tool_calls and events[1].choices[0].finish_reason == "tool_calls"
