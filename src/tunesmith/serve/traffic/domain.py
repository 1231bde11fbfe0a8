"""Is a text like those that a model was tuned on? A small classifier that knows how often it is right.

Features: character n-grams (3 to 5, hashed) weighed by logistic regression, and the likeness to the nearest training text by
the same n-grams, so that what resembles neither side is seen as far. Texts are parted by group into three: one fits the
weights, one calibrates probability and limits, one measures. Nothing is pickled: the file is safetensors.

Shapes: N texts, D hashed n-grams.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import orjson
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from sklearn.feature_extraction.text import HashingVectorizer
from sklearn.linear_model import LogisticRegression

from tunesmith.core.errors import EvaluationError, ModelError
from tunesmith.core.files import replace_file
from tunesmith.core.proportion import wilson

__all__ = ["DomainRouter", "Place", "fit_router", "open_router"]

Place = Literal["inside", "outside", "unsure"]
_WIDTH, _CHARS, _MOST_TEXTS, _LEAST = 2**15, 2000, 4000, 40
_MOST_WRONG = 0.05  # of the outside texts that calibrate: as many may pass for inside
_FORMAT = "tunesmith-router-1"
_GRAMS = HashingVectorizer(analyzer="char_wb", ngram_range=(3, 5), n_features=_WIDTH, norm="l2", alternate_sign=False)


@dataclass(frozen=True, slots=True)
class DomainRouter:
    """`weights` (D) and `bias` of the n-grams, `near` (N × D): the inside texts that fitted them, `scale`: how logit and
    likeness become a probability. `sure`: the least probability of inside, `far`: the likeness below which nothing is inside.

    `figures`: what was measured on texts that neither fitted nor calibrated.
    """

    weights: NDArray[np.float32]
    bias: float
    near: csr_matrix
    scale: tuple[float, float, float]
    sure: float
    far: float
    figures: dict[str, Any]

    def places(self, texts: Sequence[str]) -> list[Place]:
        """Where each text belongs."""
        p, nearest = self.measured(texts)
        return [
            "inside" if one >= self.sure and near >= self.far else "outside" if one <= 1 - self.sure else "unsure"
            for one, near in zip(p, nearest, strict=True)
        ]

    def measured(self, texts: Sequence[str]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Probability of inside, and likeness (0 … 1) to the nearest inside text."""
        logit, nearest = _features(texts, self.weights, self.bias, self.near)
        z = self.scale[0] * logit + self.scale[1] * nearest + self.scale[2]
        return 1 / (1 + np.exp(-z)), nearest

    def save(self, file: Path) -> None:
        """Write it."""
        from safetensors.numpy import save

        about = {
            "bias": self.bias,
            "scale": self.scale,
            "sure": self.sure,
            "far": self.far,
            "figures": self.figures,
            "rows": self.near.shape[0],
        }
        tensors = {
            "weights": self.weights,
            "data": self.near.data.astype(np.float32),
            "indices": self.near.indices.astype(np.int32),
            "indptr": self.near.indptr.astype(np.int32),
        }
        replace_file(file, save(tensors, {"format": _FORMAT, "about": orjson.dumps(about).decode()}))


def open_router(file: Path) -> DomainRouter:
    """Read a router. ModelError for a file that is not one."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file, "np") as opened:
            found = opened.metadata() or {}
            if found.get("format") != _FORMAT:
                raise _no_router(file, f"format {found.get('format')}")
            tensors = {name: opened.get_tensor(name) for name in ("weights", "data", "indices", "indptr")}
    except (OSError, SafetensorError) as error:
        raise _no_router(file, str(error)[:200]) from error
    about = orjson.loads(found["about"])
    near = csr_matrix((tensors["data"], tensors["indices"], tensors["indptr"]), shape=(about["rows"], _WIDTH))
    scale = (about["scale"][0], about["scale"][1], about["scale"][2])
    return DomainRouter(tensors["weights"], about["bias"], near, scale, about["sure"], about["far"], about["figures"])


def fit_router(inside: Sequence[tuple[str, str]], outside: Sequence[tuple[str, str]]) -> DomainRouter:
    """Fit, calibrate and measure. Each text comes with its group, which is never torn apart; equal texts are taken once.

    EvaluationError for fewer than 40 texts of a side in all, or for a part without texts of both sides.
    """
    parts = _parted(inside, outside)
    fitting, calibrating, testing = parts
    texts, labels = _both(fitting)
    grams = _GRAMS.transform([text[:_CHARS] for text in texts])
    model = LogisticRegression(C=10.0, class_weight="balanced", max_iter=1000).fit(grams, labels)
    weights, bias = model.coef_[0].astype(np.float32), float(model.intercept_[0])
    near = grams[np.flatnonzero(labels)[:_MOST_TEXTS]]
    texts, labels = _both(calibrating)
    logit, nearest = _features(texts, weights, bias, near)
    scaler = LogisticRegression(class_weight="balanced", max_iter=1000).fit(np.stack([logit, nearest], axis=1), labels)
    scale = (float(scaler.coef_[0][0]), float(scaler.coef_[0][1]), float(scaler.intercept_[0]))
    p = 1 / (1 + np.exp(-(scale[0] * logit + scale[1] * nearest + scale[2])))
    sure = max(0.5, float(np.quantile(p[labels == 0], 1 - _MOST_WRONG)) + 1e-9)
    far = float(np.quantile(nearest[labels == 1], 0.02))
    router = DomainRouter(weights, bias, near, scale, min(sure, 1 - 1e-6), far, {})
    sizes = {"fitted_on": [len(side) for side in fitting], "calibrated_on": [len(side) for side in calibrating]}
    figures = _figures(router, testing) | sizes
    return DomainRouter(weights, bias, near, scale, router.sure, far, figures)


def _figures(router: DomainRouter, testing: _Part) -> dict[str, Any]:
    """Shares with Wilson intervals that count groups, not texts: the texts of one document are not independent."""
    texts, labels = _both(testing)
    groups = np.array([group for side in testing for _, group in side])
    places = router.places(texts)
    p, _ = router.measured(texts)
    to_tuned = np.array([place == "inside" for place in places])
    inside, outside = labels == 1, labels == 0

    def share(hits: NDArray[np.bool_], of: NDArray[np.bool_]) -> dict[str, Any]:
        value, independent = float(hits[of].mean()), len(set(groups[of]))
        return {"value": value, "ci": wilson(value, independent), "n": int(of.sum()), "groups": independent}

    every = np.ones(len(labels), dtype=bool)

    return {
        "accuracy": share(to_tuned == inside, every),
        "inside_found": share(to_tuned, inside),
        "outside_passed_for_inside": share(to_tuned, outside),
        "unsure": share(np.array([place == "unsure" for place in places]), every),
        "brier": float(((p - labels) ** 2).mean()),
        "always_inside": share(inside, every),
    }


def _features(
    texts: Sequence[str], weights: NDArray[np.float32], bias: float, near: csr_matrix
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    grams = _GRAMS.transform([text[:_CHARS] for text in texts])
    nearest = np.asarray((grams @ near.T).max(axis=1).todense()).ravel()
    return np.asarray(grams @ weights + bias, dtype=float), nearest.astype(float)


_Part = tuple[list[tuple[str, str]], list[tuple[str, str]]]


def _parted(inside: Sequence[tuple[str, str]], outside: Sequence[tuple[str, str]]) -> list[_Part]:
    """Three parts (3 : 1 : 1 by hash of the group), each with its inside and outside texts and their groups."""
    parts: list[_Part] = [([], []), ([], []), ([], [])]
    for side, pairs in enumerate((inside, outside)):
        groups = {" ".join(text.split()): group for text, group in pairs if text.strip()}
        if len(groups) < _LEAST:
            raise EvaluationError(
                f"too few texts are known {'outside' if side else 'inside'} the domain",
                value=len(groups),
                expected=f"{_LEAST} different texts or more",
                hint="tunesmith route train --inside FILE --outside FILE",
            )
        for text, group in groups.items():
            number = hashlib.sha256(group.encode()).digest()[0] % 5
            parts[max(0, number - 2)][side].append((text, group))
    if any(len(side) < 5 for part in parts for side in part):
        raise EvaluationError(
            "the texts come from too few documents to hold some out",
            value=[[len(side) for side in part] for part in parts],
            expected="5 texts or more of each side in each of three parts, parted by document",
            hint="give texts of more documents",
        )
    return parts


def _both(part: _Part) -> tuple[list[str], NDArray[np.int64]]:
    return [text for side in part for text, _ in side], np.array([1] * len(part[0]) + [0] * len(part[1]))


def _no_router(file: Path, why: str) -> ModelError:
    return ModelError(
        "this file is not a router",
        value=str(file),
        expected=f"what `tunesmith route train` wrote ({why})",
        hint="tunesmith route train --inside dataset:latest --out mine.router",
    )
