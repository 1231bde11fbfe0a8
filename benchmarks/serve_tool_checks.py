"""What the conformance run asks of a server about tools, through OpenAI's own client, by all four ways to ask."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from functools import partial
from typing import Any

import jsonschema
import openai

from serve_checks import ASKED, Asking, Check, failure

Calls = dict[int, list[tuple[str, dict[str, Any]]]]
LOOK: dict[str, Any] = {
    "type": "object",
    "properties": {"city": {"enum": ["Zug", "Bern"]}, "days": {"type": "integer", "minimum": 1, "maximum": 9}},
    "required": ["city", "days"],
    "additionalProperties": False,
}
TOOLS: list[Any] = [
    {"type": "function", "function": {"name": "look", "description": "The weather.", "parameters": LOOK}},
    {"type": "function", "function": {"name": "end", "description": "End it."}},
]
WARM = {"type": "object", "properties": {"warm": {"type": "boolean"}}, "required": ["warm"], "additionalProperties": False}
CHOICES: list[Any] = ["required", *({"type": "function", "function": {"name": name}} for name in ("look", "end"))]


def tool_answers(url: str, model: str) -> Iterator[Check]:
    """Calls that must come, answers that may have one, conversations with results, and fields at fault. `model` has a template
    with tools."""
    ways = [Asking(url, waits=w, streams=s) for w in (False, True) for s in (False, True)]
    asked = {"model": model, "messages": ASKED, "tools": TOOLS, "max_tokens": 200, "parallel_tool_calls": False}
    draws = ({"temperature": 0}, {"temperature": 1, "seed": 3})
    for choice, draw, n, way in itertools.product(CHOICES, draws, (1, 3), ways):
        how = {**asked, **draw, "tool_choice": choice, "n": n}
        yield f"tools {choice} {draw} n={n} {way}", partial(_must_call, ways[0], way, how)
    for choice, way in itertools.product(("auto", "none"), ways):
        how = {**asked, "tool_choice": choice, "temperature": 0, "max_tokens": 20}
        yield f"tools {choice} {way}", partial(_may_call, ways[0], way, how)
    for way in ways:
        yield f"tools, result {way}", partial(_goes_on, way, asked)
    for draw, way in itertools.product(({"temperature": 0}, *({"temperature": 1, "seed": seed} for seed in range(5))), ways):
        yield f"tools and a schema {draw} {way}", partial(_call_or_json, ways[0], way, {**asked, **draw})
    for top, way in itertools.product((0, 3), ways):
        yield (
            f"tools and logprobs {top} {way}",
            partial(_has_logprobs, way, {**asked, "tool_choice": "required", "top_logprobs": top}),
        )
    for (how, param), way in itertools.product(_refused(), ways):
        yield f"tools refused {param} {str(how)[:40]} {way}", partial(_is_refused, way, {**asked, **how}, param)


def _read(made: list[Any]) -> tuple[dict[int, str], Calls, dict[int, str]]:
    texts: dict[int, str] = {}
    parts: dict[int, dict[int, list[str]]] = {}
    ends: dict[int, str] = {}
    for one in made:
        for choice in one.choices:
            message = choice.delta if hasattr(choice, "delta") else choice.message
            texts[choice.index] = texts.get(choice.index, "") + (message.content or "")
            for at, call in enumerate(message.tool_calls or ()):
                kept = parts.setdefault(choice.index, {}).setdefault(getattr(call, "index", at), ["", "", ""])
                kept[0] += call.id or ""
                kept[1] += call.function.name or ""
                kept[2] += call.function.arguments or ""
            if choice.finish_reason:
                assert choice.index not in ends, "two ends of one choice"
                ends[choice.index] = choice.finish_reason
    ids = [id for calls in parts.values() for id, *_ in calls.values()]
    assert len(set(ids)) == len(ids) and all(ids)
    read = {index: [(name, json.loads(given)) for _, name, given in calls.values()] for index, calls in parts.items()}
    return texts, read, ends


def _must_call(plain: Asking, way: Asking, how: dict[str, Any]) -> None:
    wanted, found = (_read(one.made("chat", **how)) for one in (plain, way))
    assert found == wanted, (wanted, found)
    texts, calls, ends = found
    assert not any(texts.values()) and set(ends.values()) == {"tool_calls"} and len(calls) == len(ends) == how["n"]
    for ((name, given),) in calls.values():
        only = how["tool_choice"]["function"]["name"] if isinstance(how["tool_choice"], dict) else name
        assert name == only
        jsonschema.validate(given, LOOK if name == "look" else {"maxProperties": 0})


def _may_call(plain: Asking, way: Asking, how: dict[str, Any]) -> None:
    """`auto` answers the same by all ways; `none` as if there were no tools."""
    bare = {name: value for name, value in how.items() if not name.startswith(("tool", "parallel"))}
    wanted = _read(plain.made("chat", **(bare if how["tool_choice"] == "none" else how)))
    assert _read(way.made("chat", **how)) == wanted


def _call_or_json(plain: Asking, way: Asking, asked: dict[str, Any]) -> None:
    """Beside `response_format` an answer is calls alone, or JSON of the schema."""
    how = {**asked, "response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": WARM}}}
    texts, calls, ends = found = _read(way.made("chat", **how))
    assert found == _read(plain.made("chat", **how))
    if ends[0] == "tool_calls":
        assert not texts[0] and all(name in ("look", "end") for name, _ in calls[0])
    else:
        jsonschema.validate(json.loads(texts[0]), WARM)


def _has_logprobs(way: Asking, asked: dict[str, Any]) -> None:
    told = [choice.logprobs for one in way.made("chat", **asked, logprobs=True, temperature=0) for choice in one.choices]
    tokens = [one for each in told if each for one in each.content or ()]
    assert tokens and all(one.logprob <= 0 and len(one.top_logprobs) == asked["top_logprobs"] for one in tokens)


def _goes_on(way: Asking, asked: dict[str, Any]) -> None:
    made = {"id": "abc123def", "type": "function", "function": {"name": "look", "arguments": '{"city": "Zug", "days": 2}'}}
    turns = [*ASKED, {"role": "assistant", "content": None, "tool_calls": [made]}]
    turns.append({"role": "tool", "tool_call_id": made["id"], "content": "21 degrees"})
    usage = [way.made("chat", **{**asked, "messages": m, "max_tokens": 4})[-1].usage.prompt_tokens for m in (ASKED, turns)]
    assert usage[0] < usage[1]


def _refused() -> list[tuple[dict[str, Any], str]]:
    def tools(**how: Any) -> dict[str, Any]:
        return {"tools": [{"type": "function", "function": {"name": "f", **how}}]}

    made = {"id": "a", "type": "function", "function": {"name": "look", "arguments": "{oh"}}
    broken = [*ASKED, {"role": "assistant", "tool_calls": [made]}]
    return [
        ({"model": "base"}, "tools"),
        ({"tool_choice": {"type": "function", "function": {"name": "guess"}}}, "tool_choice"),
        ({"tool_choice": "always"}, "tool_choice"),
        ({"tools": [], "tool_choice": "required"}, "tool_choice"),
        ({"tools": [{"type": "search"}]}, "tools[0].type"),
        (tools(name="two words"), "tools[0].function.name"),
        (tools(parameters={"type": "array"}), "tools[0].function.parameters"),
        (tools(parameters={"properties": {"a": {"type": "colour"}}}), "tools[0].function.parameters"),
        ({"functions": [{"name": "f"}]}, "functions"),
        ({"messages": [*ASKED, {"role": "function", "name": "f", "content": "x"}]}, f"messages[{len(ASKED)}].role"),
        ({"messages": broken}, f"messages[{len(ASKED)}].tool_calls[0].function.arguments"),
        ({"messages": [*ASKED, {"role": "tool", "tool_call_id": "a", "content": "x"}]}, f"messages[{len(ASKED)}].tool_call_id"),
    ]


def _is_refused(way: Asking, asked: dict[str, Any], param: str) -> None:
    error = failure(way, openai.BadRequestError, asked)
    assert error.param == param and error.code and error.message, (error.param, error.code)
