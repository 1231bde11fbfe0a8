"""Which tokens each training step sees: a pure function of (seed, phase, step), so that resuming needs no random state.

Sources are dealt from decks of 1,000 cards in the proportions of the mix, each deck shuffled by (seed, phase, deck). The n-th
row of a source is a place in a shuffled list of its rows, shuffled anew each time through: nothing is seen twice before
everything has been seen once.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

__all__ = ["AVOID", "TAKEN_UP", "Batches", "Shard", "with_loop"]

_DECK = 1000
_TURN_STARTS = (4, 5)  # <|system|>, <|user|>
AVOID, TAKEN_UP = 2, 3  # in a mask: a token to be made less likely; one of a word that was in the question


def with_loop(
    ids: NDArray[np.int64], mask: NDArray[np.int64], rng: np.random.Generator, word_starts: NDArray[np.bool_]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The row with a loop put into one answer: 3 to 20 of its tokens said again two to five times, marked `AVOID`.

    `word_starts` says of each token id whether it begins a word or is a digit; a loop is made of whole words.
    What a small model falls into by itself is shown to it as a mistake (unlikelihood, Welleck et al. 2020; made-up loops, Xu et
    al. 2022). The first two tokens of the first repeat carry no loss, for nobody could tell them from a fair beginning; nor
    does the rest of the broken answer.
    """
    edges = np.flatnonzero(np.diff(np.concatenate(([0], ((mask == 1) | (mask == TAKEN_UP)).astype(np.int8), [0]))))
    runs = [(a, b) for a, b in zip(edges[::2], edges[1::2], strict=True) if b - a >= 30]
    if not runs:
        return ids, mask
    begin, end = runs[int(rng.integers(len(runs)))]
    places = np.flatnonzero(word_starts[ids[begin : end - 1]]) + begin
    first = int(rng.choice(places)) if len(places) else end
    ends = places[(places >= first + 3) & (places <= first + 20)]
    if not len(ends):
        return ids, mask
    at, times = int(rng.choice(ends)), int(rng.integers(2, 6))
    size = at - first
    stop = min(at + size * times, len(ids))
    ids, mask = ids.copy(), mask.copy()
    after = next((i for i in range(stop, len(ids)) if ids[i] in _TURN_STARTS), len(ids))
    ids[at:stop] = np.resize(ids[first:at], stop - at)
    mask[at : at + 2] = 0
    mask[at + 2 : stop] = AVOID
    mask[stop:after] = 0
    return ids, mask


class Shard:
    """Ids and loss mask of one source, and where its rows may begin.

    Text is read in windows laid end to end; a row of conversations always begins with a conversation.
    """

    def __init__(self, folder: Path, name: str, where: str = "train") -> None:
        stem = folder / f"{name}.{where}"
        self.name = name
        self.ids = np.memmap(f"{stem}.bin", dtype=np.uint16, mode="r")
        self.mask = np.memmap(f"{stem}.mask", dtype=np.uint8, mode="r")
        self.starts = np.fromfile(f"{stem}.starts", dtype=np.uint32)

    def row_starts(self, length: int, offset: int) -> NDArray[np.int64]:
        """Where rows of `length` + 1 tokens begin, first `offset` tokens skipped. A shard shorter than that gives one row."""
        last = max(0, len(self.ids) - length - 1)
        grid = np.arange(min(offset, last), last + 1, length, dtype=np.int64)
        if self.name.startswith("text"):
            return grid
        at = self.starts[np.minimum(np.searchsorted(self.starts, grid), len(self.starts) - 1)].astype(np.int64)
        return np.unique(np.minimum(at, last))

    def row(self, start: int, length: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """(ids, mask) of `length` + 1 tokens; a short shard is padded with id 0, which carries no loss."""
        ids = np.zeros(length + 1, np.int64)
        mask = np.zeros(length + 1, np.int64)
        piece = self.ids[start : start + length + 1]
        ids[: len(piece)] = piece
        mask[: len(piece)] = self.mask[start : start + length + 1]
        return ids, mask


class Batches:
    """`at(step)` gives (ids, mask), each rows × (length + 1).

    `loops` is the share of conversation rows with a loop put in, for which `word_starts` is needed.
    """

    def __init__(
        self,
        shards: Mapping[str, Shard],
        mix: Mapping[str, float],
        *,
        seed: int,
        phase: int,
        rows: int,
        length: int,
        loops: float = 0.0,
        word_starts: NDArray[np.bool_] | None = None,
    ) -> None:
        total = sum(mix.values())
        self.names = sorted(mix)
        self.shards, self.loops, self.word_starts = shards, loops, word_starts
        self.seed, self.phase, self.rows, self.length = seed, phase, rows, length
        exact = np.array([mix[n] / total * _DECK for n in self.names])
        counts = np.floor(exact).astype(int)
        for i in np.argsort(counts - exact)[: _DECK - counts.sum()]:  # largest remainders get the cards left over
            counts[i] += 1
        self.counts = counts
        self._deck = lru_cache(4)(self._shuffled_deck)
        self._order = lru_cache(64)(self._shuffled_rows)

    def _shuffled_deck(self, number: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """(source of each card, how many cards of that source lie before it in this deck)."""
        deck = np.repeat(np.arange(len(self.names)), self.counts)
        np.random.default_rng((self.seed, self.phase, 1, number)).shuffle(deck)
        rank = np.zeros(_DECK, np.int64)
        for source in range(len(self.names)):
            at = np.flatnonzero(deck == source)
            rank[at] = np.arange(len(at))
        return deck, rank

    def _shuffled_rows(self, source: int, epoch: int) -> NDArray[np.int64]:
        rng = np.random.default_rng((self.seed, self.phase, 2, source, epoch))
        starts = self.shards[self.names[source]].row_starts(self.length, int(rng.integers(self.length)))
        return rng.permutation(starts)

    def _draw(self, source: int, number: int) -> int:
        epoch = 0
        while number >= len(starts := self._order(source, epoch)):
            number, epoch = number - len(starts), epoch + 1
        return int(starts[number])

    def at(self, step: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        picked = []
        for row in range(step * self.rows, (step + 1) * self.rows):
            deck, rank = self._deck(row // _DECK)
            source = int(deck[row % _DECK])
            number = row // _DECK * int(self.counts[source]) + int(rank[row % _DECK])
            ids, mask = self.shards[self.names[source]].row(self._draw(source, number), self.length)
            rng = np.random.default_rng((self.seed, self.phase, 3, row))
            if self.word_starts is not None and self.names[source].startswith("chat") and rng.random() < self.loops:
                ids, mask = with_loop(ids, mask, rng, self.word_starts)
            picked.append((ids, mask))
        return np.stack([ids for ids, _ in picked]), np.stack([mask for _, mask in picked])
