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

_NUMBERS = ("loss", "best_step", "steps", "score", "gain", "seconds", "memory_bytes", "bytes", "trained", "parameters", "look")


@dataclass(frozen=True, slots=True, kw_only=True)
class Payload:
    """A run. Times in milliseconds since 1970; `curves`: rows with `step` and numbers; `tags`: short texts; `done`: whether it
    is finished. The first 16 digits of `id` are the same before and after."""

    id: str
    name: str
    began_ms: int
    ended_ms: int
    settings: Mapping[str, str]
    tags: Mapping[str, str]
    numbers: Mapping[str, float]
    curves: Sequence[Mapping[str, float]]
    done: bool = True

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def payload_of(row: RunRow) -> Payload:
    """The payload of a finished run, whose files are verified. ArtifactError if they do not match the manifest."""
    ended = round(datetime.fromisoformat(row.created or "").timestamp() * 1000)
    numbers = {name: float(value) for name in _NUMBERS if (value := getattr(row, name)) is not None}
    for name, ends in (("score", row.score_ci), ("gain", row.gain_ci)):
        numbers |= {f"{name}_low": ends[0], f"{name}_high": ends[1]} if ends else {}
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
        name=f"{row.base} {row.id[:8]}",
        began_ms=ended - round(1000 * (row.seconds or 0)),
        ended_ms=ended,
        settings={"base": row.base or "", **{name: str(value)[:500] for name, value in row.settings.items()}},
        tags={name: value for name, value in tags.items() if value},
        numbers=numbers,
        curves=[_numbers(one) for one in curves_of(row) if "event" not in one],
    )


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
    return {name: value for name, value in row.items() if isinstance(value, int | float) and not isinstance(value, bool)}
