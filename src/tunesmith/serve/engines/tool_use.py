"""Requests with tools, for a model in this process: the prompt by its template, the grammar of a call, and reading calls."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from tunesmith.core.errors import ModelError, TunesmithError
from tunesmith.core.records import Message
from tunesmith.models.chat import Chat
from tunesmith.models.continuous.grammar import GrammarTokens, Start
from tunesmith.models.tools.form import ToolForm, find_form
from tunesmith.models.tools.reading import CallReader, Takes
from tunesmith.serve.ask import Ask
from tunesmith.serve.ask_tools import Function, Tools, arguments_of, check_turns
from tunesmith.serve.engines.strict import keeps, names_by_pattern
from tunesmith.serve.errors import bad_field

__all__ = ["ToolUse", "compiled"]

_MOST_CALLS = 8  # of an answer that has to call tools, which a small model might go on with until its limit


@dataclass(frozen=True)
class ToolUse:
    """What a chat template does with tools. Found when it is first asked for, by rendering."""

    chat: Chat

    @cached_property
    def _found(self) -> ToolForm | ModelError:
        try:
            return find_form(self.chat.template)
        except ModelError as error:
            return error

    def form(self, param: str) -> ToolForm:
        """ApiError 400 that names `param` if the template does not use tools, or if its calls cannot be read."""
        if isinstance(self._found, ModelError):
            what = self._found.problems[0]
            raise bad_field(param, f"{what.what}; expected {what.expected}", code="unsupported_parameter")
        return self._found

    @cached_property
    def controls(self) -> dict[str, int]:
        """Control tokens by which calls are recognised, and their ids. They are otherwise left out of an answer's text."""
        written = "".join(self.form("tools").texts)
        named = [text for text in self.chat.template.controls if text in written]
        return {text: int(self.chat.tokenizer.convert_tokens_to_ids(text)) for text in named}

    def check(self, ask: Ask) -> None:
        """ApiError 400 for what does not go together with tools, and for calls in the conversation that cannot be."""
        check_turns(ask.turns)
        if ask.tools is None:
            return
        self.form("tools")
        for at, function in enumerate(ask.tools.functions):
            if function.strict and names_by_pattern(function.parameters):
                raise bad_field(_parameters(at), "patternProperties are not supported in a strict function")

    def prompt(self, ask: Ask) -> tuple[int, ...]:
        """Token ids of a conversation with tools. ApiError 400 that names what its template cannot write."""
        turns = self._turns(ask.turns, ask.messages) if ask.turns else [_plain(one) for one in ask.messages]
        try:
            return tuple(self.chat.encode_turns(turns, None if ask.tools is None else ask.tools.given))
        except TunesmithError as error:
            message = f"the model's chat template refuses this conversation: {error.problems[0].expected}"
            raise bad_field("messages", message) from error

    def _turns(self, turns: Sequence[Mapping[str, Any]], messages: Sequence[Message]) -> list[dict[str, Any]]:
        """As templates take them. What a tool answered has the name of the tool that was called."""
        names: dict[str, str] = {}
        made: list[dict[str, Any]] = []
        for at, (turn, message) in enumerate(zip(turns, messages, strict=True)):
            row = _plain(message)
            if calls := turn.get("tool_calls"):
                form = self.form(f"messages[{at}].tool_calls")
                names |= {call["id"]: call["function"]["name"] for call in calls}
                row["tool_calls"] = [_call(form, call) for call in calls]
            elif turn["role"] == "tool":
                if not self.form(f"messages[{at}].role").shows_results:
                    raise bad_field(f"messages[{at}].role", "the model's chat template does not write what tools answered")
                row |= {"role": "tool", "tool_call_id": turn["tool_call_id"], "name": names[turn["tool_call_id"]]}
            made.append(row)
        return made

    @staticmethod
    def check_strict(tokens: GrammarTokens, tools: Tools) -> None:
        """ApiError 400 for a strict function whose schema cannot be enforced, also where no call is."""
        for one in tools.callable:
            if one.strict:
                compiled(tokens, one.parameters, _parameters(tools.functions.index(one)))

    def reader(self, tools: Tools) -> CallReader:
        """What reads the calls of one answer."""
        offered = {one.name: _takes(one) for one in tools.callable}
        return CallReader(self.form("tools"), offered, most=0 if tools.several else 1)

    def grammar(self, tokens: GrammarTokens, tools: Tools, other: Mapping[str, Any] | bool | None = None) -> Start:
        """What makes the grammar of an answer that has to call tools: nothing but calls, as the template writes them. With a
        schema in `other`: calls, or else JSON of it.

        ApiError 400 for a schema that cannot be enforced, of parameters or this one.
        """
        form = self.form("tools")
        calls = [(one.name, one.closed | {"x-guidance": _spacing(form)}) for one in tools.callable]
        for one, (_, schema) in zip(tools.callable, calls, strict=True):
            compiled(tokens, schema, _parameters(tools.functions.index(one)))
        if other is not None:
            compiled(tokens, other, "response_format")
        most = _MOST_CALLS if tools.several and form.between is not None else 1
        return tokens.calls(form, calls, self.controls, most, other=other)


def compiled(tokens: GrammarTokens, schema: Mapping[str, Any] | bool, param: str) -> Start:
    """What makes a grammar of a schema. ApiError 400 that names `param` where it cannot be enforced."""
    try:
        return tokens.compile(schema)
    except ModelError as error:
        problem = error.problems[0]
        raise bad_field(param, f"{problem.what}: {problem.value}") from error


def _parameters(at: int) -> str:
    return f"tools[{at}].function.parameters"


def _plain(message: Message) -> dict[str, Any]:
    return {"role": message.role, "content": message.content}


def _call(form: ToolForm, call: Mapping[str, Any]) -> dict[str, Any]:
    arguments = arguments_of(call)
    text = json.dumps(arguments, ensure_ascii=False)
    function = {"name": call["function"]["name"], "arguments": text if form.as_text else arguments}
    return {"id": call["id"], "type": "function", "function": function}


def _takes(function: Function) -> Takes:
    """Whether a function takes some arguments: any object, or, where the client wants it strict, one of its schema."""
    if not function.strict:
        return lambda arguments: True
    return keeps(function.parameters)


def _spacing(form: ToolForm) -> dict[str, Any]:
    separators = {"item_separator": ", ", "key_separator": ": "} if form.spaced else {}
    return {"whitespace_flexible": False, **separators}
