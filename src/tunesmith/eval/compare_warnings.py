"""What must be read before the numbers of a comparison: systems that were hindered, items that are not independent, floors."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from tunesmith.data.checks.answers import declines
from tunesmith.eval.metrics.metric import Metric
from tunesmith.eval.metrics.text import num_words
from tunesmith.eval.numbers import signed_range
from tunesmith.eval.predictions import Prediction
from tunesmith.eval.scoring import PairedDifference, Scored
from tunesmith.eval.stats import Summary

__all__ = ["CRIPPLED", "Compared", "warnings_of"]

CRIPPLED = 0.2  # the share of cut, empty or refusing answers above which a system was hindered
_SHARES: tuple[tuple[str, Callable[[Prediction], bool], str], ...] = (
    ("cut", lambda row: row.cut, "give it a higher token limit"),
    ("empty", lambda row: not num_words(row.prediction), "check that the system was really asked"),
    ("refusals", lambda row: declines(row.prediction), "check its prompt"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """A comparison before it is written down. `pairs`: differences by the numbers of two systems. `floors`: of each floor,
    every system less the floor."""

    metric: Metric
    names: Sequence[str]
    systems: Sequence[Sequence[Prediction]]
    groups: Sequence[str]
    scored: Sequence[Scored]
    pairs: Mapping[tuple[int, int], PairedDifference]
    floors: Mapping[str, Sequence[PairedDifference]]
    specificity: Sequence[Summary | None]

    def not_above(self, system: int) -> list[str]:
        """Floors that the system does not beat: its interval over them is not above zero. Without a direction, none."""
        if self.metric.higher_is_better is None:
            return []
        gains = {name: over[system].improvement(self.metric.higher_is_better) for name, over in self.floors.items()}
        return [name for name, gain in gains.items() if gain is None or gain[1] <= 0]


def warnings_of(compared: Compared, matched: PairedDifference | None) -> list[str]:
    """Sentences, what matters most first: hindered systems, the same answers, floors, items, then how numbers were made."""
    return [
        *_crippled(compared, matched),
        *_same(compared),
        *_below_floors(compared),
        *_of_no_question(compared),
        *_not_independent(compared),
        *_made(compared),
    ]


def _crippled(compared: Compared, matched: PairedDifference | None) -> list[str]:
    found = []
    for number, (name, rows) in enumerate(zip(compared.names, compared.systems, strict=True)):
        for what, test, advice in _SHARES:
            share = sum(map(test, rows)) / len(rows)
            if share <= CRIPPLED:
                continue
            guessed = " (by the last character)" if what == "cut" and any(row.finish_reason is None for row in rows) else ""
            answers = f"{100 * share:.0f} % of the answers of {name} are {what}{guessed}"
            effect = "a gain over it may be nothing else" if number == 0 else "its score is not what it can do"
            found.append(f"{answers}: {effect}; {advice}{_at_equal_length(compared, matched, what, number)}")
    return found


def _at_equal_length(compared: Compared, matched: PairedDifference | None, what: str, number: int) -> str:
    gain = (
        None
        if matched is None or compared.metric.higher_is_better is None
        else matched.improvement(compared.metric.higher_is_better)
    )
    if what != "cut" or number > 0 or gain is None:
        return ""
    return f". At equal length {compared.names[1]} gains {signed_range(gain)}"


def _same(compared: Compared) -> list[str]:
    found = []
    for (a, b), pair in compared.pairs.items():
        names = f"{compared.names[a]} and {compared.names[b]}"
        if all(x.prediction == y.prediction for x, y in zip(compared.systems[a], compared.systems[b], strict=True)):
            found.append(f"{names} hold the same answers: this compares a system with itself")
        elif pair.n and pair.better == pair.worse == 0:
            found.append(f"{names} have the same score on every item: this metric cannot tell them apart")
    return found


def _below_floors(compared: Compared) -> list[str]:
    found = []
    for number, name in enumerate(compared.names):
        gains = {
            floor: compared.floors[floor][number].improvement(compared.metric.higher_is_better is not False)
            for floor in compared.not_above(number)
        }
        listed = [
            f"{floor.replace('_', ' ')} ({'not measured' if gain is None else signed_range(gain)})"
            for floor, gain in gains.items()
        ]
        if listed:
            found.append(f"{name} does not beat trivial answers: {', '.join(listed)}")
    return found


def _of_no_question(compared: Compared) -> list[str]:
    found = []
    for name, specific in zip(compared.names, compared.specificity, strict=True):
        if specific is not None and specific.mean is not None and specific.ci is not None and specific.ci.low <= 0:
            gain = signed_range((specific.mean, specific.ci.low, specific.ci.high))
            found.append(
                f"the score of {name} does not show that it answers the questions: {gain} over its score against references of"
                " other documents"
            )
    return found


def _not_independent(compared: Compared) -> list[str]:
    """Items that are one question with one reference, prompts or references that repeat, in documents that count as several."""
    rows, found = compared.systems[0], []
    documents: dict[tuple[str, tuple[str, ...]], set[str]] = defaultdict(set)
    for row, group in zip(rows, compared.groups, strict=True):
        documents[row.question, row.expected.references].add(group)
    counts = Counter((row.question, row.expected.references) for row in rows)
    repeated = {item: count for item, count in counts.items() if len(documents[item]) > 1}
    if repeated:
        most = max(repeated.values())
        found.append(
            f"{sum(repeated.values())} of {len(rows)} items are copies of {len(repeated)} (one is there {most} times) but count"
            " as independent: the interval is too narrow; give copies one group"
        )
    if all(row.group is None for row in rows) and not repeated:
        for what, values in (
            ("prompts", Counter(row.question for row in rows)),
            ("references", Counter(row.expected.references for row in rows if num_words(row.reference) > 3)),
        ):
            several = sum(count for count in values.values() if count > 1)
            if several > len(rows) / 10:
                found.append(
                    f"no group is given, but {several} of {len(rows)} {what} repeat: items of one document are not independent;"
                    " name the document of each item with `group`, or --group FIELD"
                )
    return found


def _made(compared: Compared) -> list[str]:
    found = []
    first = compared.pairs[0, 1]
    for reason, count in _reasons(compared).items():
        found.append(f"{count} answers could not be scored and are in no figure: {reason}")
    if first.smallest_p is not None and first.smallest_p > 0.05:
        least = f"the smallest possible p is {first.smallest_p:.3g}"
        found.append(f"{first.num_groups} groups are too few for p ≤ 0.05: {least}")
    if any(row.finish_reason is None for rows in compared.systems for row in rows):
        found.append("cut is guessed from the last character where finish_reason is missing")
    return found


def _reasons(compared: Compared) -> dict[str, int]:
    total: Counter[str] = Counter()
    for scored in compared.scored:
        total.update({reason: count for reason, count in scored.reasons.items() if count})
    return dict(total)
