"""One answer on its way from the batch to the client: tokens become text, log-probabilities, and calls of tools."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from tunesmith.core.errors import ModelError
from tunesmith.models.chat import Chat
from tunesmith.models.continuous.generator import Token
from tunesmith.models.continuous.grammar import Grammar
from tunesmith.models.continuous.text import GrowingText
from tunesmith.models.tools.reading import CallReader
from tunesmith.serve.engine import Delta, Finish, LogProb
from tunesmith.serve.errors import ApiError

__all__ = ["Choice", "Echo"]

_LOG = logging.getLogger("tunesmith.serve")


@dataclass(frozen=True, slots=True)
class Echo:
    """A prompt with which its answer begins: its text, and the character at which each of its tokens begins."""

    text: str
    begins: Sequence[int]


@dataclass(slots=True)
class Choice:
    """Choice `index` of an answer of at most `room` tokens. Its `took` and `heard` run in the batch's thread; what fails there
    fails this answer alone, not its pass. `spell`: text and bytes of a token. `scores`: log-probabilities are wanted."""

    index: int
    chat: Chat
    text: GrowingText
    room: int
    send: Callable[[Any], None]
    spell: Callable[[int], tuple[str, bytes]]
    grammar: Grammar | None = None
    reader: CallReader | None = None
    echo: Echo | None = None
    scores: bool = False
    count: int = 0
    num_heard: int = 0
    begun: bool = False

    def took(self, token: Token) -> bool:
        """Hear a token; True if the answer ends with it."""
        try:
            return self._took(token)
        except Exception as error:  # noqa: BLE001 (told to the request)
            self._fail(error)
        return True

    def heard(self, tokens: Sequence[Token]) -> None:
        """Hear tokens of the prompt, which begins the answer."""
        try:
            self._heard(tokens)
        except Exception as error:  # noqa: BLE001 (told to the request)
            self._fail(error)

    def _fail(self, error: Exception) -> None:
        if isinstance(error, ModelError):
            problem = error.problems[0]
            self.send(ApiError(500, f"{problem.what}: {problem.value}", code="grammar_error"))
        else:
            _LOG.error("an answer could not be read", exc_info=error)
            self.send(error)

    def _heard(self, tokens: Sequence[Token]) -> None:
        assert self.echo is not None
        begins = self.echo.begins[self.num_heard : self.num_heard + len(tokens)]
        self.num_heard += len(tokens)
        pairs = zip(tokens, begins, strict=True)
        logprobs = tuple(self._logprob(token, begin) for token, begin in pairs) if self.scores else ()
        finish: Finish | None = "length" if not self.room and self.num_heard == len(self.echo.begins) else None
        self.send(Delta(self.index, self._prompt(), finish, logprobs))

    def _prompt(self) -> str:
        """What the answer begins with, once."""
        text = "" if self.begun or self.echo is None else self.echo.text
        self.begun = True
        return text

    def _took(self, token: Token) -> bool:
        if self.grammar is not None:
            self.grammar.took(token.id)
        self.count += 1
        piece = self._prompt() + self.text.add(token.id, last=self.count >= self.room)
        logprobs: tuple[LogProb, ...] = ()
        if token.log_p is not None and (self.echo is not None or token.id not in self.chat.end_ids):
            logprobs = (self._logprob(token, len(self.echo.text) if self.echo is not None and self.count == 1 else None),)
        if self.reader is not None:
            return self._read(self.reader, piece, logprobs)
        self.send(Delta(self.index, piece, self.text.finish, logprobs))  # also if it is empty: the answer is being written
        return self.text.finish is not None

    def _logprob(self, token: Token, begin: int | None) -> LogProb:
        top = tuple((*self.spell(id), p) for id, p in token.top)
        text, raw = self.spell(token.id)
        return LogProb(text, token.log_p, raw, tuple((text, p, raw) for text, raw, p in top), begin)

    def _read(self, reader: CallReader, piece: str, logprobs: tuple[LogProb, ...]) -> bool:
        """Send the calls of tools in a piece as calls, and the rest as text. Every token that the model writes has its
        log-probability, also those of calls."""
        finish: Finish | None = self.text.finish
        number = reader.count
        parts = reader.add(piece, last=finish is not None)
        if logprobs or not parts:
            self.send(Delta(self.index, logprobs=logprobs))
        for part in parts:
            if isinstance(part, str):
                self.send(Delta(self.index, part))
            else:
                self.send(Delta(self.index, extra=part.streamed(number)))
                number += 1
        if reader.is_full or (finish == "stop" and reader.count):
            finish = "tool_calls"
        if finish is not None:
            self.send(Delta(self.index, finish=finish))
        return finish is not None
