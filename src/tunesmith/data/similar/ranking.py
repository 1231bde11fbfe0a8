"""Which texts fit a query best: by shared words (BM25), or by the vectors of a sentence encoder.

BM25 (Robertson & Zaragoza 2009) counts the words that a text shares with the query, rare ones for more and repeated ones for
less, against the length of the text. The scores are those of `bm25s` in Lucene's variant (Lù 2024). Words are compared
without their English endings, function words are left out, and a Chinese or Japanese character is a word of its own.

Shapes: N texts, K dimensions.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from tunesmith.data.similar.semantic import BY_WORDS, Embed, similarity_named
from tunesmith.data.similar.shingles import words_of
from tunesmith.data.text.lexicon import STOP_WORDS
from tunesmith.data.text.words import stem

__all__ = ["Ranker", "best", "rank_by_vectors", "rank_by_words", "ranker_named"]

_PLAIN = re.compile(r"[a-z0-9]+")
_stem = functools.lru_cache(maxsize=100_000)(stem)


class Ranker(Protocol):
    """Scores the texts that it was made of."""

    def __call__(self, query: str) -> NDArray[np.float32]:
        """A score for each text (N), higher for a better fit; 0 or less where text and query have nothing in common."""


def rank_by_words(texts: Sequence[str]) -> Ranker:
    """BM25 over `texts`. A query without words, or with none that any text has, gives zeros."""
    from bm25s import BM25  # half a second

    said = [_terms(text) for text in texts]
    nothing = np.zeros(len(texts), np.float32)
    if not any(said):
        return lambda query: nothing
    index = BM25(method="lucene")
    index.index(said, show_progress=False)
    known = frozenset(term for terms in said for term in terms)

    def scores(query: str) -> NDArray[np.float32]:
        asked = [term for term in _terms(query) if term in known]
        return np.asarray(index.get_scores(asked), np.float32) if asked else nothing

    return scores


def rank_by_vectors(texts: Sequence[str], embed: Embed) -> Ranker:
    """The cosine of the vectors that `embed` gives to text and query. A query of white space gives zeros."""
    vectors_NK = embed(list(texts))

    def scores(query: str) -> NDArray[np.float32]:
        if not query.strip() or not len(vectors_NK):
            return np.zeros(len(vectors_NK), np.float32)
        return np.asarray(vectors_NK @ embed([query])[0], np.float32)

    return scores


def ranker_named(name: str, texts: Sequence[str]) -> Ranker:
    """`words`; or an encoder: `embeddings`, the installed one, or a folder. ModelError where that cannot be opened."""
    return rank_by_words(texts) if name == BY_WORDS.name else rank_by_vectors(texts, similarity_named(name).embed)


def best(scores: NDArray[np.float32], most: int) -> list[int]:
    """The places of the highest scores above 0, best first, at most so many; of equal ones the first comes first."""
    order = np.argsort(-scores, kind="stable")[:most]
    return [int(place) for place in order if scores[place] > 0]


def _terms(text: str) -> list[str]:
    return [_stem(word) for word in _words(text) if word not in STOP_WORDS]


def _words(text: str) -> Iterator[str]:
    """As `words_of`, a tenth of the time for plain English: what stands between blanks is taken whole where it is ASCII."""
    for piece in text.split():
        yield from _PLAIN.findall(piece.lower()) if piece.isascii() else words_of(piece)
