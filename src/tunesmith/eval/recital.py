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
    f"an answer is recited if a run of {_LONG} words (about 50 tokens) occurs in a training answer, or if runs of {_SEED} words"
    f" or more, {_LEAST} words in all, make up half of the answer, from whichever training answers"
)


@dataclass(frozen=True, slots=True)
class Recited:
    """The longest run of words that an answer shares with one training answer, and the number of its words.

    `copied`: its words that stand in a run of eight or more which some training answer has too, so that sentences taken from
    several training answers count together.
    """

    run: int
    num_words: int
    copied: int

    @property
    def is_recital(self) -> bool:
        """As `RECITAL` says in words."""
        return self.run >= _LONG or (self.copied >= _LEAST and self.copied >= _HALF * self.num_words)


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
        longest, copied, until = 0, 0, 0  # `until`: the end of what is known to be copied
        for at in range(len(said) - _SEED + 1):
            places = self._places.get(tuple(said[at : at + _SEED]), ())
            if places:
                copied, until = copied + at + _SEED - max(at, until), at + _SEED
            for number, start in places if at + longest < len(said) else ():
                longest = max(longest, self._extended(said, at, self._texts[number], start))
        return Recited(longest, len(said), copied)

    @staticmethod
    def _extended(said: Sequence[str], at: int, text: Sequence[str], start: int) -> int:
        size = _SEED
        while at + size < len(said) and start + size < len(text) and said[at + size] == text[start + size]:
            size += 1
        return size
