"""Tools through OpenAI's own client: what a model writes in its template's form comes as calls, and what must be one is one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import openai
import pytest
from running_server import Running, running
from tiny_models import loaded

from fakes import TEMPLATE, make_base
from tool_templates import FORMS, UNREADABLE
from tunesmith.models.continuous import generator
from tunesmith.models.generation.sampling import choose
from tunesmith.models.load import find_base, load_tokenizer

ASKED: list[Any] = [{"role": "user", "content": "How warm is it in Zug?"}]
LOOK: dict[str, Any] = {
    "type": "object",
    "properties": {"city": {"enum": ["Zug", "Bern"]}, "days": {"type": "integer", "minimum": 1, "maximum": 9}},
    "required": ["city", "days"],
}
TOOLS: list[Any] = [
    {"type": "function", "function": {"name": "look", "description": "The weather.", "parameters": LOOK}},
    {"type": "function", "function": {"name": "stop", "description": "End it."}},
]
CALL = '<tool_call>\n{"name": "look", "arguments": {"city": "Zug", "days": 2}}\n</tool_call>'


class Plant:
    """What the model says instead of its own tokens, once, if something is planted."""

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer
        self.ids: list[int] = []

    def __call__(self, text: str, *, ends: bool = True) -> None:
        self.ids = self.tokenizer(text, add_special_tokens=False)["input_ids"] + [7] * ends


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("bases")
    templates = {**FORMS, "plain": TEMPLATE, "odd": UNREADABLE}
    return {name: make_base(root / name, template=text) for name, text in templates.items()}


@pytest.fixture(scope="module")
def plant(bases: dict[str, Path]) -> Iterator[Plant]:
    planted = Plant(load_tokenizer(find_base(str(bases["tagged"]))))

    def chosen(logits_nV: Any, voices: Any) -> list[int]:
        own = choose(logits_nV, voices)
        return [planted.ids.pop(0)] if planted.ids else own

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(generator, "choose", chosen)
        yield planted


@pytest.fixture(scope="module")
def server(bases: dict[str, Path], plant: Plant, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    registry, refused = loaded(tmp_path_factory.mktemp("project"), *(f"{name}={path}" for name, path in bases.items()), rows=2)
    assert not refused
    with running(registry) as found:
        yield found


@pytest.fixture(scope="module")
def client(server: Running) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as found:
        yield found


def ask(client: openai.OpenAI, model: str = "tagged", **how: Any) -> Any:
    asked = {"model": model, "messages": ASKED, "tools": TOOLS, "max_tokens": 200, "temperature": 0}
    return client.chat.completions.create(**{**asked, **how})


def gathered(stream: Any) -> tuple[str, list[tuple[str, str, Any]], list[str]]:
    """Text, calls and ends of a stream, put together as its client has to."""
    text, calls, ends = "", dict[int, list[str]](), []
    for chunk in stream:
        for choice in chunk.choices:
            text += choice.delta.content or ""
            for call in choice.delta.tool_calls or ():
                kept = calls.setdefault(call.index, ["", "", ""])
                kept[0] += call.id or ""
                kept[1] += call.function.name or ""
                kept[2] += call.function.arguments or ""
            ends += [choice.finish_reason] if choice.finish_reason else []
    return text, [(id, name, json.loads(given)) for id, name, given in calls.values()], ends


def test_a_call_that_the_model_writes_comes_as_a_call_whole_and_streamed(client: openai.OpenAI, plant: Plant) -> None:
    plant("I look.\n" + CALL)
    choice = ask(client).choices[0]
    assert (choice.message.content, choice.finish_reason) == ("I look.", "tool_calls")
    (call,) = choice.message.tool_calls
    assert (call.type, call.function.name, json.loads(call.function.arguments)) == (
        "function",
        "look",
        {"city": "Zug", "days": 2},
    )
    plant("I look.\n" + CALL + "\n" + CALL.replace("Zug", "Bern"))
    text, calls, ends = gathered(ask(client, stream=True))
    assert (text, ends) == ("I look.", ["tool_calls"])
    assert [(name, given["city"]) for _, name, given in calls] == [("look", "Zug"), ("look", "Bern")]
    assert len({id for id, *_ in calls}) == 2
    plant(CALL)
    assert ask(client).choices[0].message.content is None


def test_without_a_call_the_answer_is_text_and_one_call_is_enough_where_no_more_are_wanted(
    client: openai.OpenAI, plant: Plant
) -> None:
    plant("It is <warm>.")
    choice = ask(client).choices[0]
    assert (choice.message.content, choice.finish_reason, choice.message.tool_calls) == ("It is <warm>.", "stop", None)
    for stream in (False, True):
        plant(CALL + "\n" + CALL + " and more")
        answer = ask(client, parallel_tool_calls=False, stream=stream)
        if stream:
            text, calls, ends = gathered(answer)
            assert (text, len(calls), ends) == ("", 1, ["tool_calls"])
        else:
            choice = answer.choices[0]
            assert (choice.message.content, len(choice.message.tool_calls), choice.finish_reason) == (None, 1, "tool_calls")
        plant.ids.clear()


@pytest.mark.parametrize(
    "said",
    [
        CALL.replace('"days": 2', '"days": two'),
        CALL.replace("look", "guess"),
        CALL[:-40],
        "<tool_call>",
        "It is <tool",
        CALL.replace("}}", "}"),
    ],
    ids=["no JSON", "no such tool", "cut off", "a tag", "half a tag", "a brace short"],
)
def test_what_is_no_call_stays_text_to_the_last_letter(client: openai.OpenAI, plant: Plant, said: str) -> None:
    for finish, ends in (("stop", True), ("length", False)):
        plant(said, ends=ends)
        limit = len(plant.ids)
        choice = ask(client, max_tokens=limit).choices[0]
        assert (choice.message.content, choice.finish_reason, choice.message.tool_calls) == (said, finish, None)
        plant(said, ends=ends)
        assert gathered(ask(client, max_tokens=limit, stream=True)) == (said, [], [finish])


def test_a_strict_tool_gets_only_arguments_of_its_schema(client: openai.OpenAI, plant: Plant) -> None:
    strict = [{"type": "function", "function": {**TOOLS[0]["function"], "strict": True}}]
    wrong = CALL.replace('"days": 2', '"days": 20')
    plant(wrong)
    assert ask(client, tools=strict).choices[0].message.content == wrong
    plant(wrong)
    assert ask(client).choices[0].message.tool_calls
    plant(CALL)
    assert ask(client, tools=strict).choices[0].message.tool_calls


@pytest.mark.parametrize("name", FORMS)
@pytest.mark.parametrize("seed", range(3))
def test_an_answer_that_must_be_a_call_is_one_of_the_schema_in_every_form(client: openai.OpenAI, name: str, seed: int) -> None:
    how: dict[str, Any] = {"temperature": 1, "seed": seed, "max_tokens": 400}
    choice = ask(client, name, tool_choice="required", parallel_tool_calls=False, **how).choices[0]
    assert (choice.message.content, len(choice.message.tool_calls), choice.finish_reason) == (None, 1, "tool_calls")
    function = choice.message.tool_calls[0].function
    jsonschema.validate(json.loads(function.arguments), LOOK if function.name == "look" else {"maxProperties": 0})
    text, calls, ends = gathered(
        ask(client, name, tool_choice={"type": "function", "function": {"name": "look"}}, stream=True, **how)
    )
    assert (text, [called for _, called, _ in calls], ends) == ("", ["look"], ["tool_calls"])
    jsonschema.validate(calls[0][2], LOOK)


def test_calls_and_results_in_the_conversation_are_written_by_the_template(
    client: openai.OpenAI, server: Running, plant: Plant
) -> None:
    plant(CALL)
    first = ask(client).choices[0].message
    turns = [*ASKED, first.model_dump(), {"role": "tool", "tool_call_id": first.tool_calls[0].id, "content": "21 degrees"}]
    plant("It is warm.")
    answer = ask(client, messages=turns)
    assert (answer.choices[0].message.content, answer.choices[0].finish_reason) == ("It is warm.", "stop")
    engine: Any = server.registry.resolve("tagged").engine
    chat = next(iter(engine.targets.values())).chat
    call = {"id": first.tool_calls[0].id, "type": "function"}
    call["function"] = {"name": "look", "arguments": {"city": "Zug", "days": 2}}
    rows = [*ASKED, {"role": "assistant", "content": "", "tool_calls": [call]}, {**turns[2], "name": "look"}]
    own = chat.tokenizer.apply_chat_template(rows, tools=TOOLS, add_generation_prompt=True, return_dict=False)
    assert answer.usage.prompt_tokens == len(own)
    assert chat.encode_turns(rows, TOOLS) == own  # and no token of the prompt differs from what transformers makes


def test_without_tools_the_prompt_is_the_one_of_training(client: openai.OpenAI, server: Running) -> None:
    engine: Any = server.registry.resolve("tagged").engine
    chat = next(iter(engine.targets.values())).chat
    size = len(chat.tokenizer.apply_chat_template(ASKED, add_generation_prompt=True, return_dict=False))
    bare = client.chat.completions.create(model="tagged", messages=ASKED, max_tokens=1)
    none = ask(client, tool_choice="none", max_tokens=1)
    assert bare.usage and size == bare.usage.prompt_tokens == none.usage.prompt_tokens
    assert ask(client, max_tokens=1).usage.prompt_tokens > size


def test_with_tool_choice_none_what_looks_like_a_call_is_text(client: openai.OpenAI, plant: Plant) -> None:
    plant(CALL)
    choice = ask(client, tool_choice="none").choices[0]
    assert (choice.message.content, choice.message.tool_calls, choice.finish_reason) == (CALL, None, "stop")


def test_every_token_has_its_log_probability_also_those_of_a_call(client: openai.OpenAI, plant: Plant) -> None:
    plant("I look.\n" + CALL)
    count = len(plant.ids) - 1  # without the end
    choice = ask(client, logprobs=True, top_logprobs=2).choices[0]
    assert choice.message.tool_calls and len(choice.logprobs.content) == count
    assert all(one.logprob < 0 and len(one.top_logprobs) == 2 for one in choice.logprobs.content)
    said = b"".join(bytes(one.bytes) for one in choice.logprobs.content).decode()
    assert said == "I look.\n" + CALL
    plant("I look.\n" + CALL)
    pieces = [chunk.choices[0].logprobs for chunk in ask(client, logprobs=True, stream=True)]
    assert [one.token for piece in pieces if piece for one in piece.content] == [one.token for one in choice.logprobs.content]


WARM: dict[str, Any] = {
    "type": "object",
    "properties": {"warm": {"type": "boolean"}},
    "required": ["warm"],
    "additionalProperties": False,
}
WARM_FORM: dict[str, Any] = {"type": "json_schema", "json_schema": {"name": "warm", "schema": WARM}}


@pytest.mark.parametrize("name", FORMS)
def test_beside_tools_an_answer_that_is_no_call_is_json_of_the_schema_asked_for(client: openai.OpenAI, name: str) -> None:
    kinds = set()
    for seed in range(6):
        how: dict[str, Any] = {"temperature": 1, "seed": seed, "max_tokens": 400, "response_format": WARM_FORM}
        choice = ask(client, name, **how, parallel_tool_calls=False).choices[0]
        kinds.add(choice.finish_reason)
        if choice.finish_reason == "tool_calls":
            function = choice.message.tool_calls[0].function
            assert choice.message.content is None
            jsonschema.validate(json.loads(function.arguments), LOOK if function.name == "look" else {"maxProperties": 0})
        else:
            jsonschema.validate(json.loads(choice.message.content), WARM)
        bare = ask(client, name, **how, tool_choice="none").choices[0]
        jsonschema.validate(json.loads(bare.message.content), WARM)
        must = ask(client, name, **how, tool_choice="required", parallel_tool_calls=False).choices[0]
        assert must.finish_reason == "tool_calls" and must.message.content is None
    assert kinds <= {"stop", "tool_calls"}


def test_beside_tools_and_a_schema_the_model_itself_decides_whether_it_calls(client: openai.OpenAI, plant: Plant) -> None:
    for form, said in ((WARM_FORM, '{"warm":true}'), ({"type": "json_object"}, '{"any":1}')):
        plant(CALL)
        choice = ask(client, response_format=form).choices[0]
        assert choice.finish_reason == "tool_calls" and choice.message.tool_calls[0].function.name == "look"
        plant(said)
        choice = ask(client, response_format=form).choices[0]
        assert (choice.message.content, choice.finish_reason, choice.message.tool_calls) == (said, "stop", None)


def called(arguments: str, id: str = "abc123def") -> list[Any]:
    function = {"name": "look", "arguments": arguments}
    calls = [{"id": "abc123def", "type": "function", "function": function}]
    result = {"role": "tool", "tool_call_id": id, "content": "warm"}
    return [*ASKED, {"role": "assistant", "content": None, "tool_calls": calls}, result]


def tool(**how: Any) -> list[Any]:
    return [{"type": "function", "function": {"name": "f", **how}}]


@pytest.mark.parametrize(
    ("how", "param"),
    [
        ({"model": "plain"}, "tools"),
        ({"model": "odd"}, "tools"),
        ({"model": "plain", "tools": openai.omit, "messages": called("{}")}, "messages[1].tool_calls"),
        ({"tool_choice": {"type": "function", "function": {"name": "guess"}}}, "tool_choice"),
        ({"tool_choice": "always"}, "tool_choice"),
        ({"tool_choice": "required", "tools": []}, "tool_choice"),
        ({"tools": [{"type": "search"}]}, "tools[0].type"),
        ({"tools": tool(name="two words")}, "tools[0].function.name"),
        ({"tools": tool(colour="red")}, "tools[0].function.colour"),
        ({"tools": tool() * 2}, "tools[1].function.name"),
        ({"tools": tool() * 129}, "tools"),
        ({"tools": tool(parameters={"type": "array"})}, "tools[0].function.parameters"),
        ({"tools": tool(parameters={"properties": {"a": {"type": "colour"}}})}, "tools[0].function.parameters"),
        (
            {"tools": tool(parameters={"not": {"required": ["a"]}}), "tool_choice": "required"},
            "tools[0].function.parameters",
        ),
        ({"response_format": {"type": "json_schema", "json_schema": {"schema": {"type": "hue"}}}}, "response_format"),
        ({"messages": [*called("{}")[:2], {**called("{}")[2], "name": "guess"}]}, "messages[2].name"),
        ({"messages": called("{oh")}, "messages[1].tool_calls[0].function.arguments"),
        ({"messages": called("[1]")}, "messages[1].tool_calls[0].function.arguments"),
        ({"messages": called("{}", id="another")}, "messages[2].tool_call_id"),
        ({"model": "listed", "messages": json.loads(json.dumps(called("{}")).replace("abc123def", "short"))}, "messages"),
    ],
)  # fmt: skip
def test_a_request_of_tools_that_cannot_be_honoured_is_refused_by_the_name_of_its_field(
    client: openai.OpenAI, how: dict[str, Any], param: str
) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        ask(client, **how)
    assert caught.value.param == param and caught.value.code
