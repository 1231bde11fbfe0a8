"""Texts of a set that say nearly the same: which of them to leave out, whatever order they come in."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from tunesmith.data.text.words import fold, runs, words

__all__ = ["QUESTION_SHINGLE", "Likeness", "repeated"]

QUESTION_SHINGLE = 1
_SAME = 0.8


class Likeness:
    """Texts seen so far, by their runs of `shingle` words: two are alike if they share 0.8 of all runs (Jaccard)."""

    def __init__(self, *, shingle: int, same: float = _SAME) -> None:
        self._shingle, self._same = shingle, same
        self._index: dict[tuple[str, ...], list[int]] = defaultdict(list)
        self._sizes: list[int] = []

    def has(self, text: str) -> bool:
        """Whether a text like this one was seen."""
        found = self._runs(text)
        shared: dict[int, int] = defaultdict(int)
        for run in found:
            for number in self._index.get(run, ()):
                shared[number] += 1
        return any(count >= self._same * (len(found) + self._sizes[number] - count) for number, count in shared.items())

    def add(self, text: str) -> None:
        """Remember a text."""
        found = self._runs(text)
        for run in found:
            self._index[run].append(len(self._sizes))
        self._sizes.append(len(found))

    def _runs(self, text: str) -> frozenset[tuple[str, ...]]:
        said = [fold(word) for word in words(text)]
        width = min(self._shingle, len(said)) or 1
        return frozenset(runs(said, width))


def repeated(texts: Sequence[str], keys: Sequence[str], *, shingle: int, known: Iterable[str] = ()) -> set[int]:
    """Indices of texts that are like another one, or like one of `known`. Of two, the one with the smaller key stays."""
    seen, gone = Likeness(shingle=shingle), set()
    for text in known:
        seen.add(text)
    for index in sorted(range(len(texts)), key=lambda i: keys[i]):
        if seen.has(texts[index]):
            gone.add(index)
        else:
            seen.add(texts[index])
    return gone
