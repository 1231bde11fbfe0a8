"""llama.cpp, started and watched by us: one GGUF file, its adapters as GGUF LoRA."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import replace
from functools import partial
from pathlib import Path
from threading import Event
from typing import Any

from tunesmith.core.errors import ModelError
from tunesmith.engines.llama_cpp import LlamaCpp, LoraFile, sampling_payload
from tunesmith.models.generation.requests import Sampling
from tunesmith.models.tools.form import ToolForm, find_form
from tunesmith.serve.ask import Ask
from tunesmith.serve.ask_tools import check_turns
from tunesmith.serve.engine import Delta, Usage
from tunesmith.serve.engines.forward import Forward
from tunesmith.serve.engines.llama_cpp_calls import must_call
from tunesmith.serve.engines.started import StartedEngine, start_engine
from tunesmith.serve.errors import bad_field

__all__ = ["start_llama_cpp"]

_HONOURS = frozenset(
    (
        *("max_tokens", "max_completion_tokens", "temperature", "top_p", "top_k", "min_p", "seed", "stop"),
        *("logprobs", "top_logprobs", "frequency_penalty", "presence_penalty", "logit_bias", "response_format"),
        *("tools", "tool_choice", "parallel_tool_calls", "messages.reasoning_content"),
    )
)
_OF_TOOLS = ("tools", "tool_choice", "parallel_tool_calls")


async def start_llama_cpp(
    file: Path,
    adapters: Mapping[str, Path],
    *,
    context: int,
    at_once: int = 4,
    sampling: Sampling | None = None,
    threads: int | None = None,
) -> StartedEngine[LlamaCpp]:
    """`adapters` by target; the empty target is the file alone. `sampling` holds where a request sets nothing.

    EngineError if llama.cpp is missing or does not start.
    """
    usual = sampling_payload(Sampling(temperature=1.0) if sampling is None else sampling, context=context)
    del usual["seed"]
    targets = ["", *adapters]
    scales = {t: [{"id": n, "scale": float(name == t)} for n, name in enumerate(adapters)] for t in targets}

    def start(given_up: Event) -> LlamaCpp:
        files = {target: LoraFile(path) for target, path in adapters.items()}
        return LlamaCpp(file, context=context, slots=at_once, threads=threads, adapters=files, given_up=given_up)

    def way(server: LlamaCpp) -> Forward:
        return _WithTools(
            server,
            name="llama.cpp",
            at_once=at_once,
            honours=_HONOURS,
            defaults=dict.fromkeys(targets, usual),
            forced={t: {"lora": scales[t]} if adapters else {} for t in targets},
            names={t: t or file.stem for t in targets},
            alive=server.check_alive,
        )

    return await start_engine(start, way, lambda server, _, messages: server.prompt_ids(messages), context=context)


class _WithTools(Forward):
    """The way to a llama.cpp, with tools as it honours them."""

    def __init__(self, server: LlamaCpp, **how: Any) -> None:
        super().__init__(server.url, **how)
        self._server = server
        self._shows_tools: bool | None = None
        self._form: ToolForm | None = None

    async def generate(self, target: str, ask: Ask) -> AsyncGenerator[Delta | Usage]:
        """See `serve.engine.Engine`."""
        ask = _counted(await self._adapted(ask))
        asked = partial(super().generate, target)
        if ask.tools is not None and ask.tools.must:
            prompt, form = await asyncio.to_thread(self._begun, ask)
            made = must_call(ask, prompt, form, asked)
        else:
            made = asked(ask)
        async with aclosing(made) as pieces:
            async for piece in pieces:
                yield _as_asked(piece, ask)

    def _begun(self, ask: Ask) -> tuple[str, ToolForm]:
        """The prompt of a request that has to be answered by a call, and how the template in the file writes calls."""
        assert ask.tools is not None
        turns = list(ask.turns) or [{"role": one.role, "content": one.content} for one in ask.messages]
        param = "tool_choice"
        try:
            self._form = self._form or find_form(self._server)
            param = "messages"
            return self._server.render_turns(turns, ask.tools.given, answer_next=True), self._form
        except ModelError as error:
            what = error.problems[0]
            raise bad_field(param, f"{what.what}; expected {what.expected}", code="unsupported_parameter") from error

    async def _adapted(self, ask: Ask) -> Ask:
        """llama.cpp reads `tool_choice: none` as `auto` and ignores tools beside `response_format`. ApiError 400 for that, and
        if the template in the file does not show tools."""
        if ask.tools is None and not ask.turns and "tools" not in ask.body:
            return ask
        if (ask.tools is not None or ask.turns) and self._shows_tools is None:
            self._shows_tools = await asyncio.to_thread(self._server.shows_tools)
        check_turns(ask.turns)
        if not self._shows_tools and (ask.tools is not None or ask.turns):
            param = "messages" if ask.tools is None else "tools"
            raise bad_field(param, "the chat template in the file does not use tools", code="unsupported_parameter")
        if ask.tools is not None and ask.schema is not None:
            raise bad_field(
                "response_format", "llama.cpp makes no calls where there is a response_format", code="unsupported_parameter"
            )
        if ask.tools is not None and ask.logprobs is not None and ask.stream and not ask.tools.must:
            raise bad_field("logprobs", "llama.cpp has no logprobs in a stream with tools", code="unsupported_parameter")
        body = {name: value for name, value in ask.body.items() if name not in _OF_TOOLS}
        if ask.tools is not None:
            body |= {"tools": list(ask.tools.given), "parallel_tool_calls": ask.tools.several}
        return replace(ask, body=body)


def _counted(ask: Ask) -> Ask:
    """llama.cpp reads no number of likeliest tokens as 20 in a conversation, and as no log-probabilities in a completion."""
    if ask.logprobs is None:
        return ask
    return replace(ask, body={**ask.body, "top_logprobs" if ask.kind == "chat" else "logprobs": max(1, ask.logprobs)})


def _as_asked(piece: Delta | Usage, ask: Ask) -> Delta | Usage:
    """A piece with as many likeliest tokens as were asked for, and with one call at most where no more are wanted: llama.cpp
    keeps to that in some forms of calls only."""
    if isinstance(piece, Usage):
        return piece
    if piece.logprobs:
        piece = replace(piece, logprobs=tuple(replace(one, top=one.top[: ask.logprobs or 0]) for one in piece.logprobs))
    if not piece.extra or ask.tools is None or ask.tools.several:
        return piece
    calls = [call for at, call in enumerate(piece.extra.get("tool_calls") or ()) if call.get("index", at) == 0]
    return replace(piece, extra={**piece.extra, "tool_calls": calls} if calls else None)
