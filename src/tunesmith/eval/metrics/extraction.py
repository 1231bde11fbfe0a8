"""Extraction: entities and spans given as a JSON list, against those of the reference.

A list holds texts, or objects with `text` and optionally `type` (or `label`), `start` and `end` (characters, end excluded). An
object with one list per type (`{"person": ["Ada"]}`) is the same.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from tunesmith.eval.metrics.json_answers import read_json
from tunesmith.eval.metrics.metric import CorpusScore, Expected, Metric, Unscored, each
from tunesmith.eval.metrics.questions import normalized

__all__ = ["METRICS", "Entity", "read_entities"]

_NO_LIST = "the reference is not a JSON list of entities"


class Entity(NamedTuple):
    """One extracted thing: its normalised text, its type, and its place in the text where that is given."""

    text: str
    type: str
    start: int | None
    end: int | None


def read_entities(text: str) -> list[Entity] | None:
    """The entities that a JSON text lists; None if it is no such list."""
    valid, value = read_json(text)
    if not valid:
        return None
    if isinstance(value, dict):
        value = [{"text": item, "type": kind} for kind, items in value.items() for item in _listed(items)]
    if not isinstance(value, list):
        return None
    found = [_entity(item) for item in value]
    return None if None in found else [entity for entity in found if entity is not None]


def _listed(items: Any) -> list[Any]:
    return items if isinstance(items, list) else [items]


def _entity(item: Any) -> Entity | None:
    if isinstance(item, str):
        return Entity(normalized(item), "", None, None)
    if not isinstance(item, dict) or not isinstance(item.get("text"), str):
        return None
    start, end = (item.get(name) for name in ("start", "end"))
    placed = type(start) is int and type(end) is int and start < end
    kind = item.get("type", item.get("label", ""))
    return Entity(normalized(item["text"]), str(kind).lower(), start if placed else None, end if placed else None)


class _Overlap(NamedTuple):
    """What is right (for spans: the sum of the parts), and how many the answer and the reference have."""

    right: float
    given: int
    wanted: int

    @property
    def f1(self) -> float:
        """1 where there is nothing to find and nothing was given."""
        return 2 * self.right / (self.given + self.wanted) if self.given + self.wanted else 1.0


def _exact(given: Sequence[Entity], wanted: Sequence[Entity]) -> _Overlap:
    shared = Counter(map(_key, given)) & Counter(map(_key, wanted))
    return _Overlap(float(sum(shared.values())), len(given), len(wanted))


def _key(entity: Entity) -> tuple[str, str]:
    return entity.text, entity.type


def _partial(given: Sequence[Entity], wanted: Sequence[Entity]) -> _Overlap:
    """Each given span goes to one wanted span at most, so that the sum of the shared parts is greatest."""
    if not given or not wanted:
        return _Overlap(0.0, len(given), len(wanted))
    from scipy.optimize import linear_sum_assignment

    shared = np.array([[_shared(a, b) for b in wanted] for a in given])
    rows, columns = linear_sum_assignment(-shared)
    return _Overlap(float(shared[rows, columns].sum()), len(given), len(wanted))


def _shared(a: Entity, b: Entity) -> float:
    """The shared part of two spans of one type, 0 to 1: twice the shared characters (or words, without places) over both."""
    if a.type != b.type:
        return 0.0
    if a.start is not None and a.end is not None and b.start is not None and b.end is not None:
        return 2 * max(0, min(a.end, b.end) - max(a.start, b.start)) / (a.end - a.start + b.end - b.start)
    ours, theirs = Counter(a.text.split()), Counter(b.text.split())
    return 2 * sum((ours & theirs).values()) / (sum(ours.values()) + sum(theirs.values()) or 1)


def _against(answer: str, expected: Expected, partial: bool) -> _Overlap | None:
    """The best over the references that are lists; an answer that is none has nothing right and counts as empty."""
    compare = _partial if partial else _exact
    given = read_entities(answer)
    wanted = [entities for reference in expected.references if (entities := read_entities(reference)) is not None]
    if not wanted:
        return None
    if given is None:
        shortest = min(map(len, wanted))
        return _Overlap(0.0, 0 if shortest else 1, shortest)  # no list where nothing was to be found is wrong as well
    return max((compare(given, one) for one in wanted), key=lambda overlap: overlap.f1)


def _score(partial: bool) -> Any:
    def score(answer: str, expected: Expected) -> float | Unscored:
        found = _against(answer, expected, partial)
        return Unscored(_NO_LIST) if found is None else found.f1

    return each(score)


def _corpus(answers: Sequence[str], expected: Sequence[Expected]) -> CorpusScore:
    parts = tuple(_against(answer, one, False) for answer, one in zip(answers, expected, strict=True))
    return CorpusScore(parts=parts, value=_corpus_value)


def _corpus_value(parts: Sequence[_Overlap | None]) -> float | None:
    known = [part for part in parts if part is not None]
    if not known:
        return None
    return _Overlap(sum(p.right for p in known), sum(p.given for p in known), sum(p.wanted for p in known)).f1


METRICS = (
    Metric(
        name="entity_f1",
        label="entity F1",
        task="extraction",
        unit="share",
        bounds=(0.0, 1.0),
        higher_is_better=True,
        measures="F1 of the entities of an answer: text (without case, punctuation, articles) and type must be equal.",
        misses="where in the text an entity is, and entities that are nearly right; each item weighs the same.",
        score=_score(partial=False),
    ),
    Metric(
        name="span_f1",
        label="span F1, partial",
        task="extraction",
        unit="share",
        bounds=(0.0, 1.0),
        higher_is_better=True,
        measures=(
            "F1 of the spans with credit for the shared part: characters by `start` and `end`, or words where an item has no"
            " places; each span is matched once, and types must be equal."
        ),
        misses="whether the shared part is the important one: half a name gets half the credit.",
        score=_score(partial=True),
    ),
    Metric(
        name="corpus_entity_f1",
        label="entity F1 of all answers",
        task="extraction",
        unit="share",
        bounds=(0.0, 1.0),
        higher_is_better=True,
        measures="Entity F1 with the counts of all answers added up (micro-F1).",
        misses="which answers are bad: answers with many entities weigh more.",
        corpus=_corpus,
    ),
)
