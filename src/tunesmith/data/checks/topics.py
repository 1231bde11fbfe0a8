"""What the examples are about: topic clusters with names, without a model.

Word vectors of the answer, with its prompt where it is short, at unit length → k-means from fixed starts, so the same rows give
the same topics. Three words that stand out in a cluster name it.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tunesmith.data.checks.rows import Row
from tunesmith.data.similar.semantic import embed_by_words
from tunesmith.data.text.lexicon import STOP_WORDS
from tunesmith.data.text.words import words

__all__ = ["Topic", "find_topics"]

# N rows of the sample, D dimensions, K clusters
_MOST_ROWS, _DIMENSIONS, _MOST_TOPICS = 2000, 40, 12
_WORDS_A_ROW = 200
_TELLING_WORDS = 30  # an answer of so many says what it is about; the prompts' wordings would only make topics of their own
_FEWEST_ROWS = 40
_MOST_SPREAD = 0.4  # a word that stands in more rows than this tells none apart
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

    step = max(1, -(-len(rows) // _MOST_ROWS))
    sample = [row for row in rows[::step] if row.text.strip()]
    if len(sample) < _FEWEST_ROWS:
        return ()
    said = [_terms(row) for row in sample]
    spread = Counter(word for terms in said for word in terms)
    telling = {word for word, count in spread.items() if 2 <= count <= _MOST_SPREAD * len(sample)}
    if len(telling) < 3 * _NAMED_BY:
        return ()
    said = [[word for word in terms if word in telling] for terms in said]
    place_ND = embed_by_words([" ".join(terms) for terms in said], dimensions=_DIMENSIONS)
    place_ND /= np.maximum(np.linalg.norm(place_ND, axis=1, keepdims=True), 1e-9)
    num_topics = int(min(_MOST_TOPICS, max(3, round(math.sqrt(len(sample) / 12)))))
    centre_KD, label_N = kmeans2(place_ND, num_topics, minit="++", rng=np.random.default_rng(7), iter=30)
    near_NK = place_ND @ centre_KD.T
    found = []
    for topic in range(num_topics):
        members = np.flatnonzero(label_N == topic)
        if len(members):
            name = _name([said[member] for member in members], spread)
            typical = sample[int(members[np.argmax(near_NK[members, topic])])].example.id
            found.append(Topic(name=name, count=len(members), share=len(members) / len(sample), typical=typical))
    return tuple(sorted(found, key=lambda topic: (-topic.count, topic.name)))


def _terms(row: Row) -> list[str]:
    """The different words of a row that may name a topic, as they come."""
    said = row.answer if len(row.tokens) >= _TELLING_WORDS else f"{row.said} {row.answer}"
    found = dict.fromkeys(words(said[: 12 * _WORDS_A_ROW].lower())[:_WORDS_A_ROW])
    return [word for word in found if len(word) > 2 and word not in STOP_WORDS and not word[0].isdigit()]


def _name(members: Sequence[Sequence[str]], spread: Counter[str]) -> str:
    """The words that most rows of a cluster have and few others do; of words with one beginning the commonest."""
    inside = Counter(word for terms in members for word in terms)
    best = sorted(inside, key=lambda word: (-inside[word] * inside[word] / spread[word], word))[: 4 * _NAMED_BY]
    chosen: dict[str, str] = {}
    for word in best:
        chosen.setdefault(word[:5], word)  # “analyst” says “analysts”, too
    return ", ".join(list(chosen.values())[:_NAMED_BY])
