"""What a pair of tuned model and base answers right, behind a router and each alone, on questions of both kinds.

    python recipes/routing/ask.py questions DATASET_FOLDER FOLDER     inside.jsonl, outside-*.jsonl and questions.jsonl
    python recipes/routing/ask.py ask FOLDER http://127.0.0.1:8000/v1 mine tuned smollm2

The router is trained on `inside.jsonl` and `outside-*.jsonl`. The questions asked are others: the dataset's test rows, which
a right answer equals to the letter, and general questions of kinds that the router has not seen, scored as in an evaluation.
"""

from __future__ import annotations

import json
import sys
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from tunesmith.core.proportion import wilson
from tunesmith.eval.suites.load import load_suite
from tunesmith.eval.suites.scorers import SCORERS
from tunesmith.eval.suites.suite import SuiteItem

SEEN = ("arithmetic", "format", "instructions")  # kinds of general questions that train the router
ASKED = ("common_sense", "everyday", "reading")  # kinds that are asked
EACH = 24  # questions of each of them


def _lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def _write(file: Path, rows: list[dict[str, Any]]) -> None:
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def questions(dataset: Path, out: Path) -> None:
    """Write what the router learns from, and what is asked."""
    out.mkdir(parents=True, exist_ok=True)
    train = [row for name in ("train", "val") for row in _lines(dataset / f"{name}.jsonl") if not row.get("origin")]
    _write(out / "inside.jsonl", [{"prompt": row["messages"][0]["content"], "group": row["meta"]["form"]} for row in train])
    items = load_suite("general").items
    for kind in SEEN:
        found = [{"prompt": one.question, "group": one.group} for one in items if one.tag("kind") == kind]
        _write(out / f"outside-{kind}.jsonl", found)
    asked = [
        {"id": row["id"], "kind": "task", "prompt": row["messages"][0]["content"], "right": row["messages"][1]["content"]}
        for row in _lines(dataset / "test.jsonl")
    ]
    for kind in ASKED:
        of_kind = [one for one in items if one.tag("kind") == kind]
        every = max(1, len(of_kind) // EACH)
        asked += [{"id": one.id, "kind": kind, "prompt": one.question} for one in of_kind[::every][:EACH]]
    _write(out / "questions.jsonl", asked)


def right(question: dict[str, Any], answer: str, items: dict[str, SuiteItem]) -> bool:
    """Whether the answer is right: equal to the letter for the task, by the scorer of its suite for a general question."""
    if "right" in question:
        return answer.strip() == str(question["right"]).strip()
    item = items[question["id"]]
    return SCORERS[item.scorer].score(answer, item) is True


def _answer(address: str, model: str, question: dict[str, Any]) -> tuple[str, str]:
    """The greedy answer, and where the router sent the question (empty without one)."""
    turns = [{"role": "user", "content": question["prompt"]}]
    body = {"model": model, "messages": turns, "temperature": 0, "max_tokens": 64}
    request = urllib.request.Request(
        f"{address}/chat/completions", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=600) as reply:
        found = json.load(reply)
        return str(found["choices"][0]["message"]["content"]), str(reply.headers.get("X-Tunesmith-Route") or "")


def ask(folder: Path, address: str, models: list[str]) -> None:
    """Ask every question of every model over HTTP, keep the answers, and print what was right."""
    asked, items = _lines(folder / "questions.jsonl"), {one.id: one for one in load_suite("general").items}
    kept: list[dict[str, Any]] = []
    for model in models:
        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(lambda question, model=model: _answer(address, model, question), asked))
        for question, (answer, route) in zip(asked, answers, strict=True):
            hit = right(question, answer, items)
            kept.append(
                {"id": question["id"], "kind": question["kind"], "model": model, "route": route, "answer": answer, "right": hit}
            )
    _write(folder / "answers.jsonl", kept)
    for model in models:
        rows = [row for row in kept if row["model"] == model]
        for kind in ("task", *ASKED, "all"):
            hits = [row["right"] for row in rows if kind in (row["kind"], "all")]
            low, high = wilson(sum(hits) / len(hits), len(hits))
            sent = sum(row["route"] == "inside" for row in rows if kind in (row["kind"], "all"))
            print(f"{model:10} {kind:14} {sum(hits):4} of {len(hits):4} [{low:.2f}, {high:.2f}]  inside {sent}")


if __name__ == "__main__":
    if sys.argv[1] == "questions":
        questions(Path(sys.argv[2]), Path(sys.argv[3]))
    else:
        ask(Path(sys.argv[2]), sys.argv[3].rstrip("/"), sys.argv[4:])
