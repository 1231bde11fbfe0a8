"""Metrics from a model's probabilities: no answer is generated. They are computed in `eval.likelihood`."""

from __future__ import annotations

import math

from tunesmith.eval.metrics.metric import Metric

__all__ = ["METRICS"]

METRICS = (
    Metric(
        name="bits_per_byte",
        label="bits per byte",
        task="likelihood",
        unit="bits",
        bounds=(0.0, math.inf),
        higher_is_better=False,
        measures="How surprised the model is by the author's held-out words, per byte of text; lower is better.",
        misses="what the model says by itself: a model that expects the author's prose may still answer badly.",
    ),
    Metric(
        name="token_accuracy",
        label="token accuracy",
        task="likelihood",
        unit="share",
        bounds=(0.0, 1.0),
        higher_is_better=True,
        measures="Share of the reference's tokens that the model predicts correctly from the tokens before them.",
        misses="what the model says by itself; models with different tokenizers cannot be compared.",
    ),
    Metric(
        name="end_probability",
        label="P(end) at the end",
        task="likelihood",
        unit="share",
        bounds=(0.0, 1.0),
        higher_is_better=True,
        measures="Probability of the end token at the place where the author stopped.",
        misses="whether the model ends its own answers; the stop gate counts that.",
    ),
)
