"""What is asked of a language model and what it replied, as plain values. The hash of a request is its name everywhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from tunesmith.core.records import Message, canonical_json, digest

__all__ = ["Reply", "Request", "Stop"]

Stop = Literal["stop", "length", "refused", "not_taken"]
_BYTES_PER_TOKEN = 2  # fewer than any tokenizer in use needs on average: an upper bound on tokens, so that budgets hold
_MESSAGE_TOKENS = 8  # what a chat template puts around a turn


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One question to a model. Everything that can change the reply is in it, so equal keys may share a reply."""

    url: str
    model: str
    messages: tuple[Message, ...]
    temperature: float
    seed: int
    max_tokens: int
    top_p: float | None = None
    top_logprobs: int = 0
    schema: str = ""  # JSON schema of the reply, for servers that can hold a model to one

    @property
    def key(self) -> str:
        """SHA-256 (hex) of the request; no credentials go into it."""
        turns = [[message.role, message.content] for message in self.messages]
        settings: dict[str, object] = {"url": self.url, "model": self.model, "temperature": self.temperature, "seed": self.seed}
        if self.top_p is not None:
            settings["top_p"] = self.top_p
        if self.top_logprobs:
            settings["top_logprobs"] = self.top_logprobs
        if self.schema:
            settings["schema"] = self.schema
        return digest("request", canonical_json({**settings, "max_tokens": self.max_tokens, "messages": turns}))

    @property
    def most_prompt_tokens(self) -> int:
        """Tokens that the messages have at most, counted without the model's tokenizer."""
        return _most_tokens(self.messages)


def _most_tokens(messages: Sequence[Message]) -> int:
    return sum(_MESSAGE_TOKENS + len(message.content.encode()) // _BYTES_PER_TOKEN for message in messages)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What came back. `stop`: ended by itself, cut at the token limit, refused by the model, or not taken by the server.

    `date`: the day (UTC) on which it was paid for. `counted`: the server reported the tokens; else they are upper bounds.
    `model` and `fingerprint`: what the server says answered; empty where it does not say.
    `logprobs`: where they were asked for, a JSON list of [token, log p, [[token, log p], …]], a token as its bytes in hex.
    """

    text: str
    stop: Stop
    prompt_tokens: int
    completion_tokens: int
    date: str
    counted: bool = True
    logprobs: str = ""
    model: str = ""
    fingerprint: str = ""
