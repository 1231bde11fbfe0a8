"""What the examples are about: topic clusters with names, without a model.

TF-IDF of the answer, with its prompt where it is short → truncated SVD → k-means on unit vectors, from fixed starts, so the
same rows give the same topics. Three words that stand out in a cluster name it.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tunesmith.data.checks.rows import Row
from tunesmith.data.text.lexicon import STOP_WORDS
from tunesmith.data.text.words import words

__all__ = ["Topic", "find_topics"]

# N rows of the sample, W words of the vocabulary, D dimensions, K clusters
_MOST_ROWS, _MOST_WORDS, _DIMENSIONS, _MOST_TOPICS = 2000, 4000, 40, 12
_WORDS_A_ROW = 200
_TELLING_WORDS = 30  # an answer of so many says what it is about; the prompts' wordings would only make topics of their own
_FEWEST_ROWS = 40
_NAMED_BY = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Topic:
    """A cluster: the words that stand out in it, how many rows of the sample it has, and the id of its most typical row."""

    name: str
    count: int
    share: float
    typical: str


def find_topics(rows: Sequence[Row]) -> tuple[Topic, ...]:
    """Up to twelve topics of at most 2,000 evenly spaced rows, the largest first; none for fewer than 40 rows."""
    from scipy.cluster.vq import kmeans2
    from scipy.sparse.linalg import svds

    step = max(1, -(-len(rows) // _MOST_ROWS))
    sample = [row for row in rows[::step] if row.text.strip()]
    if len(sample) < _FEWEST_ROWS:
        return ()
    said = [_terms(row) for row in sample]
    vocabulary = _vocabulary(said)
    if len(vocabulary) < 3 * _NAMED_BY:
        return ()
    tfidf_NW = _tfidf(said, vocabulary)
    rank = min(_DIMENSIONS, *(size - 1 for size in tfidf_NW.shape))
    left_ND, strength_D, _ = svds(tfidf_NW, k=rank, v0=np.ones(min(tfidf_NW.shape)))
    place_ND = left_ND * strength_D
    place_ND /= np.maximum(np.linalg.norm(place_ND, axis=1, keepdims=True), 1e-9)
    num_topics = int(min(_MOST_TOPICS, max(3, round(math.sqrt(len(sample) / 12)))))
    centre_KD, label_N = kmeans2(place_ND, num_topics, minit="++", rng=np.random.default_rng(7), iter=30)
    return _named(sample, tfidf_NW, np.asarray(label_N), place_ND @ centre_KD.T, list(vocabulary))


def _terms(row: Row) -> Counter[str]:
    said = row.answer if len(row.tokens) >= _TELLING_WORDS else f"{row.said} {row.answer}"
    found = words(said[: 12 * _WORDS_A_ROW].lower())[:_WORDS_A_ROW]
    return Counter(word for word in found if len(word) > 2 and word not in STOP_WORDS and not word[0].isdigit())


def _vocabulary(said: Sequence[Counter[str]]) -> dict[str, int]:
    """The words that at least two rows and at most 40 % of them have, the commonest first → column."""
    counts = Counter(word for terms in said for word in terms)
    kept = [word for word, count in counts.items() if 2 <= count <= 0.4 * len(said)]
    kept = sorted(kept, key=lambda word: (-counts[word], word))[:_MOST_WORDS]
    return {word: column for column, word in enumerate(kept)}


def _tfidf(said: Sequence[Counter[str]], vocabulary: dict[str, int]):  # type: ignore[no-untyped-def]  # scipy has no types
    from scipy.sparse import csr_matrix

    frequency = Counter(word for terms in said for word in terms if word in vocabulary)
    places: list[int] = []
    columns: list[int] = []
    values: list[float] = []
    for place, terms in enumerate(said):
        weights = {
            vocabulary[word]: (1 + math.log(count)) * math.log(len(said) / frequency[word])
            for word, count in terms.items()
            if word in vocabulary
        }
        length = math.sqrt(sum(weight * weight for weight in weights.values())) or 1.0
        places += [place] * len(weights)
        columns += weights.keys()
        values += [weight / length for weight in weights.values()]
    return csr_matrix((values, (places, columns)), shape=(len(said), len(vocabulary)))


def _named(
    sample: Sequence[Row], tfidf_NW: object, label_N: NDArray[np.int64], near_NK: NDArray[np.float64], names: Sequence[str]
) -> tuple[Topic, ...]:
    matrix = np.asarray(tfidf_NW.todense())  # type: ignore[attr-defined]
    everywhere = matrix.mean(axis=0)
    found = []
    for topic in range(near_NK.shape[1]):
        members = np.flatnonzero(label_N == topic)
        if not len(members):
            continue
        stands_out = matrix[members].mean(axis=0) - everywhere
        best = np.argsort(-stands_out, kind="stable")[: 4 * _NAMED_BY]
        typical = sample[int(members[np.argmax(near_NK[members, topic])])].example.id
        by_stem = {names[int(column)][:5]: names[int(column)] for column in reversed(best)}  # “analyst” says “analysts”, too
        name = ", ".join([by_stem[stem] for stem in dict.fromkeys(names[int(c)][:5] for c in best)][:_NAMED_BY])
        found.append(Topic(name=name, count=len(members), share=len(members) / len(sample), typical=typical))
    return tuple(sorted(found, key=lambda topic: (-topic.count, topic.name)))
