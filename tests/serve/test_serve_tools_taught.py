"""A model that learned to call a tool, in this process and as GGUF in llama.cpp: the same client, the same conversation."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import jsonschema
import openai
import pytest
from running_server import Running, running
from taught_models import Lesson, teach
from test_serve_tools import gathered
from tiny_models import loaded

from fakes import TEMPLATE, make_base
from gguf_files import write_gguf
from tool_templates import TAGGED
from tunesmith.models.tools.form import find_form

pytestmark = pytest.mark.slow  # the model learns for some seconds
pytest.importorskip("xllamacpp", reason="needs tunesmith[llama-cpp]")
CITY = {"type": "object", "properties": {"city": {"enum": ["Zug", "Bern"]}}, "required": ["city"]}
TOOLS: list[Any] = [{"type": "function", "function": {"name": "look", "description": "Sky.", "parameters": CITY}}]
NUMBER: dict[str, Any] = {
    "type": "object",
    "properties": {"n": {"type": "integer", "minimum": 1, "maximum": 9}},
    "required": ["n"],
}
END: Any = {"type": "function", "function": {"name": "end", "description": "End.", "parameters": NUMBER}}
WARM, BOTH, GREET = ([{"role": "user", "content": text}] for text in ("Warm?", "Both?", "Hi"))
MODELS = ("own", "gguf")


def call(city: str) -> str:
    return '<tool_call>\n{"name": "look", "arguments": {"city": "' + city + '"}}\n</tool_call>'


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    root = tmp_path_factory.mktemp("taught")
    made = {"id": "abc123450", "function": {"name": "look", "arguments": {"city": "Zug"}}}
    asked = {"role": "assistant", "content": "", "tool_calls": [made]}
    result = {"role": "tool", "tool_call_id": made["id"], "name": "look", "content": "21"}
    lessons: list[Lesson] = [
        (WARM, TOOLS, call("Zug")),
        ([*WARM, asked, result], TOOLS, "It is warm."),
        (WARM, None, "Who knows."),
        (BOTH, TOOLS, call("Zug") + "\n" + call("Bern")),
        (GREET, TOOLS, "Hello."),
    ]
    base = teach(root / "own", TAGGED, lessons)
    files = [write_gguf(base, root / "gguf.gguf", template=TAGGED, pre="gpt-2")]
    files += [write_gguf(make_base(root / "plain"), root / "plain.gguf", template=TEMPLATE, pre="gpt-2")]
    registry, refused = loaded(root, f"own={base}", *(f"{file.stem}={file}" for file in files), context=512, rows=1)
    assert not refused
    with running(registry) as found:
        yield found


@pytest.fixture(scope="module")
def client(server: Running) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as found:
        yield found


def ask(client: openai.OpenAI, model: str, messages: list[Any], **how: Any) -> Any:
    asked = {"model": model, "messages": messages, "tools": TOOLS, "max_tokens": 200, "temperature": 0}
    return client.chat.completions.create(**{**asked, **how})


def named(name: str) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name}}


def whole(answer: Any) -> tuple[str, list[tuple[str, str, Any]], list[str]]:
    (choice,) = answer.choices
    calls = choice.message.tool_calls or []
    made = [(one.id, one.function.name, json.loads(one.function.arguments)) for one in calls]
    return choice.message.content or "", made, [choice.finish_reason]


@pytest.mark.parametrize("model", MODELS)
def test_a_question_a_call_a_result_and_an_answer(client: openai.OpenAI, model: str) -> None:
    first = ask(client, model, WARM).choices[0]
    (made,) = first.message.tool_calls
    assert (made.function.name, json.loads(made.function.arguments)) == ("look", {"city": "Zug"})
    assert (first.finish_reason, first.message.content or "") == ("tool_calls", "")
    streamed = gathered(ask(client, model, WARM, stream=True))
    assert (streamed[0], [(name, given) for _, name, given in streamed[1]]) == ("", [("look", {"city": "Zug"})])
    assert streamed[2] == ["tool_calls"] and streamed[1][0][0]
    turns = [*WARM, first.message, {"role": "tool", "tool_call_id": made.id, "content": "21"}]
    if model == "own":  # llama.cpp makes ids of its own length, and the prompt has them not
        assert len(made.id) == 9
    answer = ask(client, model, turns).choices[0]
    assert (answer.message.content, answer.finish_reason) == ("It is warm.", "stop")


@pytest.mark.parametrize("model", MODELS)
def test_choice_and_number_of_calls_are_honoured(client: openai.OpenAI, model: str) -> None:
    assert ask(client, model, WARM, tool_choice="none").choices[0].message.content == "Who knows."
    assert ask(client, model, GREET).choices[0].message.content == "Hello."
    both = [*TOOLS, END]
    wanted: list[tuple[Any, list[Any]]] = [("required", TOOLS), ("required", both), (named("look"), both), (named("end"), both)]
    for choice, tools in wanted:
        for stream in (False, True):
            how: dict[str, Any] = {"stream": stream, "temperature": 1, "seed": 5, "max_tokens": 120}
            answer = ask(client, model, GREET, tool_choice=choice, tools=tools, parallel_tool_calls=False, **how)
            text, calls, ends = gathered(answer) if stream else whole(answer)
            ((id, name, given),) = calls
            assert (text, ends) == ("", ["tool_calls"]) and id and name in {one["function"]["name"] for one in tools}
            assert choice == "required" or name == choice["function"]["name"]
            jsonschema.validate(given, CITY if name == "look" else NUMBER)
    two = ask(client, model, BOTH).choices[0].message.tool_calls
    assert [json.loads(one.function.arguments)["city"] for one in two] == ["Zug", "Bern"]
    one = ask(client, model, BOTH, parallel_tool_calls=False).choices[0]
    assert (len(one.message.tool_calls), one.finish_reason) == (1, "tool_calls")
    assert len(gathered(ask(client, model, BOTH, parallel_tool_calls=False, stream=True))[1]) == 1


def test_a_call_that_must_come_and_is_cut_is_text(client: openai.OpenAI) -> None:
    for limit in (1, 3):
        cut = ask(client, "gguf", GREET, tool_choice="required", max_tokens=limit).choices[0]
        assert cut.finish_reason == "length" and not cut.message.tool_calls and cut.message.content.startswith("<tool_call>")


@pytest.mark.parametrize("model", MODELS)
def test_log_probabilities_come_beside_calls(client: openai.OpenAI, model: str) -> None:
    said = ask(client, model, WARM, logprobs=True, top_logprobs=1).choices[0]
    assert said.message.tool_calls and call("Zug") in "".join(one.token for one in said.logprobs.content)
    must = ask(client, model, GREET, tool_choice="required", logprobs=True, top_logprobs=1).choices[0]
    assert must.message.tool_calls and must.logprobs.content
    assert all(one.logprob <= 0 and len(one.top_logprobs) == 1 for one in (*said.logprobs.content, *must.logprobs.content))


def test_llama_cpp_and_transformers_show_the_same_form_and_prompt(server: Running) -> None:
    own: Any = server.registry.resolve("own").engine
    gguf: Any = server.registry.resolve("gguf").engine
    template = next(iter(own.targets.values())).chat.template
    assert find_form(gguf.server) == find_form(template)
    rows = [{"role": "system", "content": "Be brief."}, *GREET]
    assert gguf.server.render_turns(rows, TOOLS, answer_next=True) == template.render_turns(rows, TOOLS, answer_next=True)


def test_a_schema_that_llama_cpp_does_not_keep_is_refused(client: openai.OpenAI) -> None:
    odd = {"type": "object", "properties": {"n": {**NUMBER["properties"]["n"], "not": {"minimum": 1}}}, "required": ["n"]}
    with pytest.raises(openai.BadRequestError) as caught:
        ask(client, "gguf", GREET, tools=[tool_of(odd)], tool_choice="required")
    assert caught.value.param == "tools[0].function.parameters"


def tool_of(parameters: dict[str, Any]) -> dict[str, Any]:
    return {"type": "function", "function": {"name": "end", "description": "End.", "parameters": parameters}}


def history(arguments: str, id: str = "abc123def") -> list[Any]:
    made = {"id": "abc123def", "type": "function", "function": {"name": "look", "arguments": arguments}}
    turn = {"role": "assistant", "content": None, "tool_calls": [made]}
    return [*WARM, turn, {"role": "tool", "tool_call_id": id, "content": "21"}]


@pytest.mark.parametrize(
    ("how", "param"),
    [
        ({"model": "plain"}, "tools"),
        ({"model": "plain", "tools": openai.omit, "messages": history("{}")}, "messages"),
        ({"response_format": {"type": "json_object"}}, "response_format"),
        ({"logprobs": True, "stream": True}, "logprobs"),
        ({"messages": history("{oh")}, "messages[1].tool_calls[0].function.arguments"),
        ({"messages": history("{}", id="another")}, "messages[2].tool_call_id"),
        ({"tool_choice": {"type": "function", "function": {"name": "guess"}}}, "tool_choice"),
    ],
)
def test_llama_cpp_is_asked_for_nothing_that_it_would_ignore(client: openai.OpenAI, how: dict[str, Any], param: str) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        ask(client, how.pop("model", "gguf"), how.pop("messages", WARM), **how)
    assert caught.value.param == param
