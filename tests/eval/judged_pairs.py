"""Pairs with people's labels, and judges whose faults are known because they were planted."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson

__all__ = ["LABELS", "Planted", "labelled_rows", "planted", "write_rows"]

LABELS = ("A", "B", "tie")
Row = dict[str, Any]
Planted = Callable[[Row, random.Random], tuple[str | None, str | None]]  # the verdict, and the one of the swapped order


def labelled_rows(count: int, *, annotators: int = 3, noise: float = 0.08, per_prompt: int = 2, seed: int = 3) -> list[Row]:
    """Pairs whose truth is known to the annotators up to `noise`; two pairs share a prompt."""
    chance = random.Random(seed)
    rows = []
    for number in range(count):
        truth = chance.choices(LABELS, [4, 4, 2])[0]
        people = [truth if chance.random() > noise else chance.choice(LABELS) for _ in range(annotators)]
        a, b = ("word " * chance.randint(3, 60) for _ in "ab")
        rows.append({"id": number, "prompt": f"Question {number // per_prompt}?", "a": a, "b": b, "annotators": people})
    return rows


def planted(name: str) -> Planted:
    """A judge by name; `good` and `hurried` know what people said, the others do not."""
    return {
        "random": lambda row, chance: (chance.choice(LABELS), chance.choice(LABELS)),
        "longer": lambda row, chance: (_longer(row), _longer(row)),
        "first": lambda row, chance: ("A", "B"),
        "constant": lambda row, chance: ("A", "A"),
        "good": lambda row, chance: (row["annotators"][0],) * 2 if chance.random() < 0.95 else ("tie", "tie"),
    }[name]


def _longer(row: Row) -> str:
    return "A" if len(row["a"]) > len(row["b"]) else "B" if len(row["a"]) < len(row["b"]) else "tie"


def write_rows(path: Path, rows: list[Row], judge: Planted | None = None, *, seed: int = 5) -> Path:
    """The file that calibration reads; with the verdicts of `judge`."""
    chance = random.Random(seed)
    if judge is not None:
        rows = [dict(row, judge=first, judge_swapped=second) for row in rows for first, second in [judge(row, chance)]]
    path.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))
    return path
