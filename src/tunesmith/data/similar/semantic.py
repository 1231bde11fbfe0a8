"""Texts that say the same in other words or another order, found by vectors: of their words, or of a sentence encoder.

By words, the vector of a text is its content words (function words left out, endings cut), weighted by rarity, reduced to 256
dimensions by a singular value decomposition where there are more texts than that (latent semantic analysis, Deerwester et al.
1990). It sees through word order, inflection and some wording; it does not see through a rewriting in wholly other words.
A sentence encoder (`tunesmith.data.similar.embeddings`) found no more in our measurements, at twenty times the cost.

Shapes: N texts, T terms, K dimensions.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tunesmith.data.similar.embeddings import open_encoder
from tunesmith.data.similar.shingles import words_of
from tunesmith.data.text.lexicon import STOP_WORDS
from tunesmith.data.text.words import stem

__all__ = [
    "BY_WORDS",
    "Embed",
    "Similarity",
    "content_words",
    "embed_by_words",
    "similar_pairs",
    "similarity_named",
]

Embed = Callable[[Sequence[str]], NDArray[np.float32]]
_DIMENSIONS = 256
_LEAST_WORDS = 6  # content words below which a text says too little to be told from others
_BLOCK = 2048


def content_words(text: str) -> list[str]:
    """The words that carry the meaning: no function words, endings cut."""
    return [stem(word) for word in words_of(text) if word not in STOP_WORDS and len(word) > 1]


def embed_by_words(texts: Sequence[str], *, dimensions: int = _DIMENSIONS) -> NDArray[np.float32]:
    """A vector of length 1 at most for each text (N × K), or of length 0 for one without content words.

    Deterministic, but a text's vector depends on the other texts: rarity is counted over all of them. Words that stand in one
    text alone count for its length only, since they tell nothing about others.
    """
    from scipy.sparse import csr_matrix
    from scipy.sparse.linalg import svds

    counts = [Counter(content_words(text)) for text in texts]
    spread = Counter(word for count in counts for word in count)
    terms = {word: column for column, word in enumerate(sorted(spread))}
    rows = [row for row, count in enumerate(counts) for _ in count]
    columns = [terms[word] for count in counts for word in count]
    spread_T = np.array([spread[word] for word in terms])
    rarity_T = np.log((1 + len(texts)) / (1 + spread_T)) + 1
    values = (1 + np.log([float(number) for count in counts for number in count.values()])) * rarity_T[columns]
    matrix = csr_matrix((values, (rows, columns)), shape=(len(texts), max(1, len(terms))))
    lengths = np.sqrt(matrix.multiply(matrix).sum(axis=1))
    matrix = csr_matrix(matrix.multiply(1 / np.maximum(lengths, 1e-12)))[:, np.flatnonzero(spread_T > 1)]
    if min(matrix.shape) <= dimensions:
        return np.asarray(matrix.todense(), np.float32)
    left, strength, _ = svds(matrix, k=dimensions, v0=np.ones(min(matrix.shape)))
    return np.asarray(left * strength, np.float32)


@dataclass(frozen=True, slots=True)
class Similarity:
    """A way to tell what texts say: vectors of length 1, and the inner products from which two texts say the same, or much.

    `name` stands in manifests: the vectors' origin. The thresholds were measured (docs/guides/datasets-at-scale.md).
    """

    name: str
    embed: Embed
    same: float
    related: float

    def vectors(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """A vector for each text; of length 0, so like no other, where a text has fewer than six content words."""
        vectors_NK = self.embed(texts)
        short = [row for row, text in enumerate(texts) if len(content_words(text)) < _LEAST_WORDS]
        if short:
            vectors_NK[short] = 0
        return vectors_NK


BY_WORDS = Similarity("words", embed_by_words, same=0.8, related=0.7)
_ENCODER_SAME, _ENCODER_RELATED = 0.85, 0.8


def similarity_named(name: str) -> Similarity:
    """`words`; or an encoder: `embeddings`, the installed one, or a folder. ModelError where it cannot be opened."""
    if name == BY_WORDS.name:
        return BY_WORDS
    encoder = open_encoder(name)
    return Similarity(f"encoder {encoder.id}", encoder.encode, same=_ENCODER_SAME, related=_ENCODER_RELATED)


def similar_pairs(
    vectors_NK: NDArray[np.float32], *, threshold: float, first: int | None = None
) -> list[tuple[int, int, float]]:
    """Pairs (i < j, similarity) whose vectors' inner product reaches the threshold, in order.

    With `first`, only pairs of one text among the first so many and one behind them. Blocks of 2,048 rows: memory does not grow
    with the square of N, time does.
    """
    count = len(vectors_NK)
    rows = range(0, count if first is None else first, _BLOCK)
    found: list[tuple[int, int, float]] = []
    for row in rows:
        upper = vectors_NK[row : min(row + _BLOCK, count if first is None else first)]
        for column in range(row if first is None else first, count, _BLOCK):
            likeness = upper @ vectors_NK[column : column + _BLOCK].T
            for i, j in zip(*np.nonzero(likeness >= threshold), strict=True):
                if row + i < column + j:
                    found.append((int(row + i), int(column + j), float(likeness[i, j])))
    return sorted(found)
