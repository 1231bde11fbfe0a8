"""What an evaluation leaves on disk: evidence, verdict, report, predictions and scores in the formats others read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import fields
from pathlib import Path

import orjson
from pydantic import TypeAdapter, ValidationError

from tunesmith.core.errors import EvaluationError
from tunesmith.core.records import Generation, Message, Score, to_json, write_jsonl
from tunesmith.eval.measure import Measurements, SystemMeasures
from tunesmith.eval.report import evaluation_report
from tunesmith.eval.results import Evidence, Item
from tunesmith.eval.verdict import Verdict

__all__ = ["read_items", "read_verdict", "write_evaluation", "write_evidence"]

_LATER = (
    "forms",
    "probes",
    "suites",
    "recipe",
    "audited",
    "people",
    "judged",
    "voice",
    "golden",
)  # not in the first evidence files


def read_items(path: Path) -> tuple[Item, ...]:
    """Items of a file with `id`, `prompt`, `reference` in each line; every item is a document of its own."""
    rows = [orjson.loads(line) for line in path.read_bytes().split(b"\n") if line]
    return tuple(
        Item(
            id=row["id"],
            group=row["id"],
            title=None,
            prompt=(Message(role="user", content=row["prompt"]),),
            reference=row["reference"],
        )
        for row in rows
    )


def read_verdict(path: Path) -> Verdict:
    """The verdict as `verdict.json` holds it. EvaluationError if there is no such file, or if it holds something else."""
    try:
        return TypeAdapter(Verdict).validate_json(path.read_bytes())
    except FileNotFoundError as error:
        raise EvaluationError(
            "there is no verdict in this artifact: it was not judged",
            value=str(path.parent),
            expected="an evaluation, or something else that was judged",
            hint="tunesmith verdict eval:latest",
        ) from error
    except ValidationError as error:
        raise EvaluationError(
            "this verdict cannot be read",
            value=str(path),
            expected=f"what an evaluation wrote ({error.error_count()} problems)",
            hint="delete the evaluation's folder and run it again",
        ) from error


def write_evaluation(out: Path, evidence: Evidence, measurements: Measurements, verdict: Verdict) -> None:
    """Fill the folder of an evaluation. Predictions are as `tunesmith compare` reads them, one file per system
    and way of decoding."""
    write_evidence(out, evidence)
    (out / "verdict.json").write_bytes(to_json(verdict))
    report, page = evaluation_report(evidence, measurements, verdict)
    (out / "report.json").write_bytes(to_json(report))
    (out / "report.html").write_text(page, encoding="utf-8")
    for system in evidence.systems:
        for name, answers in (("", system.generations), ("-greedy", system.greedy)):
            if answers:
                write_jsonl(out / f"predictions-{system.name}{name}.jsonl", _predictions(evidence, answers))
        write_jsonl(out / f"scores-{system.name}.jsonl", _scores(evidence, measurements.systems[system.name]))


def write_evidence(out: Path, evidence: Evidence) -> None:
    """What was measured, as `eval.results.read_evidence` reads it."""
    held = {field.name: getattr(evidence, field.name) for field in fields(evidence)}
    for name in _LATER:
        if not held[name]:
            del held[name]
    (out / "evidence.json").write_bytes(to_json(held))


def _predictions(evidence: Evidence, answers: Sequence[Generation]) -> Iterator[dict[str, str]]:
    """One row per answer. The id of a drawn answer is that of the item and the number of the draw: ITEM#1, ITEM#2, …"""
    of = {item.id: item for item in evidence.items}
    for answer in answers:
        item = of[answer.item_id]
        yield {
            "id": item.id if answer.draw is None else f"{item.id}#{answer.draw + 1}",
            "prompt": item.question,
            "reference": item.reference,
            "prediction": answer.text,
            "group": item.group,
            "finish_reason": answer.finish_reason,
        }


def _scores(evidence: Evidence, system: SystemMeasures) -> Iterator[Score]:
    """Every score, the unscored ones with their reason: what tables and figures are made from."""
    for metric, values in system.scores.items():
        for item, value in zip(evidence.items, values, strict=True):
            yield Score(item_id=item.id, metric=metric, value=value, reason="" if value is not None else "nothing to score")
