"""An engine at an address: whatever speaks OpenAI's interface (vLLM, Ollama, LM Studio, a provider). Requests are passed on.

Only the model's name is changed in a body. What comes back is read piece by piece, so that metrics, feedback and traffic see
the same pieces as from any engine.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from typing import Any, Literal

import aiohttp
import orjson

from tunesmith.core.errors import EngineError
from tunesmith.core.records import Message
from tunesmith.serve.ask import Ask, ChatBody, CompletionBody
from tunesmith.serve.ask_messages import OF_MESSAGES
from tunesmith.serve.engine import Delta, LogProb, Usage
from tunesmith.serve.errors import ApiError

__all__ = ["HONOURED_BY_ALL", "HONOURED_BY_VLLM", "Forward"]

HONOURED_BY_ALL = frozenset((*ChatBody.model_fields, *CompletionBody.model_fields, *OF_MESSAGES)) - {
    "top_k",
    "min_p",
    "repetition_penalty",
}
HONOURED_BY_VLLM = HONOURED_BY_ALL | {"top_k", "min_p", "repetition_penalty"}
_LINE_BYTES = 2**20
_MESSAGE = {"role", "content", "refusal", "reasoning_content"}  # of a message; what else it has is passed on as it is
_WAIT = (408, 425, 429, 500, 502, 503, 504)


class Forward:
    """`url` without `/v1`. `honours`: what the server acts on, beyond the common fields `top_k` and the like of some servers.
    `defaults`: fields that hold where the client sets none, `forced`: whatever it sets, both by target; `names`: how the server
    calls a target. `alive` raises EngineError where the server is known to have ended."""

    def __init__(  # noqa: PLR0913 (what is known of a server)
        self,
        url: str,
        *,
        name: str = "OpenAI-compatible server",
        api_key: str = "",
        at_once: int = 256,
        timeout_s: float = 600.0,
        honours: frozenset[str] = HONOURED_BY_ALL,
        defaults: Mapping[str, Mapping[str, Any]] | None = None,
        forced: Mapping[str, Mapping[str, Any]] | None = None,
        names: Mapping[str, str] | None = None,
        alive: Callable[[], None] = lambda: None,
        tokenizes: Literal["no", "vllm"] = "no",
    ) -> None:
        self.url, self.name, self.at_once, self.honours = url.rstrip("/").removesuffix("/v1"), name, at_once, honours
        self._headers = {"Content-Type": "application/json"}
        if api_key:
            self._headers["Authorization"] = f"Bearer {api_key}"
        self._timeout = aiohttp.ClientTimeout(total=None, sock_connect=5.0, sock_read=timeout_s)
        self._defaults, self._forced, self._names = dict(defaults or {}), dict(forced or {}), dict(names or {})
        self._alive, self._tokenizes = alive, tokenizes
        self._client: aiohttp.ClientSession | None = None

    async def generate(self, target: str, ask: Ask) -> AsyncGenerator[Delta | Usage]:
        """See `serve.engine.Engine`. Errors of the server are passed on under its status."""
        path = "/v1/chat/completions" if ask.kind == "chat" else "/v1/completions"
        body = {**self._defaults.get(target, {}), **ask.body, **self._forced.get(target, {})}
        body["model"] = self._names.get(target, target)
        if ask.stream:
            body["stream_options"] = {**(ask.body.get("stream_options") or {}), "include_usage": True}
        try:
            async with self._session().post(self.url + path, data=orjson.dumps(body), headers=self._headers) as response:
                if response.status != 200:
                    raise _passed_on(response.status, await response.content.read(_LINE_BYTES), response.headers, self.name)
                pieces = _streamed(response, ask) if ask.stream else _whole(await response.read(), ask)
                async for piece in pieces:
                    yield piece
        except (aiohttp.ClientError, TimeoutError) as error:
            self._alive()
            raise self._lost(error) from error

    def _session(self) -> aiohttp.ClientSession:
        if self._client is None:
            connector = aiohttp.TCPConnector(limit=0, ttl_dns_cache=60)
            self._client = aiohttp.ClientSession(connector=connector, timeout=self._timeout, auto_decompress=True)
        return self._client

    def _lost(self, error: Exception) -> EngineError:
        return EngineError(
            f"{self.name} at {self.url} cannot be reached or broke off: {type(error).__name__}",
            value=str(error)[:200],
            expected="a whole answer",
            hint="start the server, or check its address",
        )

    async def embed(self, target: str, texts: Sequence[str]) -> tuple[list[list[float]], int]:
        """By /v1/embeddings of the server."""
        found = await self._post("/v1/embeddings", {"model": self._names.get(target, target), "input": list(texts)})
        try:
            rows = sorted(found["data"], key=lambda one: int(one["index"]))
            return [[float(x) for x in one["embedding"]] for one in rows], _usage(found.get("usage")).prompt
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise _not_the_interface(orjson.dumps(found)) from error

    async def prompt_ids(self, target: str, messages: Sequence[Message]) -> tuple[int, ...] | None:
        """Where the server tells them (vLLM's /tokenize), else None."""
        if self._tokenizes == "no":
            return None
        rows = [{"role": one.role, "content": one.content} for one in messages]
        body = {"model": self._names.get(target, target), "messages": rows, "add_generation_prompt": True}
        return tuple((await self._post("/tokenize", body))["tokens"])

    async def _post(self, path: str, body: Mapping[str, Any]) -> Any:
        try:
            async with self._session().post(self.url + path, data=orjson.dumps(body), headers=self._headers) as response:
                content = await response.read()
                if response.status != 200:
                    raise _passed_on(response.status, content, response.headers, self.name)
                return orjson.loads(content)
        except (aiohttp.ClientError, TimeoutError, orjson.JSONDecodeError) as error:
            self._alive()
            raise self._lost(error) from error

    async def models(self) -> list[dict[str, Any]]:
        """What the server lists. EngineError if nothing answers there."""
        try:
            async with (
                aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10.0)) as client,
                client.get(f"{self.url}/v1/models", headers=self._headers) as response,
            ):
                content = await response.read()
                if response.status != 200:
                    raise EngineError(
                        f"{self.name} at {self.url} does not list its models: HTTP {response.status}",
                        value=content[:200].decode(errors="replace"),
                        expected="HTTP 200",
                        hint="check the address and the key (TUNESMITH_UPSTREAM_KEY)",
                    )
                return list(orjson.loads(content)["data"])
        except (aiohttp.ClientError, TimeoutError, orjson.JSONDecodeError, KeyError, TypeError) as error:
            raise self._lost(error) from error

    async def prepare(self, target: str, *, pin: bool = False) -> None:
        """Nothing: the server has its models."""

    async def health(self) -> str:
        """Empty if the server lists its models."""
        try:
            await self.models()
        except EngineError as error:
            return error.problems[0].what
        return ""

    async def close(self) -> None:
        """Close the connections."""
        if self._client is not None:
            await self._client.close()


async def _whole(content: bytes, ask: Ask) -> AsyncIterator[Delta | Usage]:
    try:
        found = orjson.loads(content)
        missing = _choices_of(ask)
        for choice in found["choices"]:
            message = choice["message"] if ask.kind == "chat" else {"content": choice["text"]}
            missing.discard(int(choice["index"]))
            yield _delta(choice, message, ask)
        if missing:
            raise ApiError(502, f"the engine left out {len(missing)} of the answers", code="upstream_broke_off")
        yield _usage(found.get("usage"))
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise _not_the_interface(content) from error


def _choices_of(ask: Ask) -> set[int]:
    """The numbers of the answers that were asked for."""
    return set(range(ask.n * max(1, len(ask.prompts))))


async def _streamed(response: aiohttp.ClientResponse, ask: Ask) -> AsyncIterator[Delta | Usage]:
    """Server-sent events up to `[DONE]`. A stream that ends before its last piece is an error, not an answer."""
    usage, open_choices = Usage(0, 0), _choices_of(ask)
    async for data in _events(response):
        if data == b"[DONE]":
            break
        try:
            found = orjson.loads(data)
            if found.get("error"):
                raise ApiError(502, _message(data), code="upstream_error")
            for choice in found["choices"]:
                part = choice["delta"] if ask.kind == "chat" else {"content": choice["text"]}
                delta = _delta(choice, part, ask)
                if delta.finish is not None:
                    open_choices.discard(delta.index)
                if delta.text or delta.finish or delta.extra or delta.logprobs:
                    yield delta
            usage = _usage(found.get("usage")) if found.get("usage") else usage
        except (orjson.JSONDecodeError, KeyError, TypeError, ValueError, AttributeError) as error:
            raise _not_the_interface(data) from error
    if open_choices:
        raise ApiError(502, "the engine's answer broke off", code="upstream_broke_off")
    yield usage


async def _events(response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    """The data of each event. Lines may end in CR, LF or both, and data may take several lines."""
    rest, lines = b"", list[bytes]()
    async for chunk in response.content.iter_any():
        rest += chunk
        if len(rest) > _LINE_BYTES:
            raise ApiError(502, "the engine sent a line that is too long", code="upstream_error")
        held = rest.endswith(b"\r")  # its LF may still come
        *whole, rest = (rest[:-1] if held else rest).replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
        rest += b"\r" if held else b""
        for line in whole:
            if line.startswith(b"data:"):
                lines.append(line[5:].removeprefix(b" "))
            elif not line and lines:
                yield b"\n".join(lines)
                lines.clear()
    if lines:
        yield b"\n".join(lines)


def _delta(choice: Mapping[str, Any], message: Mapping[str, Any], ask: Ask) -> Delta:
    told = choice.get("logprobs")
    logprobs = _logprobs(told, ask) if told else ()
    extra = {name: value for name, value in message.items() if name not in _MESSAGE and value not in (None, [])}
    if message.get("reasoning_content"):
        extra["reasoning_content"] = message["reasoning_content"]
    return Delta(int(choice["index"]), message.get("content") or "", choice.get("finish_reason"), logprobs, extra or None)


def _logprobs(found: Mapping[str, Any], ask: Ask) -> tuple[LogProb, ...]:
    if ask.kind == "chat" or "content" in found:  # llama.cpp has the same form for both
        return tuple(_logprob(one) for one in found.get("content") or ())
    tops = found.get("top_logprobs") or [{}] * len(found["tokens"])
    begins = found.get("text_offset") or [None] * len(found["tokens"])
    return tuple(
        LogProb(token, log_p, token.encode(), tuple((t, p, t.encode()) for t, p in (top or {}).items()), begin)
        for token, log_p, top, begin in zip(found["tokens"], found["token_logprobs"], tops, begins, strict=True)
    )


def _logprob(one: Mapping[str, Any]) -> LogProb:
    top = tuple((t["token"], t["logprob"], _raw(t)) for t in one.get("top_logprobs") or ())
    return LogProb(one["token"], one["logprob"], _raw(one), top)


def _raw(token: Mapping[str, Any]) -> bytes:
    return bytes(token["bytes"]) if token.get("bytes") else str(token["token"]).encode()


def _usage(found: Mapping[str, Any] | None) -> Usage:
    found = found or {}
    cached = (found.get("prompt_tokens_details") or {}).get("cached_tokens") or 0
    return Usage(int(found.get("prompt_tokens") or 0), int(found.get("completion_tokens") or 0), int(cached))


def _passed_on(status: int, content: bytes, headers: Mapping[str, str], name: str) -> ApiError:
    """The server's own error; one that is about us (its key, its address) becomes 502, and one that passes keeps its wait."""
    message = f"{name}: {_message(content)}"
    try:
        own = orjson.loads(content).get("error") or {}
        param, code = own.get("param"), own.get("code")
    except (orjson.JSONDecodeError, AttributeError):
        param, code = None, None
    wait = headers.get("retry-after", "")
    if status in _WAIT:
        seconds = float(wait) if wait.replace(".", "", 1).isdigit() else None
        return ApiError(429 if status == 429 else 503, message, code=str(code or "upstream_busy"), retry_after_s=seconds)
    if status in (401, 403) or status < 400:
        return ApiError(502, message, code="upstream_refused")
    return ApiError(status, message, code=str(code or "upstream_error"), param=param)


def _message(content: bytes) -> str:
    try:
        found = orjson.loads(content)
    except orjson.JSONDecodeError:
        return content[:300].decode(errors="replace")
    for key in ("error", "message", "detail"):
        if isinstance(found, dict) and key in found:
            found = found[key]
    return (found if isinstance(found, str) else orjson.dumps(found).decode())[:300]


def _not_the_interface(content: bytes) -> ApiError:
    return ApiError(502, f"the engine answered in a form that is not OpenAI's: {content[:120]!r}", code="upstream_error")
