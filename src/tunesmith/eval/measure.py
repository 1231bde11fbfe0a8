"""From evidence to numbers: every metric of every system with its interval, and every difference between two systems.

All systems are compared on the same items, paired by item and clustered by document. The figures are those of
`eval.stats`; an item that a system has no answer or likelihood for is unscored there, never zero. What is said of answers is
measured with the sampling settings: the score of an item is the mean over its draws. Greedy answers are only counted.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from tunesmith.core.errors import EvaluationError
from tunesmith.core.records import Generation
from tunesmith.eval.arena.held import HeldVotes, results_between
from tunesmith.eval.arena.results import ArenaResults
from tunesmith.eval.dependence import dependence, one_answer
from tunesmith.eval.evidence_checks import check_evidence
from tunesmith.eval.floors import floor_answers
from tunesmith.eval.how import How
from tunesmith.eval.judge.measured import JudgeMeasures, judge_measures
from tunesmith.eval.measured import FROM_PROBABILITIES, measured_with
from tunesmith.eval.metrics.metric import Expected, Metric
from tunesmith.eval.metrics.registry import metric_named, score_answers
from tunesmith.eval.metrics.repetition import loop_scores, same_answers
from tunesmith.eval.metrics.text import length_matched
from tunesmith.eval.perplexity import PerplexityFigures, of_texts, perplexity_figures
from tunesmith.eval.probe_measures import GoldenMeasures, QuestionWorth, Recital, golden_measures, question_worth, recital
from tunesmith.eval.results import (
    Audited,
    Evidence,
    FormResult,
    Item,
    Likelihood,
    Limit,
    ParityResult,
    SystemRun,
)
from tunesmith.eval.shares import AnswerShares, answer_shares, ended
from tunesmith.eval.stats import LEVEL, Difference, Summary, Weighting, detectable_effect
from tunesmith.eval.suites.answered import suite_figures
from tunesmith.eval.suites.result import SafetyResult, SuiteResult
from tunesmith.eval.voice_measures import VoiceMeasures, voice_measures
from tunesmith.models.use import Use
from tunesmith.systems.registry import by_role, kind_of, pairs

__all__ = ["Comparison", "Measurements", "SystemMeasures", "measure"]

Scores = tuple[float | None, ...]
_OVERLAPS = ("word_overlap", "rouge_l")


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemMeasures:
    """One system in figures. `scores` are per item, in the order of the items; `perplexity`: exp(nats per token), all items.

    `answers` are the shares with the sampling settings, `greedy` those of greedy decoding, for diagnosis.
    """

    name: str
    label: str
    fingerprint: str
    summaries: Mapping[str, Summary]
    scores: Mapping[str, Scores]
    perplexity: float | None
    answers: AnswerShares
    greedy: AnswerShares


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """b − a for every metric; `length_matched` for the overlaps alone: of the longer answer, what goes beyond the reference's
    length is cut off. `one_sided_likelihoods` and `one_sided_answers` count what only one of the two has: items that have a
    likelihood, and answers, by item and draw."""

    a: str
    b: str
    differences: Mapping[str, Difference]
    length_matched: Mapping[str, Difference]
    one_sided_likelihoods: int = 0
    one_sided_answers: int = 0

    def one_sided(self, metric: str) -> int:
        """How many items or answers only one of the two has, of the kind that `metric` is computed from."""
        return self.one_sided_likelihoods if metric in FROM_PROBABILITIES else self.one_sided_answers


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurements:
    """All numbers of an evaluation. `references` holds the share of references that loop, and of those that are the same for
    different questions: what is usual for this kind of text. `detectable` is the smallest true mean difference that the rule
    of the primary gate detects with 80 % power (`eval.stats.detectable_effect`), in units of the primary metric, from the
    measured spread of the documents' differences; None if it cannot be computed. `dependence`: of base, tuned, references.
    `one_answer`: of base and tuned, how often questions with different references get the same answer.
    `of_texts`: the items are plain texts, of which there are no answers; `perplexity` is measured of those alone. `people`:
    what blind votes between base and tuned model say, and `votes`: where these come from; None without any."""

    primary: str
    level: float
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
    use: Use
    limit: Limit | None
    references: Mapping[str, float | None]
    recital: Recital
    question: QuestionWorth | None = None
    min_documents: int = 6
    dependence: Mapping[str, Summary] = field(default_factory=dict)
    one_answer: Mapping[str, Summary] = field(default_factory=dict)
    suites: Mapping[str, SuiteResult] = field(default_factory=dict)
    safety: Mapping[str, SafetyResult] = field(default_factory=dict)
    served: ParityResult | None = None
    forms: Mapping[str, FormResult] = field(default_factory=dict)
    audited: Audited | None = None
    of_texts: bool = False
    perplexity: PerplexityFigures | None = None
    people: ArenaResults | None = None
    votes: HeldVotes | None = None
    judge: JudgeMeasures | None = None
    voice: VoiceMeasures | None = None
    golden: GoldenMeasures | None = None

    @property
    def metrics(self) -> Mapping[str, Metric]:
        """What is measured of every system, by name."""
        return measured_with(self.primary)

    def comparison(self, a: str, b: str) -> Comparison | None:
        """The comparison b − a, or None if one of the two was not run."""
        return next((c for c in self.comparisons if (c.a, c.b) == (a, b)), None)


_DECIDES = ("base", "tuned")  # the comparison that the primary margin is about
_LIKELIHOOD: Mapping[str, Callable[[Likelihood], float | None]] = {
    "bits_per_byte": lambda row: row.bits_per_byte,
    "token_accuracy": lambda row: row.token_accuracy,
    "end_probability": lambda row: row.end_probability,
}


def measure(  # noqa: PLR0913 (all that the figures depend on)
    evidence: Evidence,
    *,
    primary: str = "bits_per_byte",
    draws: int = 10_000,
    seed: int = 7,
    min_documents: int = 6,
    level: float = LEVEL,
    weighting: Weighting = "documents",
    margin: float = 0.0,
    question_share: float = 0.6,
) -> Measurements:
    """Every number of an evaluation. `min_documents`: below as many, no detectable difference is claimed. `margin`: the
    gain over the base in the primary metric that p tests. `question_share`: of what the right question is worth to the base,
    the part to compare the tuned model with.

    EvaluationError if two systems are the same, or the evidence is not of one test set.
    """
    metrics = measured_with(primary)
    if not evidence.items:
        raise EvaluationError("no test items", value=0, expected="at least one", hint="--set split.test=0.3, or add writing")
    check_evidence(evidence)
    how = How(draws=draws, seed=seed, level=level, weighting=weighting)
    groups = [item.group for item in evidence.items]
    suites, safety = suite_figures(evidence.suites, level=level)
    systems: dict[str, SystemMeasures] = {run.name: _system(run, evidence.items, metrics, how) for run in evidence.systems}
    runs: dict[str, SystemRun] = {run.name: run for run in evidence.systems}
    comparisons = tuple(
        Comparison(
            a=a,
            b=b,
            differences=_differences(
                systems[a].scores,
                systems[b].scores,
                groups,
                how,
                metrics=metrics,
                margins={primary: margin if (a, b) == _DECIDES else 0.0},
            ),
            length_matched=_length_matched(runs[a], runs[b], evidence.items, how),
            one_sided_likelihoods=len(_scored_items(runs[a]) ^ _scored_items(runs[b])),
            one_sided_answers=len(_answers_given(runs[a]) ^ _answers_given(runs[b])),
        )
        for a, b in [*pairs(), *_with_reference(systems)]
        if a in systems and b in systems
    )
    return Measurements(
        primary=primary,
        level=level,
        num_items=len(evidence.items),
        num_documents=len(set(groups)),
        draws=draws,
        seed=seed,
        systems=systems,
        comparisons=comparisons,
        floors={} if of_texts(evidence.items) else _floors(evidence, groups, how),
        parity=evidence.parity,
        served=evidence.served,
        forms=evidence.forms,
        general=_general(evidence, how),
        detectable=_detectable(systems, groups, primary, min_documents, level),
        use=evidence.use,
        limit=evidence.limit,
        references=_references(evidence.items),
        recital=recital(evidence, how),
        question=question_worth(evidence, how, share=question_share),
        min_documents=min_documents,
        dependence={name: how.summary(values, groups) for name, values in _dependence(runs, evidence.items).items()},
        one_answer=_one_answer(runs, evidence.items, how),
        suites=suites,
        safety=safety,
        audited=evidence.audited,
        of_texts=of_texts(evidence.items),
        perplexity=perplexity_figures(evidence, seed=seed) if of_texts(evidence.items) else None,
        people=None if evidence.people is None else results_between(evidence.people),
        votes=evidence.people,
        judge=judge_measures(evidence.judged),
        voice=voice_measures(evidence.voice, evidence.items, how),
        golden=golden_measures(evidence, how),
    )


def _with_reference(names: Iterable[str]) -> list[tuple[str, str]]:
    """Systems that no file declares, such as the stages of a chain, are compared with the base."""
    return [(kind.name, name) for kind in by_role("reference") for name in names if kind_of(name) is None]


def _system(run: SystemRun, items: Sequence[Item], metrics: Mapping[str, Metric], how: How) -> SystemMeasures:
    likelihoods = {row.item_id: row for row in run.likelihoods}
    rows = [likelihoods.get(item.id) for item in items]
    scores: dict[str, Scores] = {
        name: tuple(None if row is None else score(row) for row in rows) for name, score in _LIKELIHOOD.items()
    }
    scores |= _answer_scores(run.generations, items, metrics)
    num_tokens = sum(row.num_tokens for row in likelihoods.values())
    groups = [item.group for item in items]
    return SystemMeasures(
        name=run.name,
        label=run.label,
        fingerprint=run.fingerprint,
        summaries={name: how.summary(scores[name], groups, info.bounds) for name, info in metrics.items()},
        scores=scores,
        perplexity=_perplexity(sum(row.nats for row in likelihoods.values()), num_tokens),
        answers=answer_shares(run.generations, items, level=how.level),
        greedy=answer_shares(run.greedy, items, level=how.level),
    )


def _scored_items(run: SystemRun) -> set[str]:
    return {row.item_id for row in run.likelihoods}


def _answers_given(run: SystemRun) -> set[tuple[str, int | None]]:
    return {(g.item_id, g.draw) for g in run.generations}


def _answer_scores(
    generations: Sequence[Generation], items: Sequence[Item], metrics: Mapping[str, Metric]
) -> dict[str, Scores]:
    """Every metric of the answers: the mean over the draws of an item."""
    of = {item.id: item for item in items}
    texts, expected = [g.text for g in generations], [_expected(of[g.item_id]) for g in generations]
    keys = [g.item_id for g in generations]
    from_answers = {name: one for name, one in metrics.items() if name not in (*FROM_PROBABILITIES, "ended")}
    values = {name: score_answers(one, texts, expected).values for name, one in from_answers.items()}
    values["ended"] = tuple(map(float, ended(generations, items)))
    return {name: _by_item(found, keys, items) for name, found in values.items()}


def _expected(item: Item) -> Expected:
    return Expected(references=(item.reference,), question=item.question)


def _by_item(values: Sequence[float | None], keys: Sequence[str], items: Sequence[Item]) -> Scores:
    """The mean of each item's values, in the order of the items; None where nothing was scored."""
    by_item: dict[str, list[float]] = {}
    for key, value in zip(keys, values, strict=True):
        if value is not None:
            by_item.setdefault(key, []).append(value)
    return tuple(math.fsum(by_item[item.id]) / len(by_item[item.id]) if item.id in by_item else None for item in items)


def _references(items: Sequence[Item]) -> dict[str, float | None]:
    texts = [item.reference for item in items]
    found = {"loop": loop_scores(texts), "collapse": same_answers(texts, [item.question for item in items])}
    known = {name: [value for value in values if value is not None] for name, values in found.items()}
    return {name: math.fsum(values) / len(values) if values else None for name, values in known.items()}


def _dependence(runs: Mapping[str, SystemRun], items: Sequence[Item]) -> dict[str, list[float | None]]:
    """Of base and tuned model, and of a system that gave every reference twice: right answers depend on it no more."""
    found = {name: dependence(runs[name].generations, items) for name in _DECIDES if name in runs}
    told = [
        Generation(
            item_id=item.id, system="", text=item.reference, finish_reason="stop", num_tokens=0, fingerprint="", draw=draw
        )
        for item in items
        for draw in range(2)
    ]
    return {**found, "references": dependence(told, items)}


def _one_answer(runs: Mapping[str, SystemRun], items: Sequence[Item], how: How) -> dict[str, Summary]:
    groups = [item.group for item in items]
    given = {name: one_answer(runs[name].generations, items) for name in _DECIDES if name in runs}
    return {name: how.summary(values, groups, (0.0, 1.0)) for name, values in given.items()}


def _perplexity(nats: float, num_tokens: int) -> float | None:
    return math.exp(min(nats / num_tokens, 700.0)) if num_tokens else None  # e^709 is the largest that a float holds


def _differences(
    a: Mapping[str, Scores],
    b: Mapping[str, Scores],
    groups: Sequence[str],
    how: How,
    *,
    metrics: Mapping[str, Metric],
    margins: Mapping[str, float],
) -> dict[str, Difference]:
    return {
        name: how.difference(a[name], b[name], groups, metric=info, margin=margins.get(name, 0.0))
        for name, info in metrics.items()
    }


def _length_matched(a: SystemRun, b: SystemRun, items: Sequence[Item], how: How) -> dict[str, Difference]:
    """Of each draw of an item that both have: the two answers with the longer one trimmed."""
    texts_a, texts_b = ({(g.item_id, g.draw): g.text for g in run.generations} for run in (a, b))
    of = {item.id: item for item in items}
    both = [key for key in texts_a if key in texts_b]
    matched = [length_matched(texts_a[key], texts_b[key], of[key[0]].reference) for key in both]
    expected = [_expected(of[key[0]]) for key in both]
    keys, groups = [key[0] for key in both], [item.group for item in items]
    found = {}
    for name in _OVERLAPS:
        left, right = (
            _by_item(score_answers(metric_named(name), [pair[side] for pair in matched], expected).values, keys, items)
            for side in (0, 1)
        )
        found[name] = how.difference(left, right, groups, metric=metric_named(name))
    return found


def _floors(evidence: Evidence, groups: Sequence[str], how: How) -> dict[str, dict[str, Summary]]:
    found = {}
    items = evidence.items
    questions, references = [item.question for item in items], [item.reference for item in items]
    for name, answers in floor_answers(questions, references, groups, evidence.train_answers or None, seed=how.seed).items():
        found[name] = {
            metric: how.summary(_floor_scores(metric_named(metric), answers, items), groups, metric_named(metric).bounds)
            for metric in _OVERLAPS
        }
    return found


def _floor_scores(metric: Metric, answers: Sequence[str | None], items: Sequence[Item]) -> list[float | None]:
    """The score of each floor answer; None where the floor has none for the item."""
    scored = score_answers(metric, [answer or "" for answer in answers], [_expected(item) for item in items]).values
    return [None if answer is None else score for answer, score in zip(answers, scored, strict=True)]


def _general(evidence: Evidence, how: How) -> Difference | None:
    if evidence.general is None:
        return None
    tuned = {row.item_id: row.bits_per_byte for row in evidence.general.tuned}
    rows = [row for row in evidence.general.base if row.item_id in tuned]
    before, after = [row.bits_per_byte for row in rows], [tuned[row.item_id] for row in rows]
    return how.difference(before, after, [row.item_id for row in rows], metric=metric_named("bits_per_byte"))


def _detectable(
    systems: Mapping[str, SystemMeasures], groups: Sequence[str], primary: str, min_documents: int, level: float
) -> float | None:
    """From the standard deviation of the documents' mean differences between base and tuned in the primary metric."""
    if "base" not in systems or "tuned" not in systems:
        return None
    by_group: dict[str, list[float]] = {}
    for a, b, group in zip(systems["base"].scores[primary], systems["tuned"].scores[primary], groups, strict=True):
        if a is not None and b is not None:
            by_group.setdefault(group, []).append(b - a)
    sizes = [len(values) for values in by_group.values()]
    effect = detectable_effect(len(by_group), min_groups=min_documents, sizes=sizes, level=level)
    if effect is None:
        return None
    return effect * float(np.std([np.mean(values) for values in by_group.values()], ddof=1))
