"""Which metrics an evaluation measures of every system, and which of them can decide the verdict."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from tunesmith.core.errors import EvaluationError
from tunesmith.eval.metrics.metric import Metric
from tunesmith.eval.metrics.registry import metric_named
from tunesmith.eval.stats import Difference

__all__ = ["FROM_PROBABILITIES", "METRICS", "improvement", "measured_with"]

FROM_PROBABILITIES = ("bits_per_byte", "token_accuracy", "end_probability")
_FROM_ANSWERS = (
    *("word_overlap", "rouge_l", "exact_match", "length_ratio", "answer_words", "distinct_3"),
    *("loop", "collapse"),
)
METRICS: Mapping[str, Metric] = MappingProxyType(
    {name: metric_named(name) for name in (*FROM_PROBABILITIES, *_FROM_ANSWERS, "ended")}
)
"""What every evaluation measures. A primary metric may be a further one: see `measured_with`."""

_FURTHER = ("field_accuracy", "field_f1", "json_field")  # primary metrics that only answers in JSON have


def measured_with(primary: str) -> Mapping[str, Metric]:
    """What an evaluation with this primary metric measures, by name. EvaluationError for one that cannot decide a verdict."""
    if primary in METRICS and METRICS[primary].higher_is_better is not None:
        return METRICS
    if primary.partition(":")[0] in _FURTHER:
        return MappingProxyType({primary: metric_named(primary), **METRICS})
    usable = [name for name, info in METRICS.items() if info.higher_is_better is not None]
    raise EvaluationError(
        "not a metric to judge by",
        value=primary,
        expected=", ".join([*usable, *_FURTHER[:-1], "json_field:NAME"]),
        hint="--set eval.primary=bits_per_byte",
    )


def improvement(difference: Difference, metric: str) -> tuple[float, float, float] | None:
    """Mean, low and high of the gain of b over a, positive where b is better; None without an interval."""
    if difference.mean is None or difference.ci is None:
        return None
    if metric_named(metric).higher_is_better is False:
        return -difference.mean, -difference.ci.high, -difference.ci.low
    return difference.mean, difference.ci.low, difference.ci.high
