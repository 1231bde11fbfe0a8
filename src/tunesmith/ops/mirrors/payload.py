"""What a tracker is given of a run: settings, numbers and curves. No text of the data, no answers, no paths of sources."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson

from tunesmith.ops.runs.comparing import curves_of
from tunesmith.ops.runs.row import RunRow

__all__ = ["Payload", "curve_rows", "payload_of"]

_NUMBERS = {  # columns of the table of runs, and what they are called where nothing explains them
    "loss": "best_val_loss",
    "best_step": "best_step",
    "steps": "steps",
    "seconds": "training_seconds",
    "memory_bytes": "peak_memory_bytes",
    "bytes": "weights_bytes",
    "trained": "trained_parameters",
    "parameters": "all_parameters",
    "look": "evaluations_on_this_test_set",
}
_CURVES = {"loss": "train_loss", "learned": "target_tokens"}
_SHORT = 8  # digits of an id that a reader needs


@dataclass(frozen=True, slots=True, kw_only=True)
class Payload:
    """A run. Times in milliseconds since 1970; `curves`: rows with `step` and numbers; `tags`: short texts; `summary`: the
    verdict and its main numbers in a few lines of Markdown; `done`: whether it is finished. The first 16 digits of `id` are the
    same before and after."""

    id: str
    name: str
    began_ms: int
    ended_ms: int
    settings: Mapping[str, str]
    tags: Mapping[str, str]
    numbers: Mapping[str, float]
    curves: Sequence[Mapping[str, float]]
    summary: str = ""
    done: bool = True

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def payload_of(row: RunRow) -> Payload:
    """The payload of a finished run, whose files are verified. ArtifactError if they do not match the manifest."""
    ended = round(datetime.fromisoformat(row.created or "").timestamp() * 1000)
    numbers = {name: float(value) for column, name in _NUMBERS.items() if (value := getattr(row, column)) is not None}
    metric = row.metric or "score"
    for name, value, ends in ((metric, row.score, row.score_ci), (f"{metric}_gain_over_base", row.gain, row.gain_ci)):
        numbers |= {name: value} if value is not None else {}
        numbers |= {f"{name}_low": ends[0], f"{name}_high": ends[1]} if value is not None and ends else {}
    tags = {
        "tunesmith.run_id": row.id,
        "tunesmith.state": "done",
        "tunesmith.dataset_id": row.dataset or "",
        "tunesmith.verdict": row.verdict or "not judged",
        "tunesmith.metric": row.metric or "",
        "tunesmith.loosened": ", ".join(row.loosened),
    }
    return Payload(
        id=row.id,
        name=f"{row.base} {row.id[:_SHORT]}",
        began_ms=ended - round(1000 * (row.seconds or 0)),
        ended_ms=ended,
        settings={"base": row.base or "", **{name: str(value)[:500] for name, value in row.settings.items()}},
        tags={name: value for name, value in tags.items() if value},
        numbers=numbers,
        curves=[_numbers(one) for one in curves_of(row) if "event" not in one],
        summary=_summary(row),
    )


def _summary(row: RunRow) -> str:
    """What a reader wants first, as a list in Markdown."""
    unit = (row.metric or "").replace("_", " ")
    lines = [f"**{row.verdict or 'not judged'}**"]
    if row.gain is not None:
        ends = "" if row.gain_ci is None else f" [{row.gain_ci[0]:+.3f}, {row.gain_ci[1]:+.3f}]"
        lines.append(f"gain over the base: {row.gain:+.3f}{ends} {unit}; positive is better")
    if row.loss is not None:
        lines.append(f"best validation loss: {row.loss:.3f} at step {row.best_step} of {row.steps}")
    if row.loosened:
        lines.append(f"gates that were easier to pass than by default: {', '.join(row.loosened)}")
    shown = [f"run:{row.id[:_SHORT]}", *([f"eval:{row.evaluation[:_SHORT]}"] if row.evaluation else [])]
    lines.append("more: " + ", ".join(f"`tunesmith show {one}`" for one in shown))
    return "\n".join(f"- {line}" for line in lines)


def curve_rows(log: Path) -> list[dict[str, float]]:
    """The numbers in a metric log that may still be written, its last line perhaps only half; [] if it is not there."""
    found = []
    for line in log.read_bytes().split(b"\n") if log.is_file() else []:
        try:
            row = orjson.loads(line)
        except orjson.JSONDecodeError:
            continue
        if isinstance(row, dict) and "event" not in row and isinstance(row.get("step"), int):
            found.append(_numbers(row))
    return found


def _numbers(row: Mapping[str, Any]) -> dict[str, float]:
    numbers = {name: value for name, value in row.items() if isinstance(value, int | float) and not isinstance(value, bool)}
    return {_CURVES.get(name, name): value for name, value in numbers.items()}
