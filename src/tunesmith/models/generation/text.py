"""From tokens to text: where an answer ends, stop texts across the borders of tokens, and pieces fit for showing."""

from __future__ import annotations

from collections.abc import Sequence

from tunesmith.core.records import FinishReason
from tunesmith.models.chat import Chat
from tunesmith.models.generation.requests import Completion

__all__ = ["Ending", "Spoken"]

_HALF = "�"  # what half a character decodes to


class Ending:
    """When an answer ends: at an end token of the chat or with the first of its stop texts, wherever tokens are cut."""

    def __init__(self, chat: Chat, stop: Sequence[str]) -> None:
        self._chat, self._stop = chat, tuple(stop)

    def reached(self, tokens: Sequence[int]) -> bool:
        """Whether the answer ends with its last token."""
        if tokens[-1] in self._chat.end_ids:
            return True
        if not self._stop:
            return False
        text = self.text(tokens)
        return any(stop in text for stop in self._stop)

    def text(self, tokens: Sequence[int]) -> str:
        """The words of an answer so far."""
        return self._chat.decode(self._chat.words(tokens))

    def completion(self, tokens: Sequence[int]) -> Completion:
        """The finished answer: without end token, cut before the first stop text."""
        ended = bool(tokens) and tokens[-1] in self._chat.end_ids
        words = tokens[:-1] if ended else tokens
        text = self.text(words)
        cuts = [at for stop in self._stop if (at := text.find(stop)) >= 0]
        reason: FinishReason = "stop" if ended or cuts else "length"
        end_id = tokens[-1] if ended else None
        return Completion(text[: min(cuts)] if cuts else text, reason, len(tokens), ids=tuple(words), end_id=end_id)

    def held_back(self, text: str) -> int:
        """Characters at the end of `text` that may be the beginning of a stop text, or half a character."""
        half = len(text) - len(text.rstrip(_HALF))
        begun = (n for stop in self._stop for n in range(min(len(stop) - 1, len(text)), 0, -1) if text.endswith(stop[:n]))
        return max(half, *begun, 0)


class Spoken:
    """One answer as it grows; each token gives the piece of text that is now certain."""

    def __init__(self, ending: Ending) -> None:
        self._ending = ending
        self._tokens: list[int] = []
        self._shown = ""

    def said(self, token: int, *, last: bool) -> str:
        """The next piece, which may be empty. With `last` all the rest comes, without what the ending cuts off."""
        self._tokens.append(token)
        if last:
            text = self._ending.completion(self._tokens).text
        else:
            text = self._ending.text(self._tokens)
            text = text[: len(text) - self._ending.held_back(text)]
        if not text.startswith(self._shown):  # some tokenizers respell the last characters when more come
            return ""
        piece, self._shown = text[len(self._shown) :], text
        return piece
