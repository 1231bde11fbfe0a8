"""What a request says of tools: which there are, whether one must be called, and how calls stand in the conversation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import orjson
from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError
from pydantic import BaseModel, ConfigDict, Field

from tunesmith.models.tools.reading import read_json
from tunesmith.serve.errors import bad_field

__all__ = ["Function", "ToolBody", "ToolCallBody", "Tools", "arguments_of", "check_turns", "read_tools"]

MOST_TOOLS = 128
MOST_BYTES = 200_000  # of all tools as JSON: checking a schema takes about ten times as long as reading it


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class _FunctionBody(_Body):
    """A function that the model may call. `parameters` is a JSON schema of an object; without it there are none."""

    name: str = Field(pattern="^[a-zA-Z0-9_-]{1,64}$")
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class ToolBody(_Body):
    """A tool of a request."""

    type: Literal["function"]
    function: _FunctionBody


class _CalledBody(_Body):
    name: str = Field(min_length=1)
    arguments: str


class ToolCallBody(_Body):
    """A call in an earlier answer. `index` is what streams have, and means nothing here."""

    id: str = Field(min_length=1)
    type: Literal["function"]
    function: _CalledBody
    index: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Function:
    """A function that may be called. `strict`: the client wants its schema kept in every call."""

    name: str
    parameters: Mapping[str, Any]
    strict: bool

    @property
    def closed(self) -> dict[str, Any]:
        """The schema without room for arguments that it does not name, unless it says otherwise."""
        schema = dict(self.parameters)
        opens = schema.keys() & {"additionalProperties", "patternProperties", "allOf", "anyOf", "oneOf", "$ref"}
        return schema if opens or "properties" not in schema else {**schema, "additionalProperties": False}


@dataclass(frozen=True, slots=True, kw_only=True)
class Tools:
    """The tools that the model is shown. `must`: it has to call one; `only`: it has to call this one. `several`: it may call
    more than one. `given`: as the client wrote them, for templates."""

    functions: tuple[Function, ...]
    given: tuple[Mapping[str, Any], ...]
    must: bool = False
    only: str = ""
    several: bool = True

    @property
    def callable(self) -> tuple[Function, ...]:
        """The functions that may be called."""
        return tuple(one for one in self.functions if not self.only or one.name == self.only)


def read_tools(
    bodies: Sequence[ToolBody] | None, choice: str | Mapping[str, Any] | None, parallel: bool | None, given: Any
) -> Tools | None:
    """None if the model is to be shown no tools. ApiError 400 that names the field at fault.

    `given`: the same tools as they are in the body.
    """
    bodies = bodies or ()
    if len(bodies) > MOST_TOOLS:
        raise bad_field("tools", f"a request may have {MOST_TOOLS} tools, this one has {len(bodies)}")
    size = len(orjson.dumps(given))
    if size > MOST_BYTES:
        raise bad_field("tools", f"the tools of a request may have {MOST_BYTES} bytes as JSON, these have {size}")
    names = [body.function.name for body in bodies]
    for at, name in enumerate(names):
        if name in names[:at]:
            raise bad_field(f"tools[{at}].function.name", f"two tools are named {name}")
    must, only = _chosen(choice, names)
    if not names or choice == "none":
        return None
    return Tools(
        functions=tuple(_function(body.function, at) for at, body in enumerate(bodies)),
        given=tuple(given),
        must=must,
        only=only,
        several=parallel is not False and not only,
    )


def check_turns(turns: Sequence[Mapping[str, Any]]) -> None:
    """ApiError 400 for calls whose arguments are not a JSON object, and for results of calls that are not there, or under
    another name."""
    known: dict[str, str] = {}
    for at, turn in enumerate(turns):
        for number, call in enumerate(turn.get("tool_calls") or ()):
            known[call["id"]] = call["function"]["name"]
            if arguments_of(call) is None:
                param = f"messages[{at}].tool_calls[{number}].function.arguments"
                raise bad_field(param, "the arguments of a call are a JSON object as text")
        if turn["role"] == "tool" and turn.get("tool_call_id") not in known:
            param = f"messages[{at}].tool_call_id"
            raise bad_field(param, "a message of the role tool needs the id of a call in an earlier answer")
        if turn["role"] == "tool" and turn.get("name") not in (None, known[turn["tool_call_id"]]):
            raise bad_field(f"messages[{at}].name", "this is not the function whose call the message answers")


def arguments_of(call: Mapping[str, Any]) -> dict[str, Any] | None:
    """The arguments of a call in a conversation. None if they are not a JSON object."""
    try:
        found = read_json(call["function"]["arguments"] or "{}")
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _chosen(choice: str | Mapping[str, Any] | None, names: Sequence[str]) -> tuple[bool, str]:
    if choice is None or choice in ("auto", "none"):
        return False, ""
    if choice == "required":
        if not names:
            raise bad_field("tool_choice", "tool_choice is required, and the request has no tools")
        return True, ""
    inner = choice.get("function") if isinstance(choice, Mapping) and choice.get("type") == "function" else None
    name = inner.get("name") if isinstance(inner, Mapping) else None
    if not isinstance(name, str):
        message = "tool_choice must be none, auto, required or {type: function, function: {name: …}}"
        raise bad_field("tool_choice", message)
    if name not in names:
        raise bad_field("tool_choice", f"the request has no tool named {name[:64]!r}")
    return True, name


def _function(body: _FunctionBody, at: int) -> Function:
    schema = {"type": "object", **({"properties": {}} if body.parameters is None else body.parameters)}
    param = f"tools[{at}].function.parameters"
    if schema["type"] != "object":
        raise bad_field(param, "the parameters of a function are an object")
    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        raise bad_field(param, f"{param} is not a JSON schema: {error.message[:200]}") from error
    return Function(name=body.name, parameters=schema, strict=bool(body.strict))
