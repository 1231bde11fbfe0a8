"""The verdict on planted runs on a real base: a real gain, shuffled questions, an overfitted run, one that forgets.

Usage: python benchmarks/planted_verdicts.py ARM [ARM …] --work FOLDER [--base smollm2] [--items 20]

The rows are those that the demo makes of its posts. An arm is `gain` (the rows as they are), `shuffled` (in train and val each
answer stands under the question of another row; the test split is as it was), `overfitted` (many epochs at a high rate, without
early stopping), or `forgetting` (a high rate, without general rows). Each is a whole run by `tunesmith run`, which can be taken
up again after a stop. One line of JSON an arm: the verdict, its sentence, every gate. The pages stay in FOLDER.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import tunesmith
from tunesmith.api import EXAMPLES
from tunesmith.core.records import Example, read_jsonl

_SETTINGS = {
    "quality": "draft",
    "split": {"by": "group", "group": "post", "val": 0.15, "test": 0.2},
    "allow": ["leak", "contradictions"],
}
_ARMS: dict[str, dict[str, Any]] = {
    "gain": {},
    "shuffled": {},
    "overfitted": {"train": {"epochs": 12, "max_steps": 150, "learning_rate": 2e-3, "patience": 1000}},
    "forgetting": {"mix": {"own_answers": False}, "train": {"learning_rate": 4e-3, "patience": 1000}},
}


def splits(work: Path, base: str) -> dict[str, list[dict[str, str]]]:
    """The rows of the demo's dataset, by the split that they are in when rows of one post stay together."""
    made = tunesmith.build(EXAMPLES / "posts", base=base, project=work / "demo", settings={"mix.own_answers": False})
    folder = made.path
    rows = [row for name in ("train", "val", "test") for row in read_jsonl(folder / f"{name}.jsonl", Example)]
    plain = [{"prompt": row.prompt[-1].content, "completion": row.answer, "post": row.source} for row in rows]
    write(work / "rows.jsonl", plain)
    again = tunesmith.build(
        work / "rows.jsonl", base=base, project=work / "rows", settings=flat({"mix": {"own_answers": False}})
    )
    folder = again.path
    return {
        name: [
            {"prompt": row.prompt[-1].content, "completion": row.answer, "post": row.meta["post"]}
            for row in read_jsonl(folder / f"{name}.jsonl", Example)
        ]
        for name in ("train", "val", "test")
    }


def shuffled(rows: list[dict[str, str]]) -> list[dict[str, str]]:
    """Every question under an answer of another post; the answer's post stays with the answer."""
    answers = list(rows)
    draw = random.Random(7)
    while True:
        draw.shuffle(answers)
        if sum(a["post"] == q["post"] for a, q in zip(answers, rows, strict=True)) <= len(rows) // 50:
            return [{**a, "prompt": q["prompt"]} for a, q in zip(answers, rows, strict=True)]


def write(path: Path, rows: list[dict[str, str]]) -> None:
    """As JSON lines."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def flat(more: dict[str, Any]) -> dict[str, Any]:
    """Settings by their dotted names."""
    return {
        f"{name}.{key}" if key else name: inner
        for name, value in {**_SETTINGS, **more}.items()
        for key, inner in (value.items() if isinstance(value, dict) else [("", value)])
    }


def run(arm: str, work: Path, base: str, items: int) -> dict[str, Any]:
    """The outcome of one arm, by the command that a user types."""
    place = work / arm
    parts = splits(work, base)
    rows = [row for name, part in parts.items() for row in (shuffled(part) if arm == "shuffled" and name != "test" else part)]
    write(place / "rows.jsonl", rows)
    settings = [
        f"{name}={json.dumps(value)}"
        for name, value in flat({**_ARMS[arm], "eval": {"max_items": items, "suites": ["general"]}}).items()
    ]
    began = time.time()
    command = [sys.executable, "-m", "tunesmith.cli", "run", "--source", str(place / "rows.jsonl"), "--base", base, "--json"]
    ended = subprocess.run(
        [*command, "--project", str(place), *(part for one in settings for part in ("--set", one))],
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    lines = [line for line in ended.stdout.splitlines() if line.startswith("{")]
    if not lines:
        raise SystemExit(f"{arm}: exit code {ended.returncode}, nothing on stdout")
    said = json.loads(lines[-1])
    return {"arm": arm, "seconds": round(time.time() - began), "exit": ended.returncode, **said}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("arms", nargs="+", choices=sorted(_ARMS))
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--base", default="smollm2")
    parser.add_argument("--items", type=int, default=20)
    given = parser.parse_args()
    for arm in given.arms:
        print(json.dumps(run(arm, given.work, given.base, given.items)), flush=True)


if __name__ == "__main__":
    main()
