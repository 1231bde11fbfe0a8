"""BERTScore: how well the words of answer and reference match in meaning, by the vectors of a sentence encoder.

Zhang et al. 2020, "BERTScore: Evaluating Text Generation with BERT", § 3: each token goes to the most similar token of the
other text; precision is the mean over the answer's tokens, recall over the reference's, the score their F1. Without weights by
rarity and without rescaling. The encoder is the one of the extra `embeddings` (all-MiniLM-L6-v2, last layer), which papers do
not use: values are comparable with each other, not with published ones.

Shapes: T tokens of a text, K dimensions.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray

from tunesmith.core.errors import ModelError
from tunesmith.data.similar.embeddings import Encoder, open_encoder
from tunesmith.eval.metrics.metric import Expected, Metric, Unscored

__all__ = ["METRICS", "bertscore", "token_f1_of_vectors"]


def token_f1_of_vectors(answer_TK: NDArray[np.float32], reference_TK: NDArray[np.float32]) -> float:
    """F1 of the best matches between two sets of vectors of length 1, −1 to 1. 0 if precision and recall add up to nothing."""
    similar = answer_TK @ reference_TK.T
    precision, recall = float(similar.max(1).mean()), float(similar.max(0).mean())
    return 2 * precision * recall / (precision + recall) if precision + recall > 0 else 0.0


def bertscore(answers: Sequence[str], expected: Sequence[Expected], encoder: Encoder) -> list[float | Unscored]:
    """The score of each answer with the given encoder; against several references the best. An empty answer scores 0."""
    texts = list(dict.fromkeys([*answers, *(reference for one in expected for reference in one.references)]))
    vectors = dict(zip(texts, encoder.token_vectors(texts), strict=True))

    def score(answer: str, one: Expected) -> float | Unscored:
        known = [vectors[reference] for reference in one.references if len(vectors[reference])]
        if not known:
            return Unscored("the reference is empty")
        return max(token_f1_of_vectors(vectors[answer], reference) for reference in known) if len(vectors[answer]) else 0.0

    return [score(answer, one) for answer, one in zip(answers, expected, strict=True)]


@cache
def _bundled() -> Encoder:
    return open_encoder()


def _score(answers: Sequence[str], expected: Sequence[Expected]) -> list[float | Unscored]:
    try:
        encoder = _bundled()
    except ModelError as error:
        problem = error.problems[0]
        return [Unscored(f"{problem.what}: {problem.hint}")] * len(answers)
    return bertscore(answers, expected, encoder)


METRICS = (
    Metric(
        name="bertscore",
        label="BERTScore",
        task="writing",
        unit="cosine",
        bounds=(-1.0, 1.0),
        higher_is_better=True,
        measures=(
            "How similar the words of answer and reference are in meaning, by the vectors of a sentence encoder"
            " (all-MiniLM-L6-v2, the extra `embeddings`; not comparable with values from papers)."
        ),
        misses="facts and negation: a fluent answer on the same subject scores high even if it says the opposite.",
        score=_score,
        slow=True,
    ),
)
