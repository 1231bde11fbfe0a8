"""What a comparison tells besides scores: whether a score depends on the question, each class of a classification, and the
voice of an author, which has to be learned from training documents first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from tunesmith.core.errors import EvaluationError
from tunesmith.eval.metrics.labels import class_scores, confusion
from tunesmith.eval.metrics.metric import Expected, Metric, Unscored
from tunesmith.eval.metrics.voice import VoiceCheck, Writing, fit_voice, packaged_writing
from tunesmith.eval.predictions import Prediction
from tunesmith.eval.scoring import Scoring
from tunesmith.eval.specificity import specificity
from tunesmith.eval.stats import Summary, summarise

__all__ = ["classes_of", "specificity_of", "voice_metric"]

_OF_QUESTION = ("writing", "questions")  # tasks whose references differ from question to question
_MOST_SCORES = 10_000


def specificity_of(scoring: Scoring, rows: Sequence[Prediction]) -> Summary | None:
    """What a system's score owes to the question (`eval.specificity`), over documents; None where that has no meaning.

    Up to 20 other references for each answer, fewer for many answers, so that it stays a matter of seconds.
    """
    score = scoring.metric.score
    if score is None or scoring.metric.task not in _OF_QUESTION or scoring.metric.slow:
        return None

    def one(text: str, reference: str) -> float | None:
        found = score([text], [Expected(references=(reference,))])[0]
        return None if isinstance(found, Unscored) else found

    values = specificity(
        [row.prediction for row in rows],
        [row.reference for row in rows],
        scoring.groups,
        one,
        sample=min(20, max(3, _MOST_SCORES // len(rows))),
        seed=scoring.seed,
    )
    return summarise(values, scoring.groups, draws=scoring.draws, seed=scoring.seed)


def classes_of(scoring: Scoring, rows: Sequence[Prediction]) -> dict[str, Any] | None:
    """Figures of each class and the confusion of labels, for metrics of classification."""
    if scoring.metric.task != "labels":
        return None
    known = [(row.prediction, row.expected) for row in rows if row.expected.references]
    answers, expected = [answer for answer, _ in known], [one for _, one in known]
    found = confusion(answers, expected)
    return {
        "classes": [
            {"label": one.label, "support": one.support, "precision": one.precision, "recall": one.recall, "f1": one.f1}
            for one in class_scores(answers, expected)
        ],
        "confusion": {"labels": [*found.labels, None], "counts": [list(row) for row in found.counts]},
    }


def voice_metric(
    metric: Metric, train: Sequence[Writing] | None, base: Sequence[Prediction], groups: Sequence[str], seed: int
) -> tuple[Metric, VoiceCheck]:
    """The metric `voice` with a scorer, learned from the author's training rows against the reference system's answers.

    An answer of the reference system is scored by classifiers that have not seen answers to questions of its document.
    EvaluationError without training rows.
    """
    if not train:
        raise EvaluationError(
            "the voice of an author has to be learned first",
            value=None,
            expected="the author's training rows",
            hint="tunesmith compare BASE.jsonl TUNED.jsonl --metric voice --train train.jsonl",
        )
    answers = [Writing(text=row.prediction, document=group) for row, group in zip(base, groups, strict=True)]
    voice = fit_voice(train, [*answers, *packaged_writing()], seed=seed)
    document_of = {one.text: one.document for one in answers}

    def score(texts: Sequence[str], expected: Sequence[Expected]) -> list[float | Unscored]:
        return voice.score(texts, [document_of.get(text, "") for text in texts])

    return replace(metric, score=score), voice.check
