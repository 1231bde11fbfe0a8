"""The interface as OpenAPI, for programs that make requests from it. It is read from the models that check the bodies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel

from tunesmith.serve.ask import ChatBody, CompletionBody, EmbeddingBody
from tunesmith.serve.feedback.routes import FeedbackBody

__all__ = ["openapi"]

ERROR = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type", "param", "code"],
            "properties": {"message": {"type": "string"}, "type": {"type": "string"}, "code": {"type": "string"}},
        }
    },
}
_ASKED = {"model": "tools", "messages": [{"role": "user", "content": "How warm is it?"}], "max_tokens": 40}
_LOOK = {"type": "object", "properties": {"city": {"enum": ["Zug", "Bern"]}}, "required": ["city"]}
_TOOLS = [{"type": "function", "function": {"name": "look", "parameters": _LOOK}}]
_CALL = {"id": "abc123def", "type": "function", "function": {"name": "look", "arguments": '{"city": "Zug"}'}}
_ANSWERED = [
    *_ASKED["messages"],
    {"role": "assistant", "content": None, "tool_calls": [_CALL]},
    {"role": "tool", "tool_call_id": "abc123def", "content": "21"},
]
_FORM = {"type": "json_schema", "json_schema": {"name": "x", "schema": _LOOK}}
EXAMPLES: dict[str, list[dict[str, Any]]] = {
    "/v1/chat/completions": [
        {**_ASKED, "tools": _TOOLS},
        {**_ASKED, "tools": _TOOLS, "tool_choice": "required", "n": 2, "stream": True},
        {**_ASKED, "tools": _TOOLS, "response_format": _FORM, "parallel_tool_calls": False},
        {**_ASKED, "tools": _TOOLS, "logprobs": True, "top_logprobs": 2},
        {**_ASKED, "tools": _TOOLS, "messages": _ANSWERED},
        {**_ASKED, "response_format": {"type": "json_object"}},
    ],
    "/v1/completions": [
        {"model": "a", "prompt": ["The lamp", "A hinge"], "max_tokens": 0, "echo": True, "logprobs": 2},
        {"model": "base", "prompt": [5, 6, 7], "max_tokens": 2, "echo": True, "stream": True},
    ],
    "/v1/embeddings": [{"model": "a", "input": ["The lamp"], "encoding_format": "base64"}],
}
"""Bodies that are answered, beside those that are made from the schemas."""
REFUSALS = (400, 403, 404, 405, 408, 409, 413, 421, 429, 503)


def openapi() -> dict[str, Any]:
    """All routes with their bodies."""
    name = {"name": "name", "in": "path", "required": True, "schema": {"type": "string"}}
    alias = {**name, "name": "alias"}
    moved = {
        "type": "object",
        "properties": {"version": {"type": "string"}},
        "required": ["version"],
        "additionalProperties": False,
    }
    definitions: dict[str, Any] = {}
    bodies = {"/v1/chat/completions": ChatBody, "/v1/completions": CompletionBody, "/v1/embeddings": EmbeddingBody}
    paths: dict[str, Any] = {
        path: {"post": _operation(_schema(kind, definitions), examples=EXAMPLES.get(path, ()))} for path, kind in bodies.items()
    }
    paths["/v1/feedback"] = {"post": _operation(_schema(FeedbackBody, definitions))}
    paths["/v1/models"] = {"get": _operation()}
    paths["/v1/models/{name}"] = {"get": _operation(parameters=[name])}
    paths["/v1/models/{name}/aliases/{alias}"] = {"put": _operation(moved, parameters=[name, alias])}
    info = {"title": "Tunesmith", "version": "1"}
    return {"openapi": "3.1.0", "info": info, "paths": paths, "components": {"schemas": definitions}}


def _schema(kind: type[BaseModel], definitions: dict[str, Any]) -> dict[str, Any]:
    schema = kind.model_json_schema(ref_template="#/components/schemas/{model}")
    definitions.update(schema.pop("$defs", {}))
    if "model" in schema["properties"]:  # else all that is asked for is 404
        schema["properties"]["model"] = {"enum": ["base", "a", "tools"]}
    return schema


def _operation(
    body: dict[str, Any] | None = None,
    parameters: list[dict[str, Any]] | None = None,
    examples: Sequence[dict[str, Any]] = (),
) -> dict[str, Any]:
    streamed: dict[str, Any] = {"text/event-stream": {"schema": {}}}
    answers: dict[str, Any] = {"200": {"description": "done", "content": {"application/json": {"schema": {}}, **streamed}}}
    refusal = {"description": "refused", "content": {"application/json": {"schema": ERROR}}}
    answers |= {str(status): refusal for status in REFUSALS}
    form = {"schema": body} | ({"examples": {str(at): {"value": one} for at, one in enumerate(examples)}} if examples else {})
    content = {"requestBody": {"required": True, "content": {"application/json": form}}} if body else {}
    return {"responses": answers, "parameters": parameters or [], **content}
