"""chrF and BLEU, from translation research, as the `sacrebleu` library computes them. Both on its scale of 0 to 100.

Papers: Popović 2015, "chrF: character n-gram F-score for automatic MT evaluation"; Papineni et al. 2002, "BLEU: a Method for
Automatic Evaluation of Machine Translation"; Post 2018, "A Call for Clarity in Reporting BLEU Scores", for the settings.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from tunesmith.eval.metrics.metric import CorpusScore, Expected, Metric, Unscored, each
from tunesmith.eval.metrics.repetition import unspaced

__all__ = ["METRICS", "bleu", "chrf"]

_ORDER = 4  # BLEU counts runs of one to four tokens
_SMOOTHING = "exp"


class _Counts(NamedTuple):
    """What BLEU needs of one answer: runs of each length that are right and all of them, and the two lengths in tokens."""

    correct: tuple[int, ...]
    total: tuple[int, ...]
    answer_tokens: int
    reference_tokens: int


@cache
def _chrf() -> Any:
    from sacrebleu.metrics import CHRF

    return CHRF()


@cache
def _bleu(tokenizer: str) -> Any:
    from sacrebleu.metrics import BLEU

    return BLEU(tokenize=tokenizer, effective_order=True, smooth_method=_SMOOTHING)


def chrf(answer: str, references: Sequence[str]) -> float | None:
    """Sentence chrF2, 0 to 100: F-score (beta 2) of the character runs of length one to six, white space left out.

    Against several references: the best. None if no reference has a character.
    """
    known = [reference for reference in references if reference.strip()]
    return float(_chrf().sentence_score(answer, known).score) if known else None


def bleu(answer: str, references: Sequence[str]) -> float | None:
    """Sentence BLEU, 0 to 100: exponential smoothing, effective order, as sacrebleu's `sentence_bleu`.

    Tokens are those of sacrebleu's `13a`, or characters (`char`) where most of the reference is in a script without spaces.
    None if no reference has a character.
    """
    score = _sentence(answer, references)
    return None if score is None else float(score.score)


def _sentence(answer: str, references: Sequence[str]) -> Any:
    known = [reference for reference in references if reference.strip()]
    return _bleu("char" if unspaced(known[0]) else "13a").sentence_score(answer, known) if known else None


def _counts(answer: str, references: Sequence[str]) -> _Counts | None:
    score = _sentence(answer, references)
    return None if score is None else _Counts(tuple(score.counts), tuple(score.totals), score.sys_len, score.ref_len)


def _corpus(answers: Sequence[str], expected: Sequence[Expected]) -> CorpusScore:
    return CorpusScore(
        parts=tuple(_counts(answer, one.references) for answer, one in zip(answers, expected, strict=True)),
        value=_corpus_value,
    )


def _corpus_value(parts: Sequence[_Counts | None]) -> float | None:
    known = [part for part in parts if part is not None]
    if not known:
        return None
    from sacrebleu.metrics import BLEU

    correct = np.sum([part.correct for part in known], axis=0).tolist()
    total = np.sum([part.total for part in known], axis=0).tolist()
    lengths = [sum(part.answer_tokens for part in known), sum(part.reference_tokens for part in known)]
    return float(BLEU.compute_bleu(correct, total, *lengths, smooth_method=_SMOOTHING, max_ngram_order=_ORDER).score)


_EMPTY = "the reference is empty"


def _scored(value: float | None) -> float | Unscored:
    return Unscored(_EMPTY) if value is None else value


METRICS = (
    Metric(
        name="chrf",
        label="chrF",
        task="writing",
        unit="of 100",
        bounds=(0.0, 100.0),
        higher_is_better=True,
        measures="Runs of one to six characters that answer and reference share (chrF2 of sacrebleu, white space left out).",
        misses=(
            "meaning: other words for the same thing count as wrong, and any text in the same language scores well above zero,"
            " because all of it shares short runs."
        ),
        score=each(lambda answer, one: _scored(chrf(answer, one.references))),
    ),
    Metric(
        name="bleu",
        label="BLEU per answer",
        task="writing",
        unit="of 100",
        bounds=(0.0, 100.0),
        higher_is_better=True,
        measures=(
            "Runs of one to four tokens of the answer that are in the reference, with a penalty for short answers (sacrebleu,"
            " tokens 13a, or characters in scripts without spaces; exponential smoothing)."
        ),
        misses="meaning; for single answers most of the score is smoothing, so it is meant for text close to its reference.",
        score=each(lambda answer, one: _scored(bleu(answer, one.references))),
    ),
    Metric(
        name="corpus_bleu",
        label="BLEU of all answers",
        task="writing",
        unit="of 100",
        bounds=(0.0, 100.0),
        higher_is_better=True,
        measures="BLEU with the counts of all answers added up, as papers report it (sacrebleu, tokens as for `bleu`).",
        misses="meaning; long answers weigh more, and one number hides which answers are bad.",
        corpus=_corpus,
    ),
)
