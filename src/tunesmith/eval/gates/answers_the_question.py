"""Is the right question still worth something? A model tuned on shuffled questions learns the author's words, not to answer.

The control is a likelihood: how much better a reference is expected under its own question than under those of other documents.
"""

from __future__ import annotations

from collections.abc import Sequence

from tunesmith.eval.gate import Finding, GateKind, GateWords, Limits, Ruling, missing, ruling, unless_one_sided
from tunesmith.eval.measure import Measurements
from tunesmith.eval.numbers import signed_range
from tunesmith.eval.probe_measures import QuestionWorth
from tunesmith.eval.stats import Summary

__all__ = ["GATE"]


_HALF = 0.5
_NOT_TAUGHT = "the questions of the training rows do not belong to their answers"
_OF_TRAINING = (
    "; to the base, the questions of the training rows are worth something for their answers, unless the right question is"
    " certainly worth more to the tuned model than to the base"
)
_UNASKED = (
    "; what the questions of the training rows are worth to the base was not measured: `tunesmith eval` asks it of rows"
    " from two documents or more with different questions"
)
_FEW = "; {} documents of training rows are too few for what their questions are worth to the base"
_MORE = "; it is certainly worth more to the tuned model than to the base, which only questions that belong can teach"


def _judge(measurements: Measurements, limits: Limits, baselines: Sequence[str]) -> list[Ruling]:
    audited = measurements.audited is not None
    taught = Finding(state="pass", evidence="") if audited else _taught(measurements.question)  # an audit sees no training rows
    words = GateWords(
        name="answers_the_question",
        rule="under the tuned model the right question makes the reference more likely than one from another document does, by"
        f" at least {100 * limits.question_share:g} % of what it is worth to the base, interval included"
        + ("" if audited else _OF_TRAINING),
        failed=f"The tuned model cannot have learned to answer: {_NOT_TAUGHT}."
        if taught.state == "fail"
        else "The tuned model has learned the author's words but not to answer: the right question is worth far less to it.",
        unknown="Whether the tuned model's answers depend on the question could not be measured.",
        topic="whether answers depend on the question",
    )
    comparison = measurements.comparison("base", "tuned")
    found = unless_one_sided(_finding(measurements, taught), comparison.one_sided("bits_per_byte") if comparison else 0)
    return [ruling(words, found, threshold=0.0)]


def _finding(measurements: Measurements, taught: Finding) -> Finding:
    worth = measurements.question
    if worth is None or worth.kept.mean is None or worth.base.mean is None or worth.tuned.mean is None:
        return missing("references were not scored under other questions")
    values = f"{_shown(worth.base)} bits per byte to the base, {_shown(worth.tuned)} to the tuned model"
    evidence = f"the right question is worth {values}"
    ci, value = worth.kept.ci, worth.kept.mean
    if ci is None:
        evidence += f"{taught.evidence}: too few documents for an interval"
        return Finding(state=taught.state if taught.state == "fail" else "not measured", evidence=evidence, value=value)
    interval = (ci.low, ci.high)
    evidence += (
        f"; tuned less {100 * worth.share:g} % of the base, item by item: {signed_range((value, ci.low, ci.high))},"
        f" from {worth.kept.num_groups} documents{taught.evidence}"
    )
    if taught.state == "fail" or (ci.high < 0 and worth.base.ci is not None and worth.base.ci.low > 0):
        return Finding(state="fail", evidence=evidence, value=value, interval=interval)
    if worth.kept.num_groups < measurements.min_documents:
        return Finding(state="not measured", evidence=f"{evidence}: too few documents", value=value, interval=interval)
    if worth.tuned.ci is None or worth.tuned.ci.low <= 0:
        evidence += ": the question may be worth nothing to the tuned model"
        return Finding(state="not measured", evidence=evidence, value=value, interval=interval)
    if ci.low < 0:
        evidence += ": the interval includes the limit, too few documents to tell"
    state = taught.state if ci.low >= 0 else "not measured"
    return Finding(state=state, evidence=evidence, value=value, interval=interval)


def _taught(worth: QuestionWorth | None) -> Finding:
    """Whether the questions of the training rows belong to their answers. A short run on shuffled ones keeps most of what the
    base knew, so that the tuned model alone does not show it.

    Fail: they may be worth nothing, and are certainly worth less than those of the test set. Not measured: they may be worth
    nothing, and are worth less than half of those, or the training rows were not asked, or are of too few documents for an
    interval. Pass: anything else, and where the right question is certainly worth more to the tuned model than to the base:
    that can be learned only from questions that belong to their answers (a base that never saw a task's form makes nothing of
    its questions).
    """
    if worth is None:
        return missing(_UNASKED)
    taught = worth.taught
    if taught is None or taught.mean is None or taught.ci is None:
        if _learned(worth):
            return Finding(state="pass", evidence=_MORE)
        return missing(_UNASKED if taught is None or taught.mean is None else _FEW.format(taught.num_groups))
    evidence = f"; that of a training row is worth {_shown(taught)} to the base, in {taught.num_groups} documents"
    if taught.ci.low > 0:
        return Finding(state="pass", evidence=evidence)
    if worth.base.ci is not None and taught.ci.high < worth.base.ci.low:
        return Finding(state="fail", evidence=f"{evidence}: {_NOT_TAUGHT}")
    if _learned(worth):
        return Finding(state="pass", evidence=evidence + _MORE)
    if worth.base.mean is not None and taught.mean < _HALF * worth.base.mean:
        return Finding(state="not measured", evidence=f"{evidence}, which may be nothing")
    return Finding(state="pass", evidence=evidence)


def _learned(worth: QuestionWorth) -> bool:
    """Whether the right question of a test row is certainly worth more to the tuned model than to the base."""
    return worth.base.ci is not None and worth.tuned.ci is not None and worth.tuned.ci.low > max(0.0, worth.base.ci.high)


def _shown(summary: Summary) -> str:
    ends = "" if summary.ci is None else f" [{summary.ci.low:.3f}, {summary.ci.high:.3f}]"
    return f"{summary.mean:.3f}{ends}"


GATE = GateKind(order=30, names=lambda: ["answers_the_question"], judge=_judge, of_answers=True)
