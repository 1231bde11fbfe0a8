"""The author's voice in an evaluation: how likely it is that the author wrote the answers of each system, and the references.

The classifier is that of `eval.metrics.voice`. It learns from the author's training answers against answers of the base and the
general answers that come with Tunesmith. An answer of the base is scored by classifiers that have not seen answers to questions
about its document. References are of documents that nothing was trained on: their score is the best to be hoped for.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from tunesmith.core.records import Example
from tunesmith.eval.how import How
from tunesmith.eval.metrics.metric import Unscored
from tunesmith.eval.metrics.voice import METRICS, Voice, VoiceCheck, VoiceScores, Writing, fit_voice, packaged_writing
from tunesmith.eval.results import Item, SystemRun
from tunesmith.eval.stats import Difference, Summary

__all__ = ["VoiceMeasures", "pooled_voice", "voice_again", "voice_measures", "voice_scores"]

_REFERENCE = "base"
_METRIC = METRICS[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class VoiceMeasures:
    """The voice in figures. `systems`: mean chance that the author wrote an answer, by system, 0 to 1, clustered by document;
    `references`: the same of the author's own held-out answers; `gain`: tuned less base, None where one of them is missing."""

    check: VoiceCheck
    systems: Mapping[str, Summary]
    references: Summary
    gain: Difference | None


def voice_scores(
    items: Sequence[Item], systems: Sequence[SystemRun], train: Sequence[Example], *, column: str = "", seed: int = 7
) -> VoiceScores | None:
    """The chance that the author wrote each answer, and each reference. None where there is nothing to compare: plain texts, no
    answers of the base, or no training answers. `column`: whose equal values are one document, where the split goes by it.
    Needs scikit-learn where there are enough documents."""
    learned = {row.id: row.meta.get(column) or row.group for row in train if row.prompt and row.answer}
    return _scores(items, systems, train, learned, seed)


def voice_again(
    found: VoiceScores | None, items: Sequence[Item], systems: Sequence[SystemRun], train: Sequence[Example], *, seed: int = 7
) -> VoiceScores | None:
    """The same of other systems, by the classifier of `found`, learned again from the same training rows and answers of the
    base. None without `found`, or if one of these rows is not in `train` any more."""
    if found is None or not set(found.learned) <= {row.id for row in train}:
        return None
    return _scores(items, systems, train, found.learned, seed)


def pooled_voice(folds: Sequence[Sequence[VoiceScores | None]], sizes: Sequence[int]) -> VoiceScores | None:
    """The scores of several adapters as one: `folds` holds those of each fold by training seed, `sizes` its number of items.

    Each adapter's answers were scored by a classifier that learned from its own training rows. None where one of them was not;
    not measured where one of the classifiers could not tell the author.
    """
    everyone = [one for fold in folds for one in fold]
    known = [one for one in everyone if one is not None]
    if len(known) < len(everyone) or not known:
        return None
    worst = min((one.check for one in known), key=lambda check: (not check.reason, check.auc or 0.0))
    check = replace(worst, num_classifiers=len(known))
    if check.reason:
        return VoiceScores(check=check)
    names = [name for name in known[0].systems if all(name in one.systems for one in known)]
    parts = list(zip([[one for one in fold if one is not None] for fold in folds], sizes, strict=True))
    return VoiceScores(
        check=check,
        systems={name: _means([one.systems[name] for one in fold] for fold, _ in parts) for name in names},
        references=_means([one.references or (None,) * size for one in fold] for fold, size in parts),
    )


def _means(folds: Iterable[Sequence[Sequence[float | None]]]) -> tuple[float | None, ...]:
    """Item by item, the mean over the seeds of a fold; one fold after the other."""
    found: list[float | None] = []
    for fold in folds:
        for values in zip(*fold, strict=True):
            known = [value for value in values if value is not None]
            found.append(math.fsum(known) / len(known) if known else None)
    return tuple(found)


def _scores(
    items: Sequence[Item], systems: Sequence[SystemRun], train: Sequence[Example], learned: Mapping[str, str], seed: int
) -> VoiceScores | None:
    own = [
        Writing(text=row.answer, document=learned[row.id], author=row.meta.get("author")) for row in train if row.id in learned
    ]
    base = next((run for run in systems if run.name == _REFERENCE), None)
    if not own or base is None or not base.generations or any(not item.prompt for item in items):
        return None
    group_of = {item.id: item.group for item in items}
    others = [Writing(text=one.text, document=f"base {group_of[one.item_id]}") for one in base.generations]
    voice = fit_voice(own, [*others, *packaged_writing()], seed=seed)
    if voice.check.reason:
        return VoiceScores(check=voice.check, learned=learned)
    return VoiceScores(
        check=voice.check,
        learned=learned,
        systems={run.name: _by_item(voice, run, items) for run in systems if run.generations},
        references=_scored(voice, [item.reference for item in items], [""] * len(items)),
    )


def _by_item(voice: Voice, run: SystemRun, items: Sequence[Item]) -> tuple[float | None, ...]:
    """The mean over the draws of each item; None where every answer is shorter than the classifier needs."""
    group_of = {item.id: item.group for item in items}
    seen = run.name == _REFERENCE
    values = _scored(
        voice,
        [one.text for one in run.generations],
        [f"base {group_of[one.item_id]}" if seen else "" for one in run.generations],
    )
    found: dict[str, list[float]] = {}
    for one, value in zip(run.generations, values, strict=True):
        if value is not None:
            found.setdefault(one.item_id, []).append(value)
    return tuple(sum(found[item.id]) / len(found[item.id]) if item.id in found else None for item in items)


def _scored(voice: Voice, texts: Sequence[str], documents: Sequence[str]) -> tuple[float | None, ...]:
    return tuple(None if isinstance(one, Unscored) else one for one in voice.score(texts, documents))


def voice_measures(found: VoiceScores | None, items: Sequence[Item], how: How) -> VoiceMeasures | None:
    """Means and intervals by document. None where nothing was compared."""
    if found is None:
        return None
    groups = [item.group for item in items]
    none = (None,) * len(items)
    base, tuned = found.systems.get(_REFERENCE), found.systems.get("tuned")
    return VoiceMeasures(
        check=found.check,
        systems={name: how.summary(values, groups, _METRIC.bounds) for name, values in found.systems.items()},
        references=how.summary(found.references or none, groups, _METRIC.bounds),
        gain=None if base is None or tuned is None else how.difference(base, tuned, groups, metric=_METRIC),
    )
