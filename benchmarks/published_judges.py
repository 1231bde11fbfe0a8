"""Judges whose verdicts other people published, beside what their labels and plain counting say. The files are not ours.

PandaLM (github.com/WeOpenML/PandaLM, `data/`): 999 pairs with the labels of three people, and the verdicts of GPT-3.5 and of
PandaLM-7B, in one order. QLoRA (github.com/artidoro/qlora, `eval/ratings-gpt4/vicuna/pairwise`): GPT-4 on 28 pairs of systems
and 80 questions, in both orders, without labels of people.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from sklearn.metrics import cohen_kappa_score

from tunesmith.eval.judge.biases import changed_on_swap, position_preference
from tunesmith.eval.judge.calibration import calibrate_pairs
from tunesmith.eval.judge.rows import JudgedPair, Label, majority

__all__ = ["by_people", "in_both_orders"]

_LABEL: dict[str, Label] = {"1": "A", "2": "B", "0": "tie", "tie": "tie"}
_RATING: dict[int, Label] = {1: "A", 2: "B", 3: "tie"}
_OTHER: dict[Label, Label] = {"A": "B", "B": "A", "tie": "tie"}
_JUDGES = {"GPT-3.5": ("gpt-3.5-turbo", "gpt_result"), "PandaLM-7B": ("pandalm-7b", "pandalm_result")}
_REVIEWER = "-gpt-4-reviewer-threeclass"


def by_people(folder: Path) -> Iterator[dict[str, Any]]:
    """PandaLM's two judges, and each of its three annotators as a judge of what the two others say. A person's label was not
    given in an order: it stands for both."""
    rows = json.loads((folder / "testset-v1.json").read_bytes())
    labels = [tuple(_LABEL[str(row[f"annotator{n}"])] for n in (1, 2, 3)) for row in rows]
    for judge, (name, key) in _JUDGES.items():
        said = {
            row["idx"]: _LABEL.get(str(row[key]).lower())
            for row in json.loads((folder / f"{name}-testset-v1.json").read_bytes())
        }
        pairs = [_pair(row, three, said[row["idx"]]) for row, three in zip(rows, labels, strict=True)]
        yield _row(judge, pairs)
    for left_out in range(3):
        pairs = []
        for row, three in zip(rows, labels, strict=True):
            others = tuple(label for at, label in enumerate(three) if at != left_out)
            pairs.append(replace(_pair(row, others, three[left_out]), judge_swapped=three[left_out], has_swapped=True))
        yield _row(f"annotator {left_out + 1}", pairs)


def _pair(row: dict[str, Any], annotators: tuple[Label, ...], judge: Label | None) -> JudgedPair:
    return JudgedPair(
        id=str(row["idx"]),
        prompt=f"{row['instruction']}\n\n{row['input']}",
        a=str(row["response1"]),  # some answers of the file are numbers and true
        b=str(row["response2"]),
        human=majority(annotators),
        annotators=annotators,
        judge=judge,
        has_judge=True,
    )


def _row(judge: str, pairs: list[JudgedPair]) -> dict[str, Any]:
    found = calibrate_pairs(pairs)
    parsed = [pair for pair in pairs if pair.judge]
    low, high = found.kappa.ci or (float("nan"), float("nan"))
    return {
        "set": "PandaLM",
        "judge": judge,
        "pairs": found.n,
        "prompts": found.prompts,
        "no verdict": found.unparsed,
        "kappa": found.kappa.value,
        "scikit-learn": float(cohen_kappa_score([pair.human for pair in parsed], [pair.judge for pair in parsed])),
        "low": low,
        "high": high,
        "people among themselves": found.ceiling.value,
        "longer": found.length_preference.value,
        "may gate": found.may_gate,
        "why": [*found.why],
    }


def in_both_orders(folder: Path) -> Iterator[dict[str, Any]]:
    """GPT-4's changes on swap, by `changed_on_swap` and by counting here."""
    found = {file.name.split(_REVIEWER)[0]: _ratings(file) for file in folder.glob(f"*{_REVIEWER}.jsonl")}
    pairs, changed, reversed_, whole = [], 0, 0, 0
    for name, forth in sorted(found.items()):
        a, b = name.split("-vs-")
        if a > b:
            continue
        back = found[f"{b}-vs-{a}"]
        for question, first in forth.items():
            second = back[question]
            swapped = None if second is None else _OTHER[second]
            pairs.append(_swapped(f"{name} {question}", question, first, swapped))
            if first and swapped:
                whole, changed, reversed_ = (
                    whole + 1,
                    changed + (first != swapped),
                    reversed_ + ({first, swapped} == {"A", "B"}),
                )
    yield {
        "set": "QLoRA, Vicuna's questions",
        "judge": "GPT-4",
        "pairs": len(pairs),
        "both verdicts": whole,
        "changed": changed_on_swap(pairs).value,
        "counted": changed / whole,
        "reversed": changed_on_swap(pairs, reversed_only=True).value,
        "reversed, counted": reversed_ / whole,
        "first": position_preference(pairs).value,
    }


def _ratings(file: Path) -> dict[str, Label | None]:
    rows = [json.loads(line) for line in file.read_bytes().split(b"\n") if line.strip()]
    return {str(row["question_id"]): _RATING.get(row["score"]) for row in rows}


def _swapped(id: str, prompt: str, judge: Label | None, swapped: Label | None) -> JudgedPair:
    about: dict[str, Any] = {"judge": judge, "judge_swapped": swapped, "has_judge": True, "has_swapped": True}
    return JudgedPair(id=id, prompt=prompt, a="", b="", **about)
