"""Mirroring finished runs to trackers, each in a process of its own: one that hangs or fails does no harm to a run.

Nothing is sent anywhere that is not named: telemetry of the trackers is switched off, all of them write to files of the project
unless an address is given, and a fence refuses connections to any other. A run is written once, however often it is mirrored.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import orjson

from tunesmith.core.errors import TrackerError, TunesmithError
from tunesmith.core.files import make_folders, storage_errors
from tunesmith.core.reporter import Event, Progress, SilentReporter, StageDone, VerdictReached
from tunesmith.ops.mirrors.following import FOLLOWED, Order, followed
from tunesmith.ops.mirrors.payload import payload_of
from tunesmith.ops.runs.row import RunRow, rows_of
from tunesmith.ops.runs.table import find_run
from tunesmith.pipeline.sections.tracking import TRACKERS, TrackingConfig

__all__ = ["MirrorReporter", "Mirrored", "mirror_rows"]

_LIMIT_S = 120.0
_EACH_S = 10.0
_QUIET = {
    **{"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "1", "GIT_PYTHON_REFRESH": "quiet", "HF_HUB_DISABLE_TELEMETRY": "1"},
    **{"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_TIMEOUT": "20", "MLFLOW_ENABLE_ASYNC_LOGGING": "false"},
    **{"WANDB_MODE": "offline", "WANDB_ERROR_REPORTING": "false", "WANDB_SILENT": "true", "GRADIO_ANALYTICS_ENABLED": "False"},
    **{"HF_HUB_OFFLINE": "1", "TRACKIO_SPACE_ID": "", "TRACKIO_SERVER_URL": "", "PYTHONWARNINGS": "ignore"},
}
_NOWHERE = {name: "http://127.0.0.1:9" for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy")}


@dataclass(frozen=True, slots=True, kw_only=True)
class Mirrored:
    """A run that a tracker holds now; `open`: how to see it. `refused`: places that the tracker tried to reach and was
    not let to, because nobody had named them."""

    id: str
    to: str
    open: str
    refused: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def mirror_rows(rows: Sequence[RunRow], tracking: TrackingConfig) -> list[Mirrored]:
    """Write finished runs to every tracker of `tracking`, in order.

    TrackerError for a tracker that is not installed, does not answer, or refuses: what was written before stays.
    ArtifactError for a run whose files do not match its manifest.
    """
    by_project: dict[str, list[RunRow]] = {}
    for row in rows:
        by_project.setdefault(row.project, []).append(row)
    return [one for tracker in tracking.to for own in by_project.values() for one in _send(own, tracker, tracking)]


class MirrorReporter(SilentReporter):
    """Mirrors the run of a project while it is trained, when it is trained, and again when it is judged. What fails becomes a
    warning."""

    def __init__(self, tracking: TrackingConfig, project: Path, *, warn: Callable[[str], None]) -> None:
        self._tracking, self._project, self._warn = tracking, project, warn
        self._run = ""

    def progress(self, name: str, *, total: float, unit: str, done: float = 0) -> Progress:
        """Followers of the run for as long as it is trained."""
        if name != "train":
            return super().progress(name, total=total, unit=unit, done=done)
        shown = [tracker for tracker in self._tracking.to if tracker in FOLLOWED and _is_installed(tracker)]
        return followed(self._project, [_order(tracker, self._project, self._tracking) for tracker in shown])

    def event(self, event: Event) -> None:
        """Mirror after training and after the verdict."""
        if isinstance(event, StageDone) and event.kind == "run":
            self._run = event.id
        elif not isinstance(event, VerdictReached) or not self._run:
            return
        for tracker in self._tracking.to:
            try:
                (done,) = _send([find_run(self._run, rows_of(self._project)[0])], tracker, self._tracking)
                if done.refused:
                    places = ", ".join(done.refused)
                    self._warn(f"{tracker} tried to reach {places}, which the recipe does not name: refused, nothing was sent")
            except TunesmithError as error:  # whatever a mirror cannot do, the run goes on
                problem = error.problems[0]
                self._warn(f"{problem.what}: {problem.value}; the run is not affected. Later: {problem.hint}")


def _is_installed(tracker: str) -> bool:
    return importlib.util.find_spec(TRACKERS[tracker]) is not None


def _order(tracker: str, project: Path, tracking: TrackingConfig) -> Order:
    """Where a tracker's process writes, and the environment in which it runs."""
    address = tracking.mlflow_url if tracker == "mlflow" else ""
    folder = (project / ".tunesmith" / "trackers").resolve()
    order = {"to": tracker, "folder": str(folder), "name": tracking.name, "address": address}
    return order, {**os.environ, **_QUIET, **({} if address else _NOWHERE)}


def _send(rows: Sequence[RunRow], tracker: str, tracking: TrackingConfig) -> list[Mirrored]:
    """Write runs of one project to one tracker, in one process."""
    again = f"tunesmith runs mirror {rows[0].id[:8] if len(rows) == 1 else ''}".rstrip() + f" --to {tracker}"
    if not _is_installed(tracker):
        raise TrackerError(
            f"{tracker} is not installed",
            value=TRACKERS[tracker],
            expected=f"the extra {tracker}",
            hint=f"pip install 'tunesmith[{tracker}]'; then {again}",
        )
    order, environment = _order(tracker, Path(rows[0].project), tracking)
    folder, address = Path(order["folder"]), str(order["address"])
    with storage_errors("writing a mirror", folder):
        make_folders(folder)
    whole = orjson.dumps({**order, "runs": [payload_of(row).as_dict() for row in rows]}) + b"\n"
    limit = _LIMIT_S + _EACH_S * len(rows)
    command = [sys.executable, "-m", "tunesmith.ops.mirrors.worker"]
    try:
        done = subprocess.run(command, input=whole, capture_output=True, timeout=limit, check=False, env=environment)
    except subprocess.TimeoutExpired as error:
        raise TrackerError(
            f"{tracker} did not finish in {limit:.0f} s", value=address or str(folder), expected="an answer", hint=again
        ) from error
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines() or ["no message"]
        raise TrackerError(
            f"{tracker} did not take the run", value=said[-1][:300], expected=f"{address or folder} to take it", hint=again
        )
    told = orjson.loads(done.stdout.strip().splitlines()[-1])
    return [Mirrored(id=row.id, to=tracker, open=told["open"], refused=tuple(told["refused"])) for row in rows]
