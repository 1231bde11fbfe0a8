"""What stands between the routes and the engines: feedback, and who gets which model. One object that the server opens."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from fastapi import FastAPI

from tunesmith.core.errors import StorageError
from tunesmith.serve.feedback.database import Database, open_database
from tunesmith.serve.feedback.forgetting import drop_texts
from tunesmith.serve.feedback.recording import Recording
from tunesmith.serve.feedback.routes import add_feedback_route
from tunesmith.serve.observing import Observer
from tunesmith.serve.pipeline import Stage

__all__ = ["Traffic", "TrafficSettings", "open_traffic"]

_EVERY_S = 6 * 3600.0  # how often old texts are looked for


@dataclass(frozen=True, slots=True, kw_only=True)
class TrafficSettings:
    """`database`: a file for SQLite, or the address of a PostgreSQL. `capture`: keep prompts and answers, for `keep_days` days
    (0: until they are forgotten), and, with `redact`, without the secrets and personal data that the checks find."""

    database: str | Path
    capture: bool = False
    keep_days: float = 0.0
    redact: bool = True


@dataclass(slots=True)
class Traffic:
    """The open parts. `stages`: for the pipeline, from the outermost."""

    settings: TrafficSettings
    database: Database
    observer: Observer
    stages: Sequence[Stage]
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)

    def add_routes(self, app: FastAPI) -> None:
        """Add the routes of feedback."""
        add_feedback_route(app, self.database, redacted=self.settings.redact)

    def start(self) -> None:
        """Begin what runs by the clock, inside the event loop."""
        if self.settings.keep_days:
            self._tasks.append(asyncio.ensure_future(self._drop_old()))

    async def close(self) -> None:
        """End it, and write what waits."""
        for task in self._tasks:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        await asyncio.to_thread(self.database.close)

    async def _drop_old(self) -> None:
        while True:
            try:
                count = await asyncio.to_thread(drop_texts, self.database, days=self.settings.keep_days)
                self.observer.log("retention", rows=count, days=self.settings.keep_days)
            except StorageError as error:
                self.observer.log("retention", failed=str(error)[:300])
            await asyncio.sleep(_EVERY_S)


def open_traffic(settings: TrafficSettings, observer: Observer) -> Traffic:
    """Open the database and make the stages. StorageError for a database that cannot be used."""
    database = open_database(settings.database)
    recording = Recording(database, texts=settings.capture, redacted=settings.redact, log=observer.log)
    return Traffic(settings, database, observer, [recording])
