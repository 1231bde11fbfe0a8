"""What a client asks for: the bodies of OpenAI's requests, checked, and the same for engines.

A field that nobody knows is an error that names it; one that is known and that an engine cannot honour is one too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tunesmith.core.records import Message
from tunesmith.serve.ask_messages import TurnBody, check_text, read_message, used_of
from tunesmith.serve.ask_tools import ToolBody, Tools, read_tools
from tunesmith.serve.errors import ApiError, bad_field

__all__ = ["Ask", "ChatBody", "CompletionBody", "EmbeddingBody", "Limits", "read_chat", "read_completion", "read_embedding"]

NEUTRAL: Mapping[str, tuple[Any, ...]] = {  # values at which a field asks for nothing
    "frequency_penalty": (0,),
    "presence_penalty": (0,),
    "logit_bias": ({},),
    "logprobs": (False,),
    "top_logprobs": (0,),
    "parallel_tool_calls": (True,),
    "response_format": ({"type": "text"},),
    "store": (False,),
    "tool_choice": ("none", "auto"),
    "tools": ([],),
    "n": (1,),
    "echo": (False,),
    "suffix": ("",),
    "best_of": (1,),
    "service_tier": ("auto", "default"),
    "modalities": (["text"],),
    "top_k": (0, -1),
    "min_p": (0,),
    "repetition_penalty": (1,),
}
_ALWAYS = {
    "model",
    "messages",
    "prompt",
    "stream",
    "stream_options",
    "user",
    "metadata",
    "safety_identifier",
    "prompt_cache_key",
}
_OLDER = {"functions": "tools", "function_call": "tool_choice"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a request may ask for before anything is allocated."""

    n: int = 8
    stops: int = 4
    top_logprobs: int = 20
    messages: int = 1024
    prompts: int = 64
    chars: int = 1_000_000


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class _Shared(_Body):
    """Fields that both kinds of requests have. `top_k`, `min_p` and `repetition_penalty` are vLLM's additions."""

    model: str = Field(min_length=1, max_length=200)
    stream: bool | None = None
    stream_options: dict[str, Any] | None = None
    temperature: float | None = Field(default=None, ge=0, le=2)
    top_p: float | None = Field(default=None, gt=0, le=1)
    top_k: int | None = Field(default=None, ge=-1)
    min_p: float | None = Field(default=None, ge=0, le=1)
    repetition_penalty: float | None = Field(default=None, gt=0, le=10)
    n: int | None = Field(default=None, ge=1)
    seed: int | None = Field(default=None, ge=-(2**63), le=2**63 - 1)
    stop: str | list[str] | None = None
    frequency_penalty: float | None = Field(default=None, ge=-2, le=2)
    presence_penalty: float | None = Field(default=None, ge=-2, le=2)
    logit_bias: dict[str, float] | None = None
    user: str | None = Field(default=None, max_length=512)
    response_format: dict[str, Any] | None = None


class ChatBody(_Shared):
    """A request to /v1/chat/completions."""

    messages: list[TurnBody] = Field(min_length=1)
    max_tokens: int | None = Field(default=None, ge=1)
    max_completion_tokens: int | None = Field(default=None, ge=1)
    logprobs: bool | None = None
    top_logprobs: int | None = Field(default=None, ge=0)
    tools: list[ToolBody] | None = None
    tool_choice: str | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    metadata: dict[str, str] | None = None
    store: bool | None = None
    service_tier: str | None = None
    reasoning_effort: str | None = None
    modalities: list[str] | None = None
    safety_identifier: str | None = Field(default=None, max_length=512)
    prompt_cache_key: str | None = Field(default=None, max_length=512)


class CompletionBody(_Shared):
    """A request to /v1/completions."""

    prompt: str | list[str] | list[int] | list[list[int]]
    max_tokens: int | None = Field(default=None, ge=0)
    logprobs: int | None = Field(default=None, ge=0)
    echo: bool | None = None
    suffix: str | None = None
    best_of: int | None = Field(default=None, ge=1)


class EmbeddingBody(_Body):
    """A request to /v1/embeddings."""

    model: str = Field(min_length=1, max_length=200)
    input: str | list[str]
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: int | None = Field(default=None, ge=1)
    user: str | None = Field(default=None, max_length=512)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """A request that passed its checks. `body`: as the client sent it, for engines that forward it. None: not set.

    `prompts`: of a completion, each a text or token ids. `logprobs`: None, or how many likeliest tokens to report beside the
    chosen one. `echo`: the answer begins with the prompt, whose tokens then have log-probabilities too. `schema`: a JSON
    schema, or True for any JSON. `used`: names of the fields that ask for something; `places`: where, for those of messages.
    `tools`: those that the model is shown. `turns`: the messages as they came if calls or results of tools are among them.
    """

    kind: Literal["chat", "completion"]
    model: str
    body: Mapping[str, Any]
    messages: tuple[Message, ...] = ()
    prompts: tuple[str | tuple[int, ...], ...] = ()
    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    repetition_penalty: float | None = None
    n: int = 1
    seed: int | None = None
    stop: tuple[str, ...] = ()
    logprobs: int | None = None
    schema: Mapping[str, Any] | bool | None = None
    echo: bool = False
    stream: bool = False
    include_usage: bool = False
    user: str = ""
    tools: Tools | None = None
    turns: tuple[Mapping[str, Any], ...] = ()
    used: frozenset[str] = field(default=frozenset())
    places: Mapping[str, str] = field(default_factory=dict)


def read_chat(body: Any, limits: Limits) -> Ask:
    """A chat request. ApiError 400 that names the field at fault."""
    chat = _validated(ChatBody, body)
    if len(chat.messages) > limits.messages:
        raise bad_field("messages", f"a request may have {limits.messages} messages, this one has {len(chat.messages)}")
    messages = tuple(read_message(turn, at) for at, turn in enumerate(chat.messages))
    if not any(message.role == "user" for message in messages):
        raise bad_field("messages", "the conversation has no message of a user")
    _check_chars(sum(len(message.content) for message in messages), "messages", limits)
    if chat.top_logprobs and not chat.logprobs:
        raise bad_field("top_logprobs", "top_logprobs needs logprobs: true")
    if len({chat.max_tokens, chat.max_completion_tokens} - {None}) > 1:
        raise bad_field("max_tokens", "max_tokens and max_completion_tokens are one limit, and differ")
    if (chat.top_logprobs or 0) > limits.top_logprobs:
        raise bad_field("top_logprobs", f"top_logprobs may be at most {limits.top_logprobs}")
    places = used_of(chat.messages)
    return Ask(
        kind="chat",
        messages=messages,
        places=places,
        tools=read_tools(chat.tools, chat.tool_choice, chat.parallel_tool_calls, body.get("tools") or ()),
        turns=tuple(body["messages"]) if any(turn.tool_calls or turn.role == "tool" for turn in chat.messages) else (),
        max_tokens=chat.max_completion_tokens if chat.max_completion_tokens is not None else chat.max_tokens,
        logprobs=(chat.top_logprobs or 0) if chat.logprobs else None,
        **_shared(chat, body, limits, places),
    )


def read_completion(body: Any, limits: Limits) -> Ask:
    """A completion request. ApiError 400 that names the field at fault."""
    asked = _validated(CompletionBody, body)
    prompts = _prompts(asked.prompt, limits)
    _check_chars(sum(map(len, prompts)), "prompt", limits)
    if len(prompts) * (asked.n or 1) > limits.prompts:
        raise bad_field("prompt", f"a request may ask for {limits.prompts} answers in all")
    if (asked.logprobs or 0) > limits.top_logprobs:
        raise bad_field("logprobs", f"logprobs may be at most {limits.top_logprobs}")
    if asked.max_tokens == 0 and not asked.echo:
        raise bad_field("max_tokens", "max_tokens may be 0 with echo: true alone, where the prompt itself is the answer")
    return Ask(
        kind="completion",
        prompts=prompts,
        max_tokens=16 if asked.max_tokens is None else asked.max_tokens,  # OpenAI's default here
        logprobs=asked.logprobs,
        echo=bool(asked.echo),
        **_shared(asked, body, limits),
    )


def read_embedding(body: Any, limits: Limits) -> tuple[EmbeddingBody, list[str]]:
    """A request for embeddings, and its texts. ApiError 400 that names the field at fault."""
    asked = _validated(EmbeddingBody, body)
    texts = [asked.input] if isinstance(asked.input, str) else asked.input
    if not texts or not all(texts) or len(texts) > limits.prompts:
        raise bad_field("input", f"input must be 1 to {limits.prompts} texts, none of them empty")
    for text in texts:
        check_text(text, "input")
    _check_chars(sum(map(len, texts)), "input", limits)
    return asked, texts


def _validated(kind: type[Any], body: Any) -> Any:
    if not isinstance(body, dict):
        raise bad_field("body", "the body must be a JSON object", code="invalid_json")
    try:
        return kind.model_validate(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        names = [str(part) for part in first["loc"] if not (isinstance(part, str) and _is_branch(part))]
        param = "".join(f"[{name}]" if name.isdigit() else f".{name}" for name in names).lstrip(".")
        if first["type"] == "extra_forbidden":
            instead = f" (OpenAI's older form of {_OLDER[param]})" if param in _OLDER else ""
            raise bad_field(param, f"unknown field: {param}{instead}", code="unknown_parameter") from error
        code = "missing_required_parameter" if first["type"] == "missing" else "invalid_value"
        raise bad_field(param, f"{param}: {first['msg']}", code=code) from error


def _is_branch(part: str) -> bool:
    """Whether pydantic put this into a location to tell the members of a union apart."""
    return part in {"str", "int", "float", "bool", "dict"} or "[" in part


def _shared(body: _Shared, raw: Mapping[str, Any], limits: Limits, places: Mapping[str, str] | None = None) -> dict[str, Any]:
    n = body.n or 1
    if n > limits.n:
        raise bad_field("n", f"n may be at most {limits.n}, not {n}")
    stop = (body.stop,) if isinstance(body.stop, str) else tuple(body.stop or ())
    if len(stop) > limits.stops or any(not 0 < len(text) <= 256 for text in stop):
        raise bad_field("stop", f"stop may be at most {limits.stops} texts of 1 to 256 characters")
    options = body.stream_options or {}
    if body.stream_options is not None and not body.stream:
        raise bad_field("stream_options", "stream_options needs stream: true")
    if odd := sorted(options.keys() - {"include_usage", "include_obfuscation"}):
        raise bad_field(f"stream_options.{odd[0]}", f"unknown field: stream_options.{odd[0]}", code="unknown_parameter")
    if not all(isinstance(value, bool) for value in options.values()):
        raise bad_field("stream_options", "the values of stream_options are true or false")
    if options.get("include_obfuscation"):
        param = "stream_options.include_obfuscation"
        raise bad_field(param, "pieces of a stream are not padded here", code="unsupported_parameter")
    return {
        "model": body.model,
        "body": raw,
        "temperature": body.temperature,
        "top_p": body.top_p,
        "top_k": body.top_k,
        "min_p": body.min_p,
        "repetition_penalty": body.repetition_penalty,
        "n": n,
        "seed": body.seed,
        "stop": stop,
        "schema": _schema(body.response_format),
        "stream": bool(body.stream),
        "include_usage": bool(options.get("include_usage")),
        "user": body.user or "",
        "used": frozenset((*_used(raw), *(places or ()))),
    }


def _used(raw: Mapping[str, Any]) -> list[str]:
    wanted = [name for name, value in raw.items() if value is not None and name not in _ALWAYS]
    return [name for name in wanted if not any(_same(raw[name], neutral) for neutral in NEUTRAL.get(name, ()))]


def _same(value: Any, neutral: Any) -> bool:
    return bool(value == neutral) and isinstance(value, bool) == isinstance(neutral, bool)


def _schema(wanted: Mapping[str, Any] | None) -> Mapping[str, Any] | bool | None:
    if wanted is None or wanted.get("type") == "text":
        return None
    inner = wanted.get("json_schema") if wanted.get("type") == "json_schema" else None
    for path, given, known in (
        ("response_format", wanted, {"type", "json_schema"} if inner is not None else {"type"}),
        ("response_format.json_schema", inner, {"name", "description", "schema", "strict"}),
    ):
        if isinstance(given, dict) and (odd := sorted(given.keys() - known)):
            raise bad_field(f"{path}.{odd[0]}", f"unknown field: {path}.{odd[0]}", code="unknown_parameter")
    if wanted.get("type") == "json_object":
        return True
    schema = inner.get("schema") if isinstance(inner, dict) else None
    if not isinstance(schema, dict):
        message = "response_format must be {type: text}, {type: json_object} or {type: json_schema, json_schema: {schema: …}}"
        raise bad_field("response_format", message)
    return schema


def _prompts(prompt: Any, limits: Limits) -> tuple[str | tuple[int, ...], ...]:
    one = isinstance(prompt, str) or (isinstance(prompt, list) and bool(prompt) and isinstance(prompt[0], int))
    each = [prompt] if one else list(prompt)
    if not each or len(each) > limits.prompts or not all(each):
        raise bad_field("prompt", f"prompt must be 1 to {limits.prompts} texts or rows of token ids, none of them empty")
    for text in each:
        if isinstance(text, str):
            check_text(text, "prompt")
    return tuple(text if isinstance(text, str) else tuple(text) for text in each)


def _check_chars(count: int, param: str, limits: Limits) -> None:
    if count > limits.chars:
        raise ApiError(413, f"{param} is too long: {count} characters, at most {limits.chars}", code="too_long", param=param)
