"""The events of a pipeline, kept for programs: what happened in which order, and what came out."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from tunesmith.core.reporter import Event, SilentReporter, StageDone, VerdictReached

__all__ = ["EventLog", "page_of"]


class EventLog(SilentReporter):
    """A reporter that keeps every event. Give it to `run` or `open_project`, alone or with another in `SeveralReporters`."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def event(self, event: Event) -> None:
        """Keep it."""
        self.events.append(event)

    def done(self, kind: str) -> StageDone:
        """The artifact of a stage. KeyError if that stage is not done."""
        for event in reversed(self.events):
            if isinstance(event, StageDone) and event.kind == kind:
                return event
        raise KeyError(kind)

    @property
    def verdict(self) -> VerdictReached:
        """The verdict. KeyError if there is none yet."""
        for event in reversed(self.events):
            if isinstance(event, VerdictReached):
                return event
        raise KeyError("verdict")

    def as_dicts(self) -> list[dict[str, Any]]:
        """Every event as JSON would hold it, its class as `event`."""
        return [{"event": type(event).__name__, **asdict(event)} for event in self.events]


def page_of(path: str) -> str:
    """What to open of an artifact: its page, or the folder where it has none."""
    page = Path(path) / "report.html"
    return str(page if page.is_file() else path)
