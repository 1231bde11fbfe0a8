"""What an engine is to the server: it answers requests for the models that it holds. Traffic and feedback know only this.

Implementations are in `engines/`: `embedded` runs in this process.
"""

from __future__ import annotations

from codecs import getincrementaldecoder
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from tunesmith.core.records import Message
from tunesmith.serve.ask import Ask

__all__ = ["CallsOfTools", "Delta", "Engine", "Finish", "LogProb", "TextPlaces", "Usage"]

Finish = Literal["stop", "length", "tool_calls", "content_filter", "function_call"]


@dataclass(frozen=True, slots=True)
class LogProb:
    """A token of an answer with ln p from the raw distribution (None: nothing stands before it), and the likeliest tokens at
    its place. `begin`: its first character in the text, where that does not follow from the tokens before it."""

    token: str
    log_p: float | None
    raw: bytes
    top: tuple[tuple[str, float, bytes], ...] = ()
    begin: int | None = None


class TextPlaces:
    """The characters at which tokens begin in a text, one token after the other. Parts of a character begin where it does."""

    def __init__(self) -> None:
        self._decoder = getincrementaldecoder("utf-8")("replace")
        self._at = 0

    def begin(self, raw: bytes, known: int | None = None) -> int:
        """That of the next token; `known` where it does not follow from the tokens before."""
        if known is not None and known != self._at:
            self._at = known
            self._decoder.reset()
        begin = self._at
        self._at += len(self._decoder.decode(raw))
        return begin


@dataclass(frozen=True, slots=True)
class Delta:
    """A piece of choice `index`. `finish`: why it ended, with its last piece. `extra`: further fields of the message, such as
    `tool_calls`, as the engine gave them. An empty one says that the answer is being written, and no client gets it."""

    index: int
    text: str = ""
    finish: Finish | None = None
    logprobs: tuple[LogProb, ...] = ()
    extra: dict[str, Any] | None = None

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing in it to send."""
        return not (self.text or self.finish or self.logprobs or self.extra)


class CallsOfTools:
    """The calls of tools of one answer, gathered from its pieces: parts of a call that come one by one are put together."""

    def __init__(self) -> None:
        self._calls: dict[int, dict[str, Any]] = {}

    def hear(self, piece: Delta) -> None:
        """Take in what a piece has of calls."""
        for part in (piece.extra or {}).get("tool_calls") or ():
            index = part.get("index", len(self._calls))
            if index not in self._calls:
                self._calls[index] = {name: value for name, value in part.items() if name != "index"}
                continue
            function = {**(self._calls[index].get("function") or {})}
            for name, text in (part.get("function") or {}).items():
                function[name] = (function.get(name) or "") + (text or "")
            self._calls[index] = {**self._calls[index], "function": function}

    @property
    def whole(self) -> list[dict[str, Any]]:
        """The calls as an answer has them that is not streamed."""
        return list(self._calls.values())


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of a finished request; `cached`: of the prompt, those that did not have to be read again; `drafted`: guesses of
    next tokens that were checked, in `drafts` passes, and `accepted` those that were right."""

    prompt: int
    completion: int
    cached: int = 0
    drafts: int = 0
    drafted: int = 0
    accepted: int = 0


class Engine(Protocol):
    """A running engine. `target` is its own name for one of its models.

    Errors: ApiError where the request is at fault or the engine cannot take it now, EngineError where it failed.
    """

    @property
    def name(self) -> str:
        """Of the program: `transformers`, `llama.cpp`, …"""

    @property
    def honours(self) -> frozenset[str]:
        """Fields of a request that it acts on, beside model, messages, prompt and stream."""

    @property
    def at_once(self) -> int:
        """Requests that it works on at the same time; more wait in a fair queue."""

    def generate(self, target: str, ask: Ask) -> AsyncIterator[Delta | Usage]:
        """The pieces of all choices as they are made, then one `Usage`. Closing the iterator gives the work up.

        Before the first piece nothing is promised: an error may still be answered with a status of its own.
        """

    async def embed(self, target: str, texts: Sequence[str]) -> tuple[list[list[float]], int]:
        """A vector for each text, and the number of tokens. ApiError 400 if this engine or model has none."""

    async def prompt_ids(self, target: str, messages: Sequence[Message]) -> tuple[int, ...] | None:
        """Token ids of a conversation as the model is given it; None if the engine does not tell."""

    async def prepare(self, target: str, *, pin: bool = False) -> None:
        """Have the model in memory, so that the first request does not wait for it; with `pin`, for good."""

    async def health(self) -> str:
        """Empty if it can work, else what is wrong."""

    async def close(self) -> None:
        """Stop what was started."""
