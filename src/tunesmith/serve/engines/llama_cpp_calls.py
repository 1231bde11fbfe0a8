"""Answers that have to be a call of a tool, from llama.cpp: its own `required` lets text of any length stand before the call.

The prompt goes on as the template begins a call; then the model writes one of the names offered, and the arguments by their
schema, each in a completion that llama.cpp's grammar holds to that.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Any

from tunesmith.models.tools.form import ToolForm, Written
from tunesmith.models.tools.reading import ToolCall, new_id
from tunesmith.serve.ask import Ask
from tunesmith.serve.engine import Delta, LogProb, Usage
from tunesmith.serve.engines.strict import keeps, names_by_pattern
from tunesmith.serve.errors import bad_field

__all__ = ["must_call"]

Complete = Callable[[Ask], AsyncGenerator[Delta | Usage]]
_KEPT = ("temperature", "top_p", "top_k", "min_p", "seed", "stop", "frequency_penalty", "presence_penalty", "logit_bias")


async def must_call(ask: Ask, prompt: str, form: ToolForm, complete: Complete) -> AsyncGenerator[Delta | Usage]:
    """One call as the answer to `prompt`, or, where `max_tokens` cut it, what was written of it as text.

    ApiError 400 if llama.cpp did not keep the schema: it says nothing where it cannot.
    """
    assert ask.tools is not None
    functions = {one.name: one for one in ask.tools.callable}
    for at, one in enumerate(ask.tools.functions):
        if one in ask.tools.callable and names_by_pattern(one.parameters):
            raise bad_field(f"tools[{at}].function.parameters", "patternProperties are not supported in a call that must come")
    names = sorted(functions, key=len, reverse=True)
    begin, first = _filled(form.begin), _Part()
    if len(names) > 1:
        grammar = "root ::= " + " | ".join(json.dumps(name) for name in names)
        first = await _completed(ask, complete, prompt + begin, grammar=grammar)
    name = first.text if len(names) > 1 else names[0]
    if name not in functions:
        yield Delta(0, begin + name, "length", first.logprobs)
        yield first.usage
        return
    middle = _filled(form.middle)
    second = await _completed(ask, complete, prompt + begin + name + middle, json_schema=functions[name].closed)
    yield replace(_answer(ask, name, second, begin + name + middle), logprobs=first.logprobs + second.logprobs)
    usage = (first.usage, second.usage) if len(names) > 1 else (second.usage,)
    yield Usage(usage[0].prompt, sum(one.completion for one in usage), usage[0].cached)


@dataclass(slots=True)
class _Part:
    """A completion."""

    text: str = ""
    finish: str = ""
    logprobs: tuple[LogProb, ...] = ()
    usage: Usage = field(default_factory=lambda: Usage(0, 0))


async def _completed(ask: Ask, complete: Complete, prompt: str, **held: Any) -> _Part:
    body = {name: ask.body[name] for name in _KEPT if ask.body.get(name) is not None}
    body |= {"prompt": prompt, **held} | ({} if ask.max_tokens is None else {"max_tokens": ask.max_tokens})
    body |= {} if ask.logprobs is None else {"logprobs": max(1, ask.logprobs)}
    asked = replace(ask, kind="completion", body=body, prompts=(prompt,), stream=False, tools=None, turns=())
    part = _Part()
    async with aclosing(complete(asked)) as pieces:
        async for piece in pieces:
            if isinstance(piece, Usage):
                part.usage = piece
            else:
                part.text += piece.text
                part.logprobs += piece.logprobs
                part.finish = piece.finish or part.finish
    return part


def _answer(ask: Ask, name: str, part: _Part, before: str) -> Delta:
    assert ask.tools is not None
    at, function = next((at, one) for at, one in enumerate(ask.tools.functions) if one.name == name)
    try:
        arguments = json.loads(part.text)
    except ValueError:
        arguments = None
    if arguments is None and part.finish == "length" and part.text.strip()[:1] in ("", "{"):
        return Delta(0, before + part.text, "length")
    if not isinstance(arguments, dict) or not keeps(function.parameters)(arguments):
        raise bad_field(f"tools[{at}].function.parameters", "llama.cpp cannot enforce this schema")
    call = ToolCall(new_id(), name, json.dumps(arguments, ensure_ascii=False))
    return Delta(0, finish="tool_calls", extra=call.streamed(0))


def _filled(pieces: Written) -> str:
    """A text of the template with new ids where it has some."""
    return "".join(new_id() if piece is None else piece for piece in pieces)
