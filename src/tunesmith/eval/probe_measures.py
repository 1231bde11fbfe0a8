"""Numbers from the probes: what the right question is worth, and how much better training rows are known than test rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from tunesmith.core.records import Generation
from tunesmith.eval.how import How
from tunesmith.eval.metrics.registry import metric_named
from tunesmith.eval.probes import GOLDEN, OTHER_QUESTION, REWORDED, TAUGHT, TRAINING, item_of, taught_of
from tunesmith.eval.proportions import Share, clustered_share
from tunesmith.eval.recital import Recited, TrainingText
from tunesmith.eval.results import Evidence, Item, Likelihood
from tunesmith.eval.stats import Difference, Summary

__all__ = ["GoldenMeasures", "QuestionWorth", "Recital", "golden_measures", "question_worth", "recital"]


@dataclass(frozen=True, slots=True, kw_only=True)
class QuestionWorth:
    """What the right question is worth in bits per byte: those of a reference under a question from another document, less
    those under its own.

    `kept`: what it is worth to the tuned model, less `share` times what it is worth to the base, item by item. `taught`: what
    the own question of a training row is worth to the base for the answer of that row; None where that was not measured.
    """

    base: Summary
    tuned: Summary
    share: float
    kept: Difference
    taught: Summary | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Recital:
    """What is copied from training. `base`, `tuned`, `references`: shares of answers that are recited; `longest`: words of the
    longest run in an answer of the tuned model. `excess`: tuned model less base or references, whichever recite more, by item;
    its `better` counts the questions to which the tuned model recites more often.

    `training_gain` and `test_gain`: mean gains of the tuned model over the base in bits per byte, on the training rows nearest
    to the test questions and on the test rows; `reworded_loss`: how much worse the tuned model finds those training answers
    when their questions are reworded, beyond what the base does. None where that was not measured.
    """

    base: Share
    tuned: Share
    references: Share
    excess: Difference
    longest: int
    training_gain: float | None
    test_gain: float | None
    reworded_loss: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class GoldenMeasures:
    """Bits per byte on the items of the golden set, clustered by document. `change`: tuned less base; below zero is better."""

    num_items: int
    num_documents: int
    base: Summary
    tuned: Summary
    change: Difference


def golden_measures(evidence: Evidence, how: How) -> GoldenMeasures | None:
    """None where there is no golden set, or base or tuned model were not asked."""
    sides = evidence.probes.get(GOLDEN, {})
    if not {"base", "tuned"} <= sides.keys():
        return None
    base, tuned = ({row.item_id: row.bits_per_byte for row in sides[name]} for name in ("base", "tuned"))
    items = [item for item in evidence.golden if item.id in base]
    before, after = [base[item.id] for item in items], [tuned[item.id] for item in items]
    groups = [item.group for item in items]
    return GoldenMeasures(
        num_items=len(items),
        num_documents=len(set(groups)),
        base=how.summary(before, groups),
        tuned=how.summary(after, groups),
        change=how.difference(before, after, groups, metric=metric_named("bits_per_byte")),
    )


def question_worth(evidence: Evidence, how: How, *, share: float) -> QuestionWorth | None:
    """None where base or tuned model were not asked."""
    probe = evidence.probes.get(OTHER_QUESTION, {})
    runs = {name: evidence.system(name) for name in ("base", "tuned")}
    worth = {}
    for name, run in runs.items():
        if run is None or name not in probe:
            return None
        worth[name] = _worth(run.likelihoods, probe[name], evidence.items)
    groups = [item.group for item in evidence.items]
    wanted = [None if value is None else share * value for value in worth["base"]]
    return QuestionWorth(
        base=how.summary(worth["base"], groups),
        tuned=how.summary(worth["tuned"], groups),
        share=share,
        kept=how.difference(wanted, worth["tuned"], groups),
        taught=_taught(evidence, how),
    )


def _taught(evidence: Evidence, how: How) -> Summary | None:
    """What the own question of a training row is worth to the base, by document of the training rows."""
    own: dict[str, float] = {}
    others: dict[str, list[float]] = {}
    documents: dict[str, str] = {}
    for row in evidence.probes.get(TAUGHT, {}).get("base", ()):
        of = taught_of(row.item_id)
        if row.bits_per_byte is not None:
            documents[of.row] = of.document
            if of.is_own:
                own[of.row] = row.bits_per_byte
            else:
                others.setdefault(of.row, []).append(row.bits_per_byte)
    rows = [row for row in own if row in others]
    worth = [sum(others[row]) / len(others[row]) - own[row] for row in rows]
    return how.summary(worth, [documents[row] for row in rows]) if rows else None


def _worth(own: Sequence[Likelihood], other: Sequence[Likelihood], items: Sequence[Item]) -> list[float | None]:
    right = {row.item_id: row.bits_per_byte for row in own}
    wrong: dict[str, list[float]] = {}
    for row in other:
        if row.bits_per_byte is not None:
            wrong.setdefault(item_of(row.item_id), []).append(row.bits_per_byte)
    found: list[float | None] = []
    for item in items:
        mine, those = right.get(item.id), wrong.get(item.id)
        found.append(None if mine is None or not those else sum(those) / len(those) - mine)
    return found


def recital(evidence: Evidence, how: How) -> Recital:
    """Shares and intervals are clustered by document; without training answers nothing is recited, and `n` is 0.

    Answers of several adapters are compared with the training answers of the adapter that gave them: to the others the
    references are training answers.
    """
    recipe = evidence.recipe
    folds = [(fold.items, fold.train_answers) for fold in recipe.folds] if recipe else []
    folds = folds or [(tuple(item.id for item in evidence.items), evidence.train_answers)]
    training = {id: text for ids, answers in folds for text in [TrainingText(answers)] for id in ids}
    measured = any(answers for _, answers in folds)
    runs = {name: evidence.system(name) for name in ("base", "tuned")}
    said = {name: _texts(run.generations if run else ()) for name, run in runs.items()}
    said["references"] = [(item.id, item.reference) for item in evidence.items]
    found = {
        name: [(id, training[id].longest_run(text)) for id, text in texts] if measured else [] for name, texts in said.items()
    }
    group_of = {item.id: item.group for item in evidence.items}
    shares = {
        name: clustered_share([one.is_recital for _, one in those], [group_of[id] for id, _ in those], level=how.level)
        for name, those in found.items()
    }
    usual = max(("base", "references"), key=lambda name: shares[name].share or 0.0)
    before, after = (_by_item(found[name], evidence.items) for name in (usual, "tuned"))
    excess = how.difference(before, after, list(group_of.values()), bounds=(0.0, 1.0))
    training_gain = _mean_gain(evidence.probes.get(TRAINING, {}), lambda row: row.bits_per_byte)
    reworded_gain = _mean_gain(evidence.probes.get(REWORDED, {}), lambda row: row.bits_per_byte)
    test = {name: run.likelihoods for name, run in runs.items() if run is not None}
    return Recital(
        base=shares["base"],
        tuned=shares["tuned"],
        references=shares["references"],
        excess=excess,
        longest=max((one.run for _, one in found["tuned"]), default=0),
        training_gain=training_gain,
        test_gain=_mean_gain(test, lambda row: row.bits_per_byte),
        reworded_loss=None if training_gain is None or reworded_gain is None else training_gain - reworded_gain,
    )


def _by_item(found: Sequence[tuple[str, Recited]], items: Sequence[Item]) -> list[float | None]:
    """The share of each item's answers that are recited; None without answers."""
    hits: dict[str, list[bool]] = {}
    for id, one in found:
        hits.setdefault(id, []).append(one.is_recital)
    return [sum(hits[item.id]) / len(hits[item.id]) if item.id in hits else None for item in items]


def _texts(generations: Sequence[Generation]) -> list[tuple[str, str]]:
    return [(one.item_id, one.text) for one in generations]


def _mean_gain(rows: Mapping[str, Sequence[Likelihood]], score: Callable[[Likelihood], float | None]) -> float | None:
    """How much lower the tuned model is than the base, on the rows that both have."""
    if not {"base", "tuned"} <= rows.keys():
        return None
    base = {row.item_id: value for row in rows["base"] if (value := score(row)) is not None}
    gains = [base[row.item_id] - value for row in rows["tuned"] if (value := score(row)) is not None and row.item_id in base]
    return sum(gains) / len(gains) if gains else None
