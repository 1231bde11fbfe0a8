"""Texts made of the same words, whatever the order of sentences: copies with words inserted, swapped, moved or replaced.

Two measures must agree, each a cosine of two sets (shared / √(size of one × size of the other)), so the same whatever other
texts there are. Pieces: each content word, in lower case and with a blank on each side, gives its runs of four characters (a
shorter word itself); 0.7 of them are the same. Neighbours: each pair of words with at most three words between them, in
either order; 0.35 of them are the same, which tells copies from texts with a small vocabulary. The thresholds were measured
(docs/guides/datasets-at-scale.md).

Shapes: N texts, K dimensions of a sketch.
"""

from __future__ import annotations

import hashlib
import itertools
import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from tunesmith.data.similar.search import clusters_of
from tunesmith.data.similar.semantic import similar_pairs
from tunesmith.data.similar.shingles import shingled, words_of
from tunesmith.data.text.lexicon import STOP_WORDS
from tunesmith.data.text.words import fold, words

__all__ = ["have_same_words", "near_copy_components", "same_words_between"]

SAME_PIECES, SAME_NEIGHBOURS = 0.7, 0.35
_LEAST_WORDS, _LEAST_PIECES = 20, 30  # texts with less share most of it by chance, or because they are labels
_PIECE = 4
_NEAR = 4  # places between two neighbours: room for a word put between any two
_DIMENSIONS = 1024
_SLACK = 0.15  # four standard errors of the cosine of two sketches
_BLOCK = 1024

Pieces = NDArray[np.uint64]


def have_same_words(first: str, second: str) -> bool:
    """Whether two texts are copies by both measures; never if one has under 20 words or 30 pieces."""
    return bool(list(_Texts([first, second]).copies(None)))


def same_words_between(texts: Sequence[str], parts: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Pairs (i < j) of texts of different parts that have the same words; `parts` names the part of each text.

    Equal texts of one part are compared as one.
    """
    members: dict[tuple[str, str], list[int]] = defaultdict(list)
    for number, (part, text) in enumerate(zip(parts, texts, strict=True)):
        members[part, text].append(number)
    keys = sorted(members, key=lambda key: key[0])
    sizes = [len(list(same)) for _, same in itertools.groupby(keys, key=lambda key: key[0])]
    for one, other in _Texts([text for _, text in keys]).copies(np.cumsum([0, *sizes]).tolist()):
        for a, b in itertools.product(members[keys[one]], members[keys[other]]):
            yield min(a, b), max(a, b)


def near_copy_components(texts: Sequence[str]) -> list[int | None]:
    """The number of each text's component of near copies, counted from 0 by first member; None for a text alone.

    Near copies have the same words; a chain of them is one component. Texts under 20 words or 30 pieces are alone.
    """
    members: dict[str, list[int]] = defaultdict(list)
    for number, text in enumerate(texts):
        members[text].append(number)
    distinct = _Texts(list(members))
    firsts = [same[0] for same in members.values()]
    edges = [
        (same[0], twin) for same, own in zip(members.values(), distinct.pieces, strict=True) if len(own) for twin in same[1:]
    ]
    edges += [(firsts[one], firsts[other]) for one, other in distinct.copies(None)]
    found: list[int | None] = [None] * len(texts)
    for number, component in enumerate(clusters_of(np.array(edges, np.int64).reshape(-1, 2), len(texts))):
        for member in component:
            found[member] = number
    return found


class _Texts:
    """Texts with their pieces, and with their neighbours once those are asked for."""

    def __init__(self, texts: Sequence[str]) -> None:
        self.texts, self.pieces = texts, _pieces_of(texts)
        self._neighbours: dict[int, frozenset[tuple[str, str]]] = {}

    def copies(self, borders: Sequence[int] | None) -> Iterator[tuple[int, int]]:
        """Pairs that have the same words; with `borders`, only of texts that lie between different ones.

        Sketches find the candidates, the sets themselves decide. About one pair in 30,000 that is just alike enough is missed.
        """
        vectors_NK = _sketches(self.pieces)
        blocks: Iterable[tuple[int, int | None]] = (
            [(0, None)] if borders is None else [(start, end - start) for start, end in itertools.pairwise(borders[:-1])]
        )
        for start, first in blocks:
            for a, b, _ in similar_pairs(vectors_NK[start:], threshold=SAME_PIECES - _SLACK, first=first):
                if self._are_copies(start + a, start + b):
                    yield start + a, start + b

    def _are_copies(self, one: int, other: int) -> bool:
        a, b = self.pieces[one], self.pieces[other]
        if _cosine(len(np.intersect1d(a, b, assume_unique=True)), len(a), len(b)) < SAME_PIECES:
            return False
        x, y = self._near(one), self._near(other)
        return _cosine(len(x & y), len(x), len(y)) >= SAME_NEIGHBOURS

    def _near(self, number: int) -> frozenset[tuple[str, str]]:
        known = self._neighbours.get(number)
        if known is None:
            said = words_of(self.texts[number])
            pairs = ((word, next_) for place, word in enumerate(said) for next_ in said[place + 1 : place + 1 + _NEAR])
            known = self._neighbours[number] = frozenset((min(pair), max(pair)) for pair in pairs)
        return known


def _cosine(shared: int, one: int, other: int) -> float:
    return shared / math.sqrt(one * other) if shared else 0.0


def _sketches(sets: Sequence[Pieces]) -> NDArray[np.float32]:
    """A vector of length about 1 for each set, whose inner products are about their cosines (Charikar et al. 2002) [N × K]."""
    vectors_NK = np.zeros((len(sets), _DIMENSIONS), np.float32)
    for start in range(0, len(sets), _BLOCK):
        block = sets[start : start + _BLOCK]
        sizes = np.array([len(own) for own in block])
        every = np.concatenate([*block, np.zeros(0, np.uint64)])
        places = np.repeat(np.arange(len(block)), sizes) * _DIMENSIONS + (every % np.uint64(_DIMENSIONS)).astype(np.int64)
        signs = np.where(every >> np.uint64(63), 1.0, -1.0)
        sums = np.bincount(places, weights=signs, minlength=len(block) * _DIMENSIONS).reshape(len(block), _DIMENSIONS)
        vectors_NK[start : start + _BLOCK] = sums / np.sqrt(np.maximum(sizes, 1))[:, None]
    return vectors_NK


def _pieces_of(texts: Sequence[str]) -> list[Pieces]:
    """The hashes of each text's pieces, sorted, each once; none for a text of under 20 words or 30 pieces."""
    hashes: dict[str, int] = {}
    of_word: dict[str, tuple[int, ...]] = {}
    found = []
    for text, count in zip(texts, shingled(texts).num_words_D.tolist(), strict=True):
        own: set[int] = set()
        for word in {fold(word) for word in words(text)} if count >= _LEAST_WORDS else ():
            known = of_word.get(word)
            if known is None:
                known = of_word[word] = tuple(_hash(piece, hashes) for piece in _cut(word))
            own.update(known)
        found.append(np.array(sorted(own) if len(own) >= _LEAST_PIECES else [], np.uint64))
    return found


def _cut(word: str) -> list[str]:
    if word in STOP_WORDS:
        return []
    padded = f" {word} "
    return [padded[start : start + _PIECE] for start in range(max(1, len(padded) - _PIECE + 1))]


def _hash(piece: str, hashes: dict[str, int]) -> int:
    if piece not in hashes:
        digest = hashlib.blake2b(piece.encode("utf-8", "surrogatepass"), digest_size=8).digest()
        hashes[piece] = int.from_bytes(digest, "little")
    return hashes[piece]
