"""The verdict on a model that scores answers: does it agree with held-out preferences, and more often than length alone?

Two gates decide. `better_than_chance`: the share of pairs in the right order is above ½, with its whole interval.
`better_than_length`: it is above the share that the plain rule "the longer answer is better" orders rightly, or "the shorter",
whichever holds in training, in words or in characters, whichever says more there; this is weighed as the gates of other
verdicts are, by the paired difference. Both intervals are clustered by document.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from pydantic import TypeAdapter, ValidationError

from tunesmith.core.errors import EvaluationError
from tunesmith.eval.gain import weigh
from tunesmith.eval.gate import Finding, GateWords, Ruling, State, missing, ruling
from tunesmith.eval.metrics.text import num_words
from tunesmith.eval.preferred import PairMeasures, measure_pairs
from tunesmith.eval.stats import Difference, Summary, paired, summarise
from tunesmith.eval.verdict import Verdict, VerdictName

__all__ = [
    "Agreement",
    "AgreementEvidence",
    "Measure",
    "Rule",
    "ScoredPair",
    "judge_agreement",
    "length_rule",
    "read_agreement",
]

Rule = Literal["longer", "shorter"]
Measure = Literal["words", "characters"]
_CHANCE = 0.5
_SIZES: Mapping[Measure, Callable[[str], int]] = MappingProxyType({"words": num_words, "characters": len})


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredPair:
    """A held-out preference with the score of each answer. `group`: its cluster; pairs of one cluster are one document."""

    id: str
    group: str
    prompt: str
    chosen: str
    rejected: str
    chosen_score: float
    rejected_score: float

    @property
    def difference(self) -> float:
        """How much higher the chosen answer is scored."""
        return self.chosen_score - self.rejected_score


@dataclass(frozen=True, slots=True, kw_only=True)
class AgreementEvidence:
    """All that the verdict is computed from. `rule`: what length says about preferences in training, in `measure`.
    `reading`: of the curves.
    `clusters`: why pairs belong together, in words. `ids`: of the artifacts used."""

    pairs: tuple[ScoredPair, ...]
    rule: Rule
    reading: str
    clusters: str
    ids: dict[str, str]
    measure: Measure = "words"


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """What was measured. `by_length`: the share that the rule of length orders rightly, where equal lengths count half.

    `level`: that of the intervals.
    """

    pairs: PairMeasures
    by_length: Summary
    over_length: Difference
    rule: Rule
    level: float


def length_rule(answers: Sequence[tuple[str, str]]) -> tuple[Rule, Measure]:
    """Which of (chosen, rejected) is the longer one in most of these pairs, in the measure of length that tells more often.

    Text without spaces between its words has few words, so characters are counted as well.
    """
    best: tuple[int, Rule, Measure] = (-1, "longer", "words")
    for measure, size in _SIZES.items():
        longer = sum(size(chosen) > size(rejected) for chosen, rejected in answers)
        shorter = sum(size(chosen) < size(rejected) for chosen, rejected in answers)
        if abs(longer - shorter) > best[0]:
            best = (abs(longer - shorter), "longer" if longer >= shorter else "shorter", measure)
    return best[1], best[2]


def judge_agreement(
    evidence: AgreementEvidence, *, min_documents: int, level: float, looks: int = 1, changed: Sequence[str] = ()
) -> tuple[Agreement, Verdict]:
    """The figures and the verdict. `looks` counts the evaluations on this test set, `changed` is what differs from the plan."""
    groups = [pair.group for pair in evidence.pairs]
    right = [_half_if_even(pair.difference) for pair in evidence.pairs]
    sign = 1 if evidence.rule == "longer" else -1
    size = _SIZES[evidence.measure]
    by_rule = [_half_if_even(sign * (size(pair.chosen) - size(pair.rejected))) for pair in evidence.pairs]
    found = Agreement(
        pairs=measure_pairs([pair.difference for pair in evidence.pairs], groups, level=level),
        by_length=summarise(by_rule, groups, bounds=(0, 1), level=level),
        over_length=paired(by_rule, right, groups, bounds=(0, 1), level=level),
        rule=evidence.rule,
        level=level,
    )
    rulings = (
        ruling(_CHANCE_WORDS, _above_chance(found, min_documents), threshold=_CHANCE),
        ruling(_length_words(evidence.rule), _weighed(found.over_length, min_documents, level), threshold=0.0),
    )
    return found, _decide(found, rulings, looks, changed)


def _half_if_even(difference: float) -> float:
    return 0.5 * ((difference > 0) + (difference >= 0))


def _above_chance(found: Agreement, min_documents: int) -> Finding:
    accuracy, documents = found.pairs.accuracy, found.over_length.num_groups
    if documents < min_documents or accuracy.ci is None or accuracy.share is None:
        return missing(f"{documents} test documents are too few for a reliable interval")
    low, high = accuracy.ci.low, accuracy.ci.high
    figures = f"{100 * accuracy.share:.1f} % ({100 * low:.1f} to {100 * high:.1f} %), {accuracy.count} of {accuracy.n} pairs"
    figures += f" from {documents} documents"
    if low <= _CHANCE < high:
        figures += ": the interval includes ½; too few documents to tell"
    state: State = "pass" if low > _CHANCE else "fail" if high <= _CHANCE else "not measured"
    return Finding(state=state, evidence=figures, value=accuracy.share, interval=(low, high))


def _weighed(difference: Difference, min_documents: int, level: float) -> Finding:
    if difference.num_groups < min_documents:
        return missing(f"{difference.num_groups} test documents are too few for a reliable interval")
    if difference.mean is None or difference.ci is None:
        return missing(f"there is no interval: {difference.no_interval}")
    return weigh(difference, (difference.mean, difference.ci.low, difference.ci.high), 0.0, level=level)


_CHANCE_WORDS = GateWords(
    name="better_than_chance",
    rule="the share of held-out pairs whose chosen answer has the higher score is above ½, with the whole interval",
    failed="The scores do not agree with held-out preferences more often than chance.",
    unknown="The test set is too small, or the scores agree too seldom, to tell them from chance.",
    topic="whether the scores agree with held-out preferences",
)


def _length_words(rule: Rule) -> GateWords:
    said = f"the rule that the {rule} answer is better"
    return GateWords(
        name="better_than_length",
        rule=f"the scores order more held-out pairs rightly than {said}, with the whole interval above 0",
        failed=f"The scores do not order more pairs rightly than {said}.",
        unknown=f"The test set is too small, or the difference too small, to say whether the scores beat {said}.",
        topic="whether the scores are more than length",
    )


def _decide(found: Agreement, rulings: Sequence[Ruling], looks: int, changed: Sequence[str]) -> Verdict:
    failed = [one for one in rulings if one.gate.state == "fail"]
    unknown = [one for one in rulings if one.gate.state == "not measured"]
    name: VerdictName
    if failed:
        name, code, said = "DON'T SHIP", 2, " ".join(one.words.failed for one in failed)
    elif unknown:
        name, code, said = "CAN'T TELL", 3, " ".join(one.words.unknown for one in unknown)
    else:
        name, code, said = "SHIP", 0, _yes(found)
    if looks > 1:
        said += f" This is evaluation {looks} on this test set, so intervals are at {100 * found.level:.3g} %."
    if changed:
        said += f" Changed since the plan: {'; '.join(changed)}."
    return Verdict(
        verdict=name,
        exit_code=code,
        sentence=said,
        gates=tuple(one.gate for one in rulings),
        not_measured=tuple(one.words.topic for one in unknown),
        looks=looks,
        effective_documents=found.over_length.effective_documents,
        advice=_advice(failed, unknown),
    )


def _yes(found: Agreement) -> str:
    accuracy = found.pairs.accuracy
    interval = f" ({100 * accuracy.ci.low:.0f} to {100 * accuracy.ci.high:.0f} %)" if accuracy.ci else ""
    share, by_length = 100 * (accuracy.share or 0), 100 * (found.by_length.mean or 0)
    return (
        f"The scores put the preferred answer first in {share:.0f} %{interval} of {accuracy.n} held-out pairs;"
        f" the {found.rule} answer is the preferred one in {by_length:.0f} %, equal lengths counted half."
    )


def _advice(failed: Sequence[Ruling], unknown: Sequence[Ruling]) -> str:
    if not failed and not unknown:
        return "Use it as a reward ({reward_model: FOLDER} in objective.rewards), and watch another one of weight 0."
    name = (*failed, *unknown)[0].gate.name
    if name == "better_than_length":
        return "Add pairs in which length tells nothing, or use the rule of length itself: it is cheaper."
    return "Read the pairs that are in the wrong order; add pairs, or make sure that the labels are right."


def read_agreement(path: Path) -> AgreementEvidence:
    """The evidence as `evidence.json` holds it. EvaluationError if the file holds something else."""
    try:
        return TypeAdapter(AgreementEvidence).validate_json(path.read_bytes())
    except ValidationError as error:
        raise EvaluationError(
            "this evidence cannot be read",
            value=str(path),
            expected=f"the scored pairs that an evaluation wrote ({error.error_count()} problems)",
            hint="delete the evaluation's folder and run it again",
        ) from error
