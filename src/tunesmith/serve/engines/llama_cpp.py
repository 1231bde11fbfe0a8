"""llama.cpp, started and watched by us: one GGUF file, its adapters as GGUF LoRA. A server that ended is started again."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path

from tunesmith.core.errors import EngineError
from tunesmith.core.records import Message
from tunesmith.engines.llama_cpp import LlamaCpp, LoraFile, sampling_payload
from tunesmith.models.generation.requests import Sampling
from tunesmith.serve.ask import Ask
from tunesmith.serve.engine import Delta, Usage
from tunesmith.serve.engines.forward import Forward
from tunesmith.serve.errors import as_api_error, bad_field

__all__ = ["LlamaCppEngine"]

_HONOURS = frozenset(
    (
        *("max_tokens", "max_completion_tokens", "temperature", "top_p", "top_k", "min_p", "seed", "stop"),
        *("logprobs", "top_logprobs", "frequency_penalty", "presence_penalty", "logit_bias", "response_format"),
    )
)
_MOST_STARTS, _WITHIN_S = 3, 120.0
_PATIENCE_S = 1.0  # until a process whose connection broke has ended


class LlamaCppEngine:
    """`adapters` by target; the empty target is the file alone. `sampling` holds where a request sets nothing.

    EngineError if llama.cpp is missing or does not start.
    """

    name = "llama.cpp"
    honours = _HONOURS

    def __init__(
        self,
        file: Path,
        adapters: Mapping[str, Path],
        *,
        context: int,
        at_once: int = 4,
        sampling: Sampling | None = None,
        threads: int | None = None,
    ) -> None:
        self._file, self._context, self.at_once, self._threads = file, context, at_once, threads
        self._adapters = dict(adapters)
        self._sampling = Sampling(temperature=1.0) if sampling is None else sampling
        self._starts: deque[float] = deque(maxlen=_MOST_STARTS)
        self._starting = asyncio.Lock()
        self.server = self._start()
        self._forward = self._at(self.server)

    def _start(self) -> LlamaCpp:
        self._starts.append(time.monotonic())
        return LlamaCpp(
            self._file,
            context=self._context,
            slots=self.at_once,
            threads=self._threads,
            adapters={target: LoraFile(path) for target, path in self._adapters.items()},
        )

    def _at(self, server: LlamaCpp) -> Forward:
        usual = {k: v for k, v in sampling_payload(self._sampling, context=self._context).items() if k != "seed"}
        targets = ["", *self._adapters]
        scales = {t: [{"id": n, "scale": float(name == t)} for n, name in enumerate(self._adapters)] for t in targets}
        return Forward(
            server.url,
            name=self.name,
            at_once=self.at_once,
            honours=_HONOURS,
            defaults=dict.fromkeys(targets, usual),
            forced={t: {"lora": scales[t]} if self._adapters else {} for t in targets},
            names={t: t or self._file.stem for t in targets},
            alive=server.check_alive,
        )

    async def _running(self) -> Forward:
        """The server, started again if it has ended. ApiError 503 if it keeps ending."""
        async with self._starting:
            try:
                self.server.check_alive()
            except EngineError as error:
                if len(self._starts) == _MOST_STARTS and time.monotonic() - self._starts[0] < _WITHIN_S:
                    raise as_api_error(error) from error
                await self._forward.close()
                await asyncio.to_thread(self.server.close)
                self.server = await asyncio.to_thread(self._start)
                self._forward = self._at(self.server)
            return self._forward

    async def generate(self, target: str, ask: Ask) -> AsyncIterator[Delta | Usage]:
        """See `serve.engine.Engine`. If the server ends before the first piece, it is started again and asked once more."""
        if ask.max_tokens is not None and ask.max_tokens > self._context:
            message = f"this model's context is {self._context} tokens, and {ask.max_tokens} were asked for"
            raise bad_field("max_tokens", message, code="context_length_exceeded")
        begun = False
        try:
            async for piece in (await self._running()).generate(target, ask):
                begun = True
                yield piece
            return
        except EngineError:
            if begun or not await asyncio.to_thread(self._ends):
                raise
        async for piece in (await self._running()).generate(target, ask):
            yield piece

    def _ends(self) -> bool:
        try:
            self.server.check_alive(patience_s=_PATIENCE_S)
        except EngineError:
            return True
        return False

    async def embed(self, target: str, texts: Sequence[str]) -> tuple[list[list[float]], int]:
        """ApiError: a model that writes gives no embeddings."""
        raise bad_field("model", "this model writes answers; it gives no embeddings", code="unsupported_model")

    async def prompt_ids(self, target: str, messages: Sequence[Message]) -> tuple[int, ...]:
        """By the template and the vocabulary in the file, as the server reads them."""
        return await asyncio.to_thread(self.server.prompt_ids, messages)

    async def prepare(self, target: str, *, pin: bool = False) -> None:
        """Nothing: the adapters are in memory from the start."""

    async def health(self) -> str:
        """Empty while the process runs."""
        try:
            self.server.check_alive()
        except EngineError as error:
            return error.problems[0].what
        return ""

    async def close(self) -> None:
        """Stop the process."""
        await self._forward.close()
        await asyncio.to_thread(self.server.close)
