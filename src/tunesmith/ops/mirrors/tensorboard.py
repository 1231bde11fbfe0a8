"""TensorBoard: an event file for each run in a folder of the project; an earlier one of the same run is replaced."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

__all__ = ["send"]


def send(run: Mapping[str, Any], folder: Path, name: str, address: str) -> str:
    """Write a payload below the folder `name`; returns how to open it."""
    from torch.utils.tensorboard import SummaryWriter

    place = folder / "tensorboard" / name / run["id"][:16]
    if place.exists():
        shutil.rmtree(place)
    with SummaryWriter(log_dir=str(place)) as writer:
        last = max((row["step"] for row in run["curves"]), default=1) or 1
        length = run["ended_ms"] - run["began_ms"]
        for row in run["curves"]:
            at = (run["began_ms"] + length * row["step"] / last) / 1000
            for key, value in row.items():
                if key != "step":
                    writer.add_scalar(key, value, int(row["step"]), walltime=at)
        for key, value in run["numbers"].items():
            writer.add_scalar(f"result/{key}", value, int(last), walltime=run["ended_ms"] / 1000)
        if run["summary"]:
            writer.add_text("verdict", run["summary"])
        facts = {**run["settings"], **run["tags"]}
        writer.add_text("settings", "\n".join(["| | |", "|---|---|", *(f"| {k} | {v} |" for k, v in facts.items())]))
    return f"tensorboard --logdir {(folder / 'tensorboard').resolve()}"
