"""Pairs from prediction files, their labels, and pairs with verdicts as rows of a file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tunesmith.core.errors import EvaluationError
from tunesmith.eval.judge.rows import JudgedPair, Label, majority, read_pairs
from tunesmith.eval.predictions import aligned, read_predictions

__all__ = ["as_rows", "labelled_with", "pairs_of_predictions"]

_OTHER: dict[Label, Label] = {"A": "B", "B": "A", "tie": "tie"}


def pairs_of_predictions(a: Path, b: Path) -> list[JudgedPair]:
    """One pair for each item of two prediction files; systems have the names of their files. EvaluationError as from
    `read_predictions` and `aligned`, and for two files of one name."""
    if a.stem == b.stem:
        raise EvaluationError(
            "two systems have one name",
            value=a.stem,
            expected="files with different names: these are the names of the systems",
            hint=f"cp {b} other.jsonl, then compare with that",
        )
    rows_a, rows_b = aligned([a, b], [read_predictions(file, references=False) for file in (a, b)])
    return [
        JudgedPair(
            id=one.id,
            prompt=one.question,
            a=one.prediction,
            b=other.prediction,
            group=one.group,
            system_a=a.stem,
            system_b=b.stem,
            reference=one.reference,
        )
        for one, other in zip(rows_a, rows_b, strict=True)
    ]


def labelled_with(pairs: Sequence[JudgedPair], file: Path) -> tuple[list[JudgedPair], list[JudgedPair]]:
    """The pairs with people's labels for the same two answers to the same prompt, on whichever side; and the other labels.

    Several labels of one pair are those of several annotators.

    EvaluationError as from `read_pairs`.
    """
    at = {_key(pair): number for number, pair in enumerate(pairs)}
    found, others = list(pairs), []
    for row in read_pairs(file):
        number = at.get(_key(row))
        if number is None or row.human is None:
            others.append(row)
            continue
        pair, turned = found[number], row.a.strip() != found[number].a.strip()
        before = pair.annotators or (() if pair.human is None else (pair.human,))
        given = row.annotators if before == () or row.annotators else (row.human,)
        annotators = (*before, *(_OTHER[one] if turned and one else one for one in given))
        human = majority(annotators) if before else _OTHER[row.human] if turned else row.human
        found[number] = replace(pair, human=human, annotators=annotators, group=pair.group or row.group)
    return found, others


def _key(pair: JudgedPair) -> tuple[str, str, str]:
    first, second = sorted((pair.a.strip(), pair.b.strip()))
    return pair.prompt.strip(), first, second


def as_rows(pairs: Sequence[JudgedPair], reasons: Sequence[str] = ()) -> list[dict[str, Any]]:
    """What `read_pairs` reads, with the judge's reasons."""
    rows = []
    for number, pair in enumerate(pairs):
        row: dict[str, Any] = {"id": pair.id, "prompt": pair.prompt, "a": pair.a, "b": pair.b}
        optional = {
            "annotators": list(pair.annotators),
            "human": None if pair.human == majority(pair.annotators) else pair.human,
            "group": pair.group,
            "system_a": pair.system_a,
            "system_b": pair.system_b,
            "reference": pair.reference,
        }
        row |= {name: value for name, value in optional.items() if value}
        if pair.has_judge:
            row["judge"] = pair.judge
        if pair.has_swapped:
            row["judge_swapped"] = pair.judge_swapped
        if pair.judge_again:
            row["judge_again"] = pair.judge_again
        if reasons:
            row["reason"] = reasons[number]
        rows.append(row)
    return rows
