"""The recipe's judge on the answers of base and tuned model, and on the labelled pairs by which it is calibrated."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tunesmith.core.reporter import Reporter
from tunesmith.eval.judge.asking import judge_pairs
from tunesmith.eval.judge.evidence import JudgedAnswers
from tunesmith.eval.judge.files import labelled_with
from tunesmith.eval.judge.rows import JudgedPair
from tunesmith.eval.results import Item, SystemRun
from tunesmith.pipeline.open_judge import open_judge
from tunesmith.pipeline.sections.eval import JudgeConfig

__all__ = ["is_asked", "judge_answers", "judge_settings"]

_WITHOUT_EFFECT = ("api_key_env", "concurrency", "timeout_s", "max_tokens_total", "max_cost", "calibration", "rubric")
_PRICES = ("price_per_million_in", "price_per_million_out")


def is_asked(j: JudgeConfig) -> bool:
    """Whether the recipe names a judge."""
    return bool(j.url or j.local)


def judge_settings(j: JudgeConfig) -> dict[str, Any]:
    """What verdicts depend on: part of the evaluation's id, and empty without a judge. Files count by their content."""
    if not is_asked(j):
        return {}
    plain = {name: value for name, value in j.model_dump().items() if name not in (*_WITHOUT_EFFECT, *_PRICES)}
    files = {name: Path(getattr(j, name)).expanduser() for name in ("calibration", "rubric") if getattr(j, name)}
    hashes = {name: hashlib.sha256(file.read_bytes()).hexdigest() for name, file in files.items() if file.is_file()}
    return {"judge": plain | hashes}


def judge_answers(
    j: JudgeConfig, items: Sequence[Item], systems: Sequence[SystemRun], project: Path, *, reporter: Reporter
) -> JudgedAnswers | None:
    """The verdicts; None if the recipe names no judge, or base and tuned model have no answers to the same items.

    Raises:
        GeneratorError: the judge cannot be used, or its budget is used up. Answers and replies are kept.
        EvaluationError: a file of labels or a rubric that cannot be used.
    """
    pairs = _pairs(items, systems)
    if not is_asked(j) or not pairs:
        return None
    others: list[JudgedPair] = []
    if j.calibration:
        pairs, others = labelled_with(pairs, Path(j.calibration).expanduser())
        others = [replace(pair, id=f"label {pair.id}") for pair in others if pair.human is not None]
    with open_judge(j, project, reporter=reporter) as opened:
        done = judge_pairs([*pairs, *others], opened.judge, reporter=reporter, reference=j.reference, again=j.again)
    return JudgedAnswers(
        name=opened.name,
        id=done.judge_id,
        weak=opened.weak,
        pairs=done.pairs[: len(pairs)],
        labels=done.pairs[len(pairs) :],
        faults=done.faults,
        withheld=done.withheld,
    )


def _pairs(items: Sequence[Item], systems: Sequence[SystemRun]) -> list[JudgedPair]:
    """The first answer of tuned model and base to each item."""
    answers = {run.name: {one.item_id: one.text for one in reversed(run.generations)} for run in systems}
    tuned, base = answers.get("tuned", {}), answers.get("base", {})
    return [
        JudgedPair(
            id=item.id,
            prompt=item.question,
            a=tuned[item.id],
            b=base[item.id],
            group=item.group,
            system_a="tuned",
            system_b="base",
            reference=item.reference,
        )
        for item in items
        if item.id in tuned and item.id in base
    ]
