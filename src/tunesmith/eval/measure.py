"""From evidence to numbers: every metric of every system with its interval, and every difference between two systems.

All systems are compared on the same items, paired by item and clustered by document. The figures are those of
`eval.stats`; an item that a system has no answer or likelihood for is unscored there, never zero.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

import numpy as np

from tunesmith.core.errors import EvaluationError
from tunesmith.core.records import Generation, Interval
from tunesmith.eval.floors import floor_answers
from tunesmith.eval.metrics.text import TEXT_METRICS, length_matched, num_words
from tunesmith.eval.results import Evidence, Item, Likelihood, ParityResult, SystemRun, check_evidence
from tunesmith.eval.stats import Difference, Summary, detectable_effect, paired, summarise, wilson

__all__ = ["METRICS", "PAIRS", "Comparison", "Measurements", "MetricInfo", "Share", "SystemMeasures", "improvement", "measure"]

Scores = tuple[float | None, ...]
PAIRS: tuple[tuple[str, str], ...] = (("base", "tuned"), ("prompted", "tuned"), ("base", "prompted"), ("tuned", "merged"))
_OVERLAPS = ("word_overlap", "rouge_l")


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricInfo:
    """What a metric is called and means. `higher_is_better` is None where neither direction is."""

    name: str
    label: str
    unit: str
    higher_is_better: bool | None
    description: str

    @property
    def bounds(self) -> tuple[float, float]:
        """The least and the greatest value that there can be."""
        return (0.0, 1.0) if self.unit == "share" else (0.0, math.inf)


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """A proportion of answers: `count` of `n`, Wilson interval (answers taken as independent); None where n = 0."""

    count: int
    n: int
    share: float | None
    ci: Interval | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemMeasures:
    """One system in figures. `scores` are per item, in the order of the items; `perplexity`: exp(nats a token), all items.

    `cut`, `ended` and `empty` part the answers: cut at the limit; ended by itself; ended without a word where the reference
    has words, which is no ending but silence.
    """

    name: str
    label: str
    fingerprint: str
    summaries: Mapping[str, Summary]
    scores: Mapping[str, Scores]
    perplexity: float | None
    cut: Share
    ended: Share
    empty: Share


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """b − a for every metric; `length_matched` for the overlaps alone: of the longer answer, what goes beyond the reference's
    length is cut off."""

    a: str
    b: str
    differences: Mapping[str, Difference]
    length_matched: Mapping[str, Difference]


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurements:
    """All numbers of an evaluation. `detectable` is the smallest true mean difference found four times in five by the rule of
    the primary gate (`eval.stats.detectable_effect`), in units of the primary metric, from the spread of the documents'
    differences seen here; None if it cannot be told."""

    primary: str
    num_items: int
    num_documents: int
    draws: int
    seed: int
    systems: Mapping[str, SystemMeasures]
    comparisons: tuple[Comparison, ...]
    floors: Mapping[str, Mapping[str, Summary]]
    parity: ParityResult | None
    general: Difference | None
    detectable: float | None
    served: ParityResult | None = None

    def comparison(self, a: str, b: str) -> Comparison | None:
        """The comparison b − a, or None if one of the two was not run."""
        return next((c for c in self.comparisons if (c.a, c.b) == (a, b)), None)


def _text(name: str, label: str) -> MetricInfo:
    metric = TEXT_METRICS[name]
    return MetricInfo(
        name=name, label=label, unit=metric.unit, higher_is_better=metric.higher_is_better, description=metric.description
    )


_ALL = (
    MetricInfo(
        name="bits_per_byte",
        label="bits per byte",
        unit="bits",
        higher_is_better=False,
        description="How surprised the model is by the author's own held-out words, for each byte of text; lower is better.",
    ),
    MetricInfo(
        name="token_accuracy",
        label="token accuracy",
        unit="share",
        higher_is_better=True,
        description="Share of the reference's tokens that the model would have chosen itself, given those before.",
    ),
    MetricInfo(
        name="end_probability",
        label="P(end) at the end",
        unit="share",
        higher_is_better=True,
        description="Probability that the model gives to stopping where the author stopped.",
    ),
    _text("word_overlap", "word overlap"),
    _text("rouge_l", "ROUGE-L"),
    _text("exact_match", "exact match"),
    _text("length_ratio", "length ratio"),
    _text("answer_words", "answer words"),
    _text("distinct_3", "distinct 3-word runs"),
)
METRICS: Mapping[str, MetricInfo] = MappingProxyType({info.name: info for info in _ALL})
_LIKELIHOOD: Mapping[str, Callable[[Likelihood], float | None]] = {
    "bits_per_byte": lambda row: row.bits_per_byte,
    "token_accuracy": lambda row: row.token_accuracy,
    "end_probability": lambda row: row.end_probability,
}


def improvement(difference: Difference, metric: str) -> tuple[float, float, float] | None:
    """Mean, low and high of the gain of b over a, positive where b is better; None without an interval."""
    if difference.mean is None or difference.ci is None:
        return None
    if METRICS[metric].higher_is_better is False:
        return -difference.mean, -difference.ci.high, -difference.ci.low
    return difference.mean, difference.ci.low, difference.ci.high


def measure(
    evidence: Evidence, *, primary: str = "bits_per_byte", draws: int = 10_000, seed: int = 7, min_documents: int = 6
) -> Measurements:
    """Every number of an evaluation. `min_documents`: below as many, no detectable difference is claimed.

    EvaluationError if two systems are the same, or the evidence is not of one test set.
    """
    if METRICS.get(primary) is None or METRICS[primary].higher_is_better is None:
        usable = ", ".join(name for name, info in METRICS.items() if info.higher_is_better is not None)
        hint = "--set eval.primary=bits_per_byte"
        raise EvaluationError("not a metric to judge by", value=primary, expected=usable, hint=hint)
    if not evidence.items:
        raise EvaluationError("no test items", value=0, expected="at least one", hint="--set split.test=0.3, or add writing")
    check_evidence(evidence)
    groups = [item.group for item in evidence.items]
    systems: dict[str, SystemMeasures] = {run.name: _system(run, evidence.items, draws, seed) for run in evidence.systems}
    runs: dict[str, SystemRun] = {run.name: run for run in evidence.systems}
    comparisons = tuple(
        Comparison(
            a=a,
            b=b,
            differences=_differences(systems[a].scores, systems[b].scores, groups, draws, seed),
            length_matched=_length_matched(runs[a], runs[b], evidence.items, draws, seed),
        )
        for a, b in PAIRS
        if a in systems and b in systems
    )
    return Measurements(
        primary=primary,
        num_items=len(evidence.items),
        num_documents=len(set(groups)),
        draws=draws,
        seed=seed,
        systems=systems,
        comparisons=comparisons,
        floors=_floors(evidence, groups, draws, seed),
        parity=evidence.parity,
        served=evidence.served,
        general=_general(evidence, draws, seed),
        detectable=_detectable(systems, groups, primary, min_documents),
    )


def _system(run: SystemRun, items: Sequence[Item], draws: int, seed: int) -> SystemMeasures:
    answers = {g.item_id: g for g in run.generations}
    likelihoods = {row.item_id: row for row in run.likelihoods}
    rows = [likelihoods.get(item.id) for item in items]
    scores: dict[str, Scores] = {
        name: tuple(None if row is None else score(row) for row in rows) for name, score in _LIKELIHOOD.items()
    }
    for name, metric in TEXT_METRICS.items():
        scores[name] = tuple(
            None if (answer := answers.get(item.id)) is None else metric.score(answer.text, item.reference) for item in items
        )
    num_tokens = sum(row.num_tokens for row in likelihoods.values())
    groups = [item.group for item in items]
    return SystemMeasures(
        name=run.name,
        label=run.label,
        fingerprint=run.fingerprint,
        summaries={
            name: summarise(scores[name], groups, draws=draws, seed=seed, bounds=info.bounds) for name, info in METRICS.items()
        },
        scores=scores,
        perplexity=_perplexity(sum(row.nats for row in likelihoods.values()), num_tokens),
        **_endings(run.generations, items),
    )


def _perplexity(nats: float, num_tokens: int) -> float | None:
    return math.exp(min(nats / num_tokens, 700.0)) if num_tokens else None  # e^709 is the largest that a float holds


def _endings(generations: Sequence[Generation], items: Sequence[Item]) -> dict[Literal["cut", "ended", "empty"], Share]:
    """How the answers end: each counts as one of the three."""
    wordy = {item.id for item in items if num_words(item.reference)}
    stopped = [g for g in generations if g.finish_reason == "stop"]
    empty = sum(g.item_id in wordy and not num_words(g.text) for g in stopped)
    n = len(generations)
    return {"cut": _share(n - len(stopped), n), "ended": _share(len(stopped) - empty, n), "empty": _share(empty, n)}


def _share(count: int, n: int) -> Share:
    return Share(count=count, n=n, share=count / n if n else None, ci=wilson(count, n))


def _differences(
    a: Mapping[str, Scores], b: Mapping[str, Scores], groups: Sequence[str], draws: int, seed: int
) -> dict[str, Difference]:
    return {
        name: paired(a[name], b[name], groups, draws=draws, seed=seed, higher_is_better=info.higher_is_better is not False)
        for name, info in METRICS.items()
    }


def _length_matched(a: SystemRun, b: SystemRun, items: Sequence[Item], draws: int, seed: int) -> dict[str, Difference]:
    texts_a, texts_b = ({g.item_id: g.text for g in run.generations} for run in (a, b))
    both = [item for item in items if item.id in texts_a and item.id in texts_b]
    matched = [length_matched(texts_a[item.id], texts_b[item.id], item.reference) for item in both]
    found = {}
    for name in _OVERLAPS:
        score = TEXT_METRICS[name].score
        left = [score(text, item.reference) for (text, _), item in zip(matched, both, strict=True)]
        right = [score(text, item.reference) for (_, text), item in zip(matched, both, strict=True)]
        found[name] = paired(left, right, [item.group for item in both], draws=draws, seed=seed)
    return found


def _floors(evidence: Evidence, groups: Sequence[str], draws: int, seed: int) -> dict[str, dict[str, Summary]]:
    found = {}
    for name, answers in floor_answers(evidence.items, evidence.train_answers, seed=seed).items():
        found[name] = {
            metric: summarise(
                [
                    None if answer is None else TEXT_METRICS[metric].score(answer, item.reference)
                    for answer, item in zip(answers, evidence.items, strict=True)
                ],
                groups,
                draws=draws,
                seed=seed,
                bounds=METRICS[metric].bounds,
            )
            for metric in _OVERLAPS
        }
    return found


def _general(evidence: Evidence, draws: int, seed: int) -> Difference | None:
    if evidence.general is None:
        return None
    tuned = {row.item_id: row.bits_per_byte for row in evidence.general.tuned}
    rows = [row for row in evidence.general.base if row.item_id in tuned]
    return paired(
        [row.bits_per_byte for row in rows],
        [tuned[row.item_id] for row in rows],
        [row.item_id for row in rows],
        draws=draws,
        seed=seed,
        higher_is_better=False,
    )


def _detectable(systems: Mapping[str, SystemMeasures], groups: Sequence[str], primary: str, min_documents: int) -> float | None:
    """From the standard deviation of the documents' mean differences between base and tuned in the primary metric."""
    if "base" not in systems or "tuned" not in systems:
        return None
    by_group: dict[str, list[float]] = {}
    for a, b, group in zip(systems["base"].scores[primary], systems["tuned"].scores[primary], groups, strict=True):
        if a is not None and b is not None:
            by_group.setdefault(group, []).append(b - a)
    effect = detectable_effect(len(by_group), min_groups=min_documents)
    if effect is None:
        return None
    return effect * float(np.std([np.mean(values) for values in by_group.values()], ddof=1))
