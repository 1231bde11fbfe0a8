"""Pairs of answers with verdicts: what calibration reads, one JSON object per line.

`id`, `prompt`, `a`, `b`; `human` (one label) or `annotators` (a list of labels); `judge`, and `judge_swapped` from the
request in which `b` was shown first; `judge_again` from the first request repeated. `group` names what belongs together,
`system_a` and `system_b` whose answers these are.

Every label is `A`, `B` or `tie` and names the answer of the row, not the place in which it was shown; `first` and `second` name
the place. A label of null, or a judge's verdict that is none of these words, is not parsed: it is counted, never guessed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import orjson

from tunesmith.core.errors import EvaluationError
from tunesmith.eval.clusters import clusters

__all__ = ["LABELS", "JudgedPair", "Label", "clusters_of_pairs", "combined", "majority", "points", "prompt_of", "read_pairs"]

Label = Literal["A", "B", "tie"]
LABELS: tuple[Label, ...] = ("A", "B", "tie")
_WORDS: Mapping[str, Label] = {"a": "A", "b": "B", "tie": "tie"}
_PLACES: Mapping[str, Label] = {"first": "A", "second": "B"}
_OTHER: Mapping[Label, Label] = {"A": "B", "B": "A", "tie": "tie"}
_REQUIRED = ("id", "prompt", "a", "b")


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedPair:
    """Two answers to one prompt with the labels of people and of a judge; None is a label that is not there.

    `human`: the one label, or the majority of `annotators`, each of whom has a place in the list. `judge_swapped`: mapped back,
    so a judge that does not care for the order gives the same label twice. `points`: these two for each point of the
    rubric. `has_swapped`: the row says something about the swapped request, if only null.
    """

    id: str
    prompt: str
    a: str
    b: str
    human: Label | None = None
    annotators: tuple[Label | None, ...] = ()
    judge: Label | None = None
    judge_swapped: Label | None = None
    judge_again: Label | None = None
    has_judge: bool = False
    has_swapped: bool = False
    group: str | None = None
    system_a: str | None = None
    system_b: str | None = None
    reference: str = ""
    points: Mapping[str, tuple[Label | None, Label | None]] = field(default_factory=dict, hash=False)

    @property
    def final(self) -> Label | None:
        """The verdict that counts: that of both orders where both were asked."""
        return combined(self.judge, self.judge_swapped) if self.has_swapped else self.judge


def combined(judge: Label | None, swapped: Label | None) -> Label | None:
    """One verdict from two orders: a tie unless both prefer the same answer; None if one of the two is not there."""
    if judge is None or swapped is None:
        return None
    return judge if judge == swapped else "tie"


def points(label: Label) -> float:
    """What answer `a` gets: 1, 0, or ½ for a tie."""
    return {"A": 1.0, "B": 0.0, "tie": 0.5}[label]


def majority(labels: Sequence[Label | None]) -> Label | None:
    """The most frequent label; a tie if several are equally frequent, None if there is none."""
    counted = Counter(label for label in labels if label is not None).most_common()
    if not counted:
        return None
    return "tie" if len(counted) > 1 and counted[0][1] == counted[1][1] else counted[0][0]


def clusters_of_pairs(pairs: Sequence[JudgedPair]) -> tuple[str, ...]:
    """The cluster of each pair: pairs with one prompt, or with one group, belong together. Prompts that differ in case or
    spaces are one, and so is the prompt of all pairs that have none."""
    return clusters([{"prompt": prompt_of(pair), "group": pair.group} for pair in pairs]).names


def prompt_of(pair: JudgedPair) -> str:
    """The prompt without the differences that do not make it another prompt."""
    return " ".join(pair.prompt.casefold().split())


def read_pairs(path: Path) -> list[JudgedPair]:
    """The pairs of a file, in order. EvaluationError with file and line for the first row that cannot be used."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise EvaluationError(
            "cannot read the file of judged pairs",
            value=str(path),
            expected=f"JSON lines with {', '.join(_REQUIRED)}, human or annotators, judge ({error.strerror})",
            hint="check the path: tunesmith judge calibrate FILE.jsonl",
        ) from error
    pairs: list[JudgedPair] = []
    lines: dict[str, int] = {}
    for number, line in enumerate(content.removeprefix(b"\xef\xbb\xbf").split(b"\n"), 1):
        if not line.strip():
            continue
        pair = _pair(f"{path}:{number}", line)
        if pair.id in lines:
            raise _wrong(f"{path}:{number}", f"this id is already on line {lines[pair.id]}", pair.id, "each id once")
        lines[pair.id] = number
        pairs.append(pair)
    if not pairs:
        raise EvaluationError(
            "there are no pairs in this file",
            value=str(path),
            expected=f"one JSON object per line with {', '.join(_REQUIRED)}, human or annotators, judge",
            hint="label some pairs first: two answers to one prompt, and which of them is better",
        )
    return pairs


def _wrong(where: str, what: str, value: object, expected: str) -> EvaluationError:
    file, _, line = where.rpartition(":")
    return EvaluationError(f"{where}: {what}", value=value, expected=expected, hint=f"fix line {line} of {file}")


def _pair(where: str, line: bytes) -> JudgedPair:
    try:
        row = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise _wrong(where, "this line is not JSON", line[:60].decode(errors="replace"), "one JSON object per line") from error
    if not isinstance(row, dict):
        raise _wrong(where, "this line is not a JSON object", row, f"an object with {', '.join(_REQUIRED)}")
    if missing := [name for name in _REQUIRED if row.get(name) is None]:
        raise _wrong(where, f"missing {', '.join(missing)}", sorted(row), f"an object with {', '.join(_REQUIRED)}")
    if isinstance(row["id"], bool) or not isinstance(row["id"], str | int):
        raise _wrong(where, "the id is neither text nor a whole number", row["id"], "a string or an integer")
    for name in ("a", "b", "reference", "system_a", "system_b"):
        if row.get(name) is not None and not isinstance(row[name], str):
            raise _wrong(where, f"{name} is not text", row[name], "a string")
    if isinstance(row.get("group"), dict | list):
        raise _wrong(where, "group is not a name", row["group"], "a string or a number")
    annotators = _annotators(where, row)
    human = _label(where, "human", row.get("human"))
    return JudgedPair(
        id=str(row["id"]),
        prompt=_text(where, row["prompt"]),
        a=row["a"],
        b=row["b"],
        human=human or majority(annotators),
        annotators=annotators,
        judge=_verdict(row.get("judge"), swapped=False),
        judge_swapped=_verdict(row.get("judge_swapped"), swapped=True),
        judge_again=_verdict(row.get("judge_again"), swapped=False),
        has_judge="judge" in row,
        has_swapped="judge_swapped" in row,
        group=None if row.get("group") is None else str(row["group"]),
        system_a=row.get("system_a"),
        system_b=row.get("system_b"),
        reference=row.get("reference") or "",
    )


def _text(where: str, prompt: Any) -> str:
    if isinstance(prompt, str):
        return prompt
    if isinstance(prompt, list) and prompt and all(isinstance(turn, dict) and "content" in turn for turn in prompt):
        return "\n\n".join(f"{turn.get('role', 'user')}: {turn['content']}" for turn in prompt)
    raise _wrong(where, "the prompt is neither text nor messages", prompt, "a string, or a list of messages")


def _annotators(where: str, row: Mapping[str, Any]) -> tuple[Label | None, ...]:
    given = row.get("annotators")
    if given is None:
        return ()
    if not isinstance(given, list):
        raise _wrong(where, "annotators is not a list", given, 'a list of labels, such as ["A", "tie", "A"]')
    return tuple(_label(where, "annotators", one) for one in given)


def _label(where: str, name: str, value: Any) -> Label | None:
    """A person's label: None where there is none, an error for a word that is none of the labels."""
    if value is None or value == "":
        return None
    found = _verdict(value, swapped=False)
    if found is None:
        hint = " (numbers mean different things in different sets)" if isinstance(value, int | float) else ""
        raise _wrong(where, f"this is not a label in {name}", value, f"A, B or tie{hint}; null for a pair without a label")
    return found


def _verdict(value: Any, *, swapped: bool) -> Label | None:
    word = value.strip().casefold() if isinstance(value, str) else ""
    place = _PLACES.get(word)
    if place is not None:
        return _OTHER[place] if swapped else place
    return _WORDS.get(word)
