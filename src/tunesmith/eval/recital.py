"""How much of an answer is copied word for word from the training rows."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from tunesmith.eval.metrics.text import words

__all__ = ["RECITAL", "Recited", "TrainingText"]

_SEED = 8  # words: a shorter run is not looked for, and counts as none
_LONG = 38  # words, about 50 tokens of English
_HALF, _LEAST = 0.5, 12
RECITAL = (
    f"an answer is recited if a run of {_LONG} words (about 50 tokens) occurs in a training answer, or a run of {_LEAST} words"
    " or more that makes up half of the answer"
)


@dataclass(frozen=True, slots=True)
class Recited:
    """The longest run of words that an answer shares with one training answer, and the number of its words."""

    run: int
    num_words: int

    @property
    def is_recital(self) -> bool:
        """As `RECITAL` says in words."""
        return self.run >= _LONG or (self.run >= _LEAST and self.run >= _HALF * self.num_words)


class TrainingText:
    """Training answers, searchable for runs of words. Case and punctuation do not count."""

    def __init__(self, answers: Sequence[str]) -> None:
        self._texts = [words(answer) for answer in dict.fromkeys(answers)]
        self._places: dict[tuple[str, ...], list[tuple[int, int]]] = defaultdict(list)
        for number, text in enumerate(self._texts):
            for at in range(len(text) - _SEED + 1):
                self._places[tuple(text[at : at + _SEED])].append((number, at))

    def longest_run(self, answer: str) -> Recited:
        """The longest run of `answer` in any training answer; runs shorter than eight words count as none."""
        said = words(answer)
        longest, at = 0, 0
        while at + max(_SEED, longest + 1) <= len(said):
            for number, start in self._places.get(tuple(said[at : at + _SEED]), ()):
                longest = max(longest, self._extended(said, at, self._texts[number], start))
            at += 1
        return Recited(longest, len(said))

    @staticmethod
    def _extended(said: Sequence[str], at: int, text: Sequence[str], start: int) -> int:
        size = _SEED
        while at + size < len(said) and start + size < len(text) and said[at + size] == text[start + size]:
            size += 1
        return size
