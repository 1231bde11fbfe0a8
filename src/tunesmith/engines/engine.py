"""What an engine is: a program outside this one that runs a model. Nothing here knows which engines there are.

Token ids are the engine's own; who compares them with another tokenizer's decides whether they agree.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from tunesmith.core.records import FinishReason, Message
from tunesmith.models.generation.requests import GREEDY, Sampling

if TYPE_CHECKING:
    import numpy as np

__all__ = [
    "ALONE",
    "AnswersInForm",
    "Engine",
    "EngineAnswer",
    "EngineRequest",
    "FullLogits",
    "RowScores",
    "TopTokens",
    "Usage",
    "ignore_progress",
]

ALONE = ""
"""In place of an adapter's name: the model without any."""


def ignore_progress(count: int) -> None:
    """The default for `on_done`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineRequest:
    """One answer asked for, by token ids or by messages that the engine renders itself. Exactly one of the two is given.

    `adapter`: the name of one of the engine's adapters, `ALONE`, or None for the engine's default. `json_schema`: what the
    answer is held to, empty for anything; only engines of `AnswersInForm` take one.
    """

    ids: tuple[int, ...] | None = None
    messages: tuple[Message, ...] | None = None
    max_new_tokens: int
    sampling: Sampling = GREEDY
    stop: tuple[str, ...] = ()
    adapter: str | None = None
    json_schema: str = ""

    def __post_init__(self) -> None:
        if (self.ids is None) == (self.messages is None):
            raise AssertionError("a request has either ids or messages")


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineAnswer:
    """What came back. `ids` as they were generated, the end token included; None where the engine does not report them.

    `ended_by`: the engine's own word for why it stopped. `seconds`: wall time of this request.
    """

    text: str
    ids: tuple[int, ...] | None
    finish_reason: FinishReason
    ended_by: str
    num_tokens: int
    prompt_tokens: int | None
    seconds: float


@dataclass(frozen=True, slots=True)
class TopTokens:
    """The most likely next tokens, the likeliest first, with the natural logarithm of their probability (raw softmax)."""

    ids: tuple[int, ...]
    log_p: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class RowScores:
    """For each scored token of a row: ln p given all tokens before it, whether no token was likelier, and, where they were
    asked for, the most likely tokens at its place."""

    log_p: tuple[float, ...]
    is_top: tuple[bool, ...]
    top: tuple[TopTokens, ...] = ()


@dataclass(frozen=True, slots=True)
class Usage:
    """What the answers of an engine took so far: `seconds` is the wall time of all calls of `answer`."""

    answers: int = 0
    tokens: int = 0
    seconds: float = 0.0

    @property
    def tokens_per_s(self) -> float | None:
        """Generated tokens per second over all slots, prompts included in the time; None before the first answer."""
        return self.tokens / self.seconds if self.seconds > 0 else None

    def after(self, answers: Sequence[EngineAnswer], seconds: float) -> Usage:
        """With further answers."""
        return Usage(self.answers + len(answers), self.tokens + sum(one.num_tokens for one in answers), self.seconds + seconds)


class Engine(Protocol):
    """A running engine with one model. Every method raises EngineError where the engine fails; none returns a made-up value.

    None in place of a result: this engine cannot give it, so whatever needs it is *not measured*.
    """

    @property
    def name(self) -> str:
        """Of the program: `llama.cpp`, `vLLM`."""

    @property
    def version(self) -> str:
        """Of the program; empty if it does not say."""

    @property
    def model(self) -> str:
        """The model that the engine says it serves."""

    @property
    def fingerprint(self) -> str:
        """Hash of the served file or folder, its adapters, and engine and version."""

    @property
    def usage(self) -> Usage:
        """What its answers took so far."""

    @property
    def takes_ids(self) -> bool:
        """Whether requests may be token ids; otherwise they must be messages."""

    def differences(self, sampling: Sampling) -> tuple[str, ...]:
        """What this engine does otherwise than Tunesmith's own generation with these settings, in sentences; empty: nothing."""

    def tokenize(self, text: str, *, add_special: bool = False) -> tuple[int, ...] | None:
        """Token ids of a text in which control tokens are read as such. `add_special`: with what the tokenizer puts around."""

    def render(self, messages: Sequence[Message]) -> str | None:
        """The prompt that the engine makes of a conversation, up to the start of the assistant's answer."""

    def prompt_ids(self, messages: Sequence[Message]) -> tuple[int, ...] | None:
        """Token ids of that prompt as the model is given it."""

    def answer(
        self, requests: Sequence[EngineRequest], *, on_done: Callable[[int], None] = ignore_progress
    ) -> list[EngineAnswer]:
        """One answer per request, in their order."""

    def next_tokens(self, rows: Sequence[Sequence[int]], top: int, *, adapter: str | None = None) -> list[TopTokens] | None:
        """The `top` most likely tokens after each row of ids."""

    def score(
        self,
        rows: Sequence[Sequence[int]],
        begins: Sequence[int],
        *,
        top: int = 0,
        adapter: str | None = None,
        on_done: Callable[[int], None] = ignore_progress,
    ) -> list[RowScores] | None:
        """Of each row the tokens from its `begins` (at least 1) on, each given all before it."""

    def memory_bytes(self) -> int | None:
        """Largest resident memory of the engine's processes so far; None where they are not ours."""

    def close(self) -> None:
        """Stop what was started. A second call does nothing."""


@runtime_checkable
class AnswersInForm(Protocol):
    """An engine that holds each answer to the JSON schema of its request. `answer` may be called from several threads."""

    @property
    def slots(self) -> int:
        """Requests that it answers at once."""


@runtime_checkable
class FullLogits(Protocol):
    """An engine that gives the logits of the whole vocabulary."""

    def logits(self, row: Sequence[int], *, adapter: str | None = None) -> np.ndarray:
        """(T, V) float32: of every position of the row."""
