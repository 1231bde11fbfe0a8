"""Trackio: its SQLite file in a folder of the project. A run is replaced, so that it is written once."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

__all__ = ["send"]


def send(run: Mapping[str, Any], folder: Path, name: str, address: str) -> str:
    """Write a payload to the project `name`; returns how to open it."""
    place = (folder / "trackio").resolve()
    os.environ["TRACKIO_DIR"] = str(place)  # read when trackio is imported
    from trackio.sqlite_storage import SQLiteStorage

    place.mkdir(parents=True, exist_ok=True)
    last = {"step": max((row["step"] for row in run["curves"]), default=0)}
    last |= {f"result/{key}": value for key, value in run["numbers"].items()}
    rows = [*run["curves"], *([last] if run["numbers"] or not run["curves"] else [])]
    span = max(1, rows[-1]["step"])
    length = run["ended_ms"] - run["began_ms"]
    times = [datetime.fromtimestamp((run["began_ms"] + length * row["step"] / span) / 1000, UTC).isoformat() for row in rows]
    SQLiteStorage.delete_run(name, run["name"], run_id=run["id"][:16])
    SQLiteStorage.bulk_log(
        name,
        run["name"],
        [{key: value for key, value in row.items() if key != "step"} for row in rows],
        steps=[int(row["step"]) for row in rows],
        timestamps=times,
        config={**run["settings"], **run["tags"]},
        run_id=run["id"][:16],
    )
    return f"TRACKIO_DIR={place} trackio show --project {name}"
