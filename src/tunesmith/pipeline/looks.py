"""How often a test set was looked at: every evaluation on it is counted, and the confidence level rises with the count.

Judging one test set again and again, by other metrics or with other adapters, finds a success by chance sooner or later. The
chance of a false SHIP is therefore spent: 2.5 % at the first evaluation, and 5 % / (k (k + 1)) at the k-th, which is below 5 %
in total however many there are (the sum telescopes to 1). A two-sided interval at level 1 − 2 · 5 % / (k (k + 1)) does that:
95 % at first, then 98.3 %, 99.2 %, 99.5 %.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import orjson
from pydantic import TypeAdapter, ValidationError

from tunesmith.core.errors import EvaluationError
from tunesmith.core.files import make_folders, replace_file
from tunesmith.core.records import canonical_json, digest

__all__ = ["Look", "Looks", "level_of"]

FILE = "looks.jsonl"
_TOTAL = 0.05  # chance of a false SHIP over all evaluations of one test set


def level_of(number: int) -> float:
    """The confidence level of the `number`-th evaluation on a test set, from 1."""
    return 1 - 2 * _TOTAL / (number * (number + 1))


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """An evaluation on a test set. `number` counts those on it so far, this one included, from 1.

    `changed`: what differs from what was fixed before the first evaluation on it, in words.
    """

    number: int
    changed: tuple[str, ...] = ()

    @property
    def level(self) -> float:
        """The confidence level of its intervals."""
        return level_of(self.number)


@dataclass(frozen=True, slots=True)
class _Entry:
    """A line of the file: what was evaluated or planned, by which rules, on which documents (short hashes).

    `key` of a plan: the stage of a chain that it is for.
    """

    event: str
    key: str
    rules: Mapping[str, Any]
    documents: Sequence[str] = field(default_factory=list)
    number: int = 0


class Looks:
    """The evaluations of a project, in `looks.jsonl`. Lines are only ever added."""

    def __init__(self, root: Path) -> None:
        self._path = root / FILE

    def plan(self, *, rules: Mapping[str, Any], documents: Iterable[str], stage: str = "") -> None:
        """Fix the rules for a test set, before the first evaluation on it, for each stage of a chain: what was first stays."""
        marks = _marks(documents)
        if not self._planned(marks, stage) and not self._on(marks, "evaluation"):
            self._add(_Entry("plan", stage, dict(rules), marks))

    def find(self, *, what: Mapping[str, Any], rules: Mapping[str, Any], documents: Iterable[str], stage: str = "") -> Look:
        """The place of an evaluation in the count; the same models by the same rules are one evaluation however often run."""
        key, marks = digest(canonical_json([what, rules]))[:16], _marks(documents)
        earlier = self._on(marks, "evaluation")
        known = next((entry for entry in earlier if entry.key == key), None)
        first = next(iter([*self._planned(marks, stage), *self._on(marks, "plan"), *earlier]), None)
        changed = () if first is None else tuple(_changes(first.rules, rules))
        return Look(number=known.number if known else 1 + len({entry.key for entry in earlier}), changed=changed)

    def add(self, *, what: Mapping[str, Any], rules: Mapping[str, Any], documents: Iterable[str], stage: str = "") -> Look:
        """Count an evaluation, unless it was counted before."""
        documents = list(documents)
        key, marks = digest(canonical_json([what, rules]))[:16], _marks(documents)
        look = self.find(what=what, rules=rules, documents=documents, stage=stage)
        if all(entry.key != key for entry in self._on(marks, "evaluation")):
            self._add(_Entry("evaluation", key, dict(rules), marks, look.number))
        return look

    def _planned(self, marks: Sequence[str], stage: str) -> list[_Entry]:
        return [entry for entry in self._on(marks, "plan") if entry.key == stage]

    def _on(self, marks: Sequence[str], event: str) -> list[_Entry]:
        """The entries of a kind that share a document with this test set, oldest first."""
        return [entry for entry in self._entries() if entry.event == event and set(marks) & set(entry.documents)]

    def _entries(self) -> list[_Entry]:
        if not self._path.exists():
            return []
        lines = self._path.read_bytes().split(b"\n")
        return [self._entry(line, number) for number, line in enumerate(lines, 1) if line.strip()]

    def _entry(self, line: bytes, number: int) -> _Entry:
        try:
            return TypeAdapter(_Entry).validate_json(line)
        except ValidationError as error:
            raise EvaluationError(
                "a line of the count of evaluations cannot be read",
                value=f"{self._path}, line {number}",
                expected="what tunesmith wrote there",
                hint="restore the file; without it earlier evaluations on this test set are not counted",
            ) from error

    def _add(self, entry: _Entry) -> None:
        before = self._path.read_bytes() if self._path.exists() else b""
        if before and not before.endswith(b"\n"):
            before += b"\n"  # an editor took the last one away
        make_folders(self._path.parent)
        replace_file(self._path, before + orjson.dumps(asdict(entry)) + b"\n")


def _marks(documents: Iterable[str]) -> list[str]:
    return sorted({digest(document)[:12] for document in documents})


def _changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterable[str]:
    for name in sorted(before.keys() | now.keys()):  # in one order: it becomes part of the id of the evaluation
        if before.get(name) != now.get(name):
            yield f"{name} was {before.get(name, 'not set')}, now {now.get(name, 'not set')}"
