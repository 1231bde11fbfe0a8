"""Voice: how likely it is that the author wrote a text, by a classifier trained on the author's own documents.

The classifier (logistic regression over masked character n-grams, function words, punctuation and rhythm, `voice_features`)
tells the author's training documents from other writing, such as the base model's own answers to the same questions. It is
checked on documents and authors that it has not seen, on pieces of one length, and calibrated there. Where it cannot tell them
apart (AUC below 0.75, or an interval that reaches below 0.6), or where several authors wrote the documents, the voice is *not
measured*: every score is unscored with the reason.

What it cannot do: text alone does not show that many people wrote one house style (docs/log.md has the attempt), so several
authors are found by the names of the documents. It says nothing of what a text means, and a caricature scores high.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any, NamedTuple

import numpy as np
import orjson
from numpy.typing import NDArray

from tunesmith.core.records import Interval
from tunesmith.eval.corpus import corpus_interval
from tunesmith.eval.metrics.metric import Metric, Unscored
from tunesmith.eval.metrics.voice_features import masked, pieces, prose, rhythm, spread

__all__ = ["LEAST_AUC", "METRICS", "Voice", "VoiceCheck", "VoiceScores", "Writing", "fit_voice", "packaged_writing"]

LEAST_AUC, _LEAST_LOW = 0.75, 0.6
_FOLDS = 5
_FEWEST_DOCUMENTS = 6
_OF_ONE_AUTHOR = 0.8  # share of the named documents that one author must have
_MOST_PIECES = 6  # of one document, so that long ones do not decide
_WORDS, _SHORTEST = 120, 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Writing:
    """A text with the document that it is from, and its author where that is known."""

    text: str
    document: str
    author: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class VoiceCheck:
    """How well the author is known on unseen documents and authors, on pieces of `words` words. `reason`: why the voice is not
    measured; empty if it is. `brier`: mean squared error of the calibrated probabilities (0.25 is a coin). `num_classifiers`:
    where several adapters were judged, each beside its own training rows; the figures are then those of the worst."""

    auc: float | None
    ci: Interval | None
    brier: float | None
    words: int
    num_documents: int
    num_others: int
    reason: str = ""
    num_classifiers: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class VoiceScores:
    """What the classifier says in an evaluation: for each system the chance that the author wrote its answers, item by item,
    and the same of the references; None where an answer is too short. Both are empty where the voice is not measured.
    `learned`: the training rows that it learned the author from, and the document of each."""

    check: VoiceCheck
    systems: Mapping[str, tuple[float | None, ...]] = field(default_factory=dict)
    references: tuple[float | None, ...] = ()
    learned: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Fold:
    """A classifier and the documents that it has seen."""

    features: _Features
    model: Any
    seen: frozenset[str]

    def decide(self, found: Sequence[str]) -> NDArray[np.float64]:
        return np.asarray(self.model.decision_function(self.features.matrix(found)), dtype=np.float64)


@dataclass(frozen=True, slots=True)
class Voice:
    """A checked classifier of one author's voice."""

    check: VoiceCheck
    _folds: tuple[_Fold, ...] = ()
    _slope: float = 1.0
    _offset: float = 0.0

    def score(self, texts: Sequence[str], documents: Sequence[str] | None = None) -> list[float | Unscored]:
        """The calibrated chance that the author wrote each text, if author and others were equally likely before, 0 to 1.

        Texts are scored in pieces of the length that was checked; shorter ones are unscored. `documents`: what each text is
        from, so that a text on which a classifier was trained is scored by those that have not seen it.
        """
        if self.check.reason:
            return [Unscored(self.check.reason)] * len(texts)
        return [self._one(text, document) for text, document in zip(texts, documents or [""] * len(texts), strict=True)]

    def _one(self, text: str, document: str) -> float | Unscored:
        found = pieces(prose(text), self.check.words, _MOST_PIECES)
        if not found:
            return Unscored(f"shorter than the {self.check.words} words that the voice was checked on")
        unseen = [fold for fold in self._folds if document not in fold.seen]
        decisions = np.mean([fold.decide(found) for fold in unseen or self._folds], axis=0)
        return float(np.mean(_chance(self._slope * decisions + self._offset)))


class _Features:
    """Masked character n-grams, function words and pairs of them, and rhythm; fitted on training pieces alone."""

    def __init__(self, found: Sequence[str]) -> None:
        from sklearn.feature_extraction.text import TfidfVectorizer
        from sklearn.preprocessing import StandardScaler

        texts = [masked(piece) for piece in found]
        self._characters = TfidfVectorizer(
            analyzer="char", ngram_range=(2, 4), lowercase=False, sublinear_tf=True, max_features=8000
        )
        self._words = TfidfVectorizer(token_pattern=r"\S+", ngram_range=(1, 2), sublinear_tf=True, max_features=3000)
        self._rhythm = StandardScaler().fit([rhythm(piece) for piece in found])
        self._characters.fit(texts)
        self._words.fit(texts)

    def matrix(self, found: Sequence[str]) -> Any:
        """One row per piece."""
        from scipy.sparse import csr_matrix, hstack

        texts = [masked(piece) for piece in found]
        measured = np.clip(self._rhythm.transform([rhythm(piece) for piece in found]), -3, 3)
        return hstack([self._characters.transform(texts), self._words.transform(texts), csr_matrix(0.1 * measured)]).tocsr()


def fit_voice(own: Sequence[Writing], other: Sequence[Writing], *, words: int | None = None, seed: int = 7) -> Voice:
    """Learn and check the voice of the author of `own` against `other` writing. Needs scikit-learn.

    `words`: length of the pieces; by default what nine of ten texts on either side have, between 40 and 120. Folds keep
    documents together, and those of one named author in `other`, so that the check is on unseen documents and authors.
    """
    size = words or min(_length(own), _length(other))
    rows = [*_rows(own, 1, size), *_rows(other, 0, size)]
    documents = {row[2] for row in rows if row[1]}
    others = {row[2] for row in rows if not row[1]}
    reason = _several_authors(own) or _too_few(documents, others, size)
    if reason:
        return Voice(_check(None, None, None, size, documents, others, reason))
    label = np.array([row[1] for row in rows])
    fold_of = _folds(documents, seed) | {f"other {name}": number for name, number in _folds(others, seed).items()}
    number = np.array([fold_of[row[2] if row[1] else f"other {row[2]}"] for row in rows])
    found = [row[0] for row in rows]
    held_out = np.zeros(len(rows))
    folds = []
    for at in range(_FOLDS):
        train = [i for i in range(len(rows)) if number[i] != at]
        test = [i for i in range(len(rows)) if number[i] == at]
        fold = _train([found[i] for i in train], label[train], frozenset(rows[i][3] for i in train))
        held_out[test] = fold.decide([found[i] for i in test])
        folds.append(fold)
    parts = list(zip(label.tolist(), held_out.tolist(), strict=True))
    estimate = corpus_interval(
        parts, [row[2] if row[1] else f"other {row[2]}" for row in rows], _auc, draws=1000, seed=seed, bounds=(0.0, 1.0)
    )
    slope, offset = _calibrated(held_out, label)
    chances = _chance(slope * held_out + offset)
    balance = np.where(label == 1, 0.5 / label.mean(), 0.5 / (1 - label.mean()))
    brier = float(np.average((chances - label) ** 2, weights=balance))
    ci = estimate.ci or _if_never_wrong(estimate.value, min(len(documents), len(others)))
    check = _check(estimate.value, ci, brier, size, documents, others, _unknown(estimate.value, ci))
    return Voice(check, tuple(folds), slope, offset)


def packaged_writing() -> tuple[Writing, ...]:
    """Other writing that comes with Tunesmith: 48 general answers, written for it."""
    lines = (files("tunesmith") / "examples" / "general.jsonl").read_bytes().split(b"\n")
    rows = [orjson.loads(line) for line in lines if line]
    return tuple(Writing(text=row["reference"], document=f"general {row['id']}") for row in rows)


class _Row(NamedTuple):
    """A piece to learn from. `unit`: what a fold keeps together."""

    piece: str
    label: int
    unit: str
    document: str


def _rows(writing: Sequence[Writing], label: int, size: int) -> list[_Row]:
    """Up to six pieces of every document, evenly spread over its texts."""
    by_document: dict[str, list[_Row]] = {}
    for one in writing:
        unit = one.document if label else one.author or one.document
        found = pieces(prose(one.text), size, _MOST_PIECES)
        by_document.setdefault(one.document, []).extend(_Row(piece, label, unit, one.document) for piece in found)
    return [rows[i] for rows in by_document.values() for i in spread(len(rows), _MOST_PIECES)]


def _length(writing: Sequence[Writing]) -> int:
    lengths = [len(prose(one.text).split()) for one in writing]
    return int(np.clip(np.quantile(lengths, 0.1), _SHORTEST, _WORDS)) if lengths else _WORDS


def _several_authors(own: Sequence[Writing]) -> str:
    """Why the documents are not one author's; empty if they are, or if none is named."""
    named = Counter({one.document: one.author for one in own if one.author}.values())
    if len(named) < 2:
        return ""
    (author, count), total = named.most_common(1)[0], sum(named.values())
    if count >= _OF_ONE_AUTHOR * total:
        return ""
    return f"{len(named)} authors wrote the documents ({author} {100 * count / total:.0f} % of them): that is not one voice"


def _too_few(documents: set[str], others: set[str], size: int) -> str:
    for what, found in (("of the author", documents), ("of others", others)):
        if len(found) < _FEWEST_DOCUMENTS:
            return f"{len(found)} documents {what} have {size} words or more; {_FEWEST_DOCUMENTS} are needed"
    return ""


def _unknown(auc: float | None, ci: Interval | None) -> str:
    if auc is None or ci is None:
        return "the classifier could not be checked"
    if auc < LEAST_AUC or ci.low < _LEAST_LOW:
        shown = f"AUC {auc:.2f} [{ci.low:.2f}, {ci.high:.2f}]"
        return f"the author cannot be distinguished from other writing on unseen documents ({shown}; {LEAST_AUC} is needed)"
    return ""


def _if_never_wrong(auc: float | None, num_documents: int) -> Interval | None:
    """The interval of an AUC of 1, which draws of documents give none for: by the rule of three, up to 3 in n may be wrong."""
    if auc != 1.0:
        return None
    low = max(0.0, 1.0 - 3.0 / num_documents)
    return Interval(low=low, high=1.0, level=0.95, method=f"rule of three for {num_documents} documents without an error")


def _folds(names: set[str], seed: int) -> dict[str, int]:
    """A fold for each document or author, of equal numbers, seeded."""
    shuffled = np.random.default_rng([seed, len(names)]).permutation(sorted(names)).tolist()
    return {name: at % _FOLDS for at, name in enumerate(shuffled)}


def _train(found: Sequence[str], label: NDArray[np.int_], seen: frozenset[str]) -> _Fold:
    from sklearn.linear_model import LogisticRegression

    features = _Features(found)
    model = LogisticRegression(C=10.0, class_weight="balanced", max_iter=500)
    return _Fold(features, model.fit(features.matrix(found), label), seen)


def _auc(parts: Sequence[tuple[int, float]]) -> float | None:
    """The chance that a piece of the author scores above one of others (ties half): Mann and Whitney's U over its maximum."""
    from scipy.stats import rankdata

    label = np.array([one for one, _ in parts])
    own = int(label.sum())
    others = len(parts) - own
    if not own or not others:
        return None
    ranks = rankdata([value for _, value in parts])
    return (float(ranks[label == 1].sum()) - own * (own + 1) / 2) / (own * others)


def _calibrated(decisions: NDArray[np.float64], label: NDArray[np.int_]) -> tuple[float, float]:
    """Slope and offset that turn decisions on unseen documents into log odds (Platt 1999), both sides weighing the same."""
    from sklearn.linear_model import LogisticRegression

    found = LogisticRegression(C=1e6, class_weight="balanced").fit(decisions[:, None], label)
    return float(found.coef_[0, 0]), float(found.intercept_[0])


def _chance(log_odds: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(1 / (1 + np.exp(-np.clip(log_odds, -30, 30))), dtype=np.float64)


def _check(
    auc: float | None, ci: Interval | None, brier: float | None, words: int, documents: set[str], others: set[str], reason: str
) -> VoiceCheck:
    return VoiceCheck(
        auc=auc, ci=ci, brier=brier, words=words, num_documents=len(documents), num_others=len(others), reason=reason
    )


METRICS = (
    Metric(
        name="voice",
        label="voice",
        task="voice",
        unit="share",
        bounds=(0.0, 1.0),
        higher_is_better=True,
        measures=(
            "The chance that the author wrote the answer rather than someone else, by a classifier of masked character runs,"
            " function words, punctuation and sentence lengths that was checked on unseen documents (AUC 0.75 or more, else"
            " not measured)."
        ),
        misses="what the answer says and whether it is right; a caricature scores high, and several authors look like one.",
        needs=(),
    ),
)
