"""The text of an answer as it grows, token by token, in time that does not depend on how long it is already."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from tunesmith.core.records import FinishReason

__all__ = ["GrowingText"]

_HALF = "�"  # what half a character decodes to
_BEHIND = 6  # tokens decoded along, for tokenizers that spell a token by those before it


class GrowingText:
    """Feed tokens with `add`, which returns the text that is now certain. `stop`: texts that end the answer and are cut.

    `chat` decodes, and leaves out what its template has a model write before its words, and control tokens but for those
    `kept`. `finish`: why it ended, or None.
    """

    def __init__(
        self, chat: Any, stop: Sequence[str] = (), *, ends: Sequence[int] | None = None, kept: Collection[int] = ()
    ) -> None:
        self._chat, self._stop, self._kept = chat, tuple(stop), kept
        self._ends = frozenset(chat.end_ids if ends is None else ends)
        self._tokens: list[int] = []
        self._begin = self._read = 0  # the window that is decoded, and where its certain part ends
        self._skipped = False
        self._pending = ""  # certain text held back: it may be the beginning of a stop text
        self.finish: FinishReason | None = None

    def add(self, token: int, *, last: bool = False) -> str:
        """The next piece. `last`: no token comes after this one, so nothing is held back."""
        ended = token in self._ends
        if not ended:
            self._tokens.append(token)
        self._pending += self._decoded(last or ended)
        cuts = [at for stop in self._stop if (at := self._pending.find(stop)) >= 0]
        if cuts:
            self.finish = "stop"
            piece, self._pending = self._pending[: min(cuts)], ""
            return piece
        if ended or last:
            self.finish = "stop" if ended else "length"
            piece, self._pending = self._pending, ""
            return piece
        keep = self._held()
        piece = self._pending[: len(self._pending) - keep]
        self._pending = self._pending[len(piece) :]
        return piece

    def _decoded(self, everything: bool) -> str:
        if not self._skipped:
            words = self._chat.words(self._tokens)
            if not words and not everything:
                return ""
            self._skipped = True
            self._tokens = list(words)
        known = self._decode(self._tokens[self._begin : self._read])
        text = self._decode(self._tokens[self._begin :])
        if text.endswith(_HALF) and not everything:
            return ""
        self._begin, self._read = max(self._begin, len(self._tokens) - _BEHIND), len(self._tokens)
        return text[len(known) :]

    def _decode(self, ids: Sequence[int]) -> str:
        return str(self._chat.decode(ids, kept=self._kept) if self._kept else self._chat.decode(ids))

    def _held(self) -> int:
        text = self._pending
        return max(
            (n for stop in self._stop for n in range(min(len(stop) - 1, len(text)), 0, -1) if text.endswith(stop[:n])),
            default=0,
        )
