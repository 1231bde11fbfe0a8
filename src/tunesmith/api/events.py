"""The events of a pipeline run, stored in order for programs."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from tunesmith.core.reporter import Event, SilentReporter, StageDone, VerdictReached
from tunesmith.pipeline.words import page_of

__all__ = ["EventLog", "page_of"]


class EventLog(SilentReporter):
    """A reporter that stores every event. Pass it to `run` or `open_project`, alone or with others in `SeveralReporters`."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def event(self, event: Event) -> None:
        """Store the event."""
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
        """Every event as plain values for JSON, with its class name as `event`."""
        return [{"event": type(event).__name__, **asdict(event)} for event in self.events]
