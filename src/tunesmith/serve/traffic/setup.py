"""What stands between the routes and the engines: feedback, and who gets which model. One object that the server opens."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fastapi import FastAPI

from tunesmith.core.errors import ModelError, Problem, RecipeError, StorageError
from tunesmith.serve.errors import ApiError
from tunesmith.serve.feedback.database import Database, open_database
from tunesmith.serve.feedback.forgetting import drop_texts
from tunesmith.serve.feedback.recording import Recording
from tunesmith.serve.feedback.routes import add_feedback_route
from tunesmith.serve.feedback.tables import SCHEMA
from tunesmith.serve.observing import Observer
from tunesmith.serve.pipeline import Pipeline, Stage
from tunesmith.serve.registry import Registry
from tunesmith.serve.traffic.canary import Canaries, Rule
from tunesmith.serve.traffic.domain import open_router
from tunesmith.serve.traffic.fallback import Fallback, Link
from tunesmith.serve.traffic.file import CanarySection, TrafficFile
from tunesmith.serve.traffic.meanings import meanings_of
from tunesmith.serve.traffic.moves import Moves
from tunesmith.serve.traffic.routes import add_traffic_routes
from tunesmith.serve.traffic.routing import Route, Routing
from tunesmith.serve.traffic.shadow import Shadow
from tunesmith.serve.traffic.split import Splits

__all__ = ["Traffic", "TrafficSettings", "open_traffic"]

_EVERY_S = 6 * 3600.0  # how often old texts are looked for
_CLOCK_S = 3600.0  # by which the clock may have been set between two looks


@dataclass(frozen=True, slots=True, kw_only=True)
class TrafficSettings:
    """`database`: a file for SQLite, or the address of a PostgreSQL. `capture`: keep prompts and answers, for `keep_days` days
    (0: until they are forgotten), and, with `redact`, without the secrets and personal data that the checks find."""

    database: str | Path
    capture: bool = False
    keep_days: float = 0.0
    redact: bool = True
    file: TrafficFile = field(default_factory=TrafficFile)


@dataclass(slots=True)
class Traffic:
    """The open parts. `stages`: for the pipeline, from the outermost."""

    settings: TrafficSettings
    database: Database
    observer: Observer
    stages: Sequence[Stage]
    recording: Recording
    splits: Splits
    moves: Moves
    shadow: Shadow
    canaries: Canaries
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)

    def add_routes(self, app: FastAPI) -> None:
        """Add the routes of feedback and traffic."""
        add_feedback_route(app, self.recording, redacted=self.settings.redact)
        add_traffic_routes(app, self.splits, self.moves)

    def start(self, pipeline: Pipeline) -> None:
        """Begin what runs by the clock, inside the event loop, and hear of moves of aliases."""
        pipeline.moved = self.moves.note
        pipeline.meanings = lambda: meanings_of(self.settings.file, self.splits.now, pipeline.registry)
        running: list[Coroutine[Any, Any, None]] = [self.moves.follow()]
        if self.splits.now:
            running.append(self.splits.follow())
        if self.settings.keep_days:
            running.append(self._drop_old())
        if self.settings.file.canary:
            running.append(self.canaries.watch())
        if self.settings.file.shadow:
            running.append(self.shadow.work(pipeline))
        self._tasks += [asyncio.ensure_future(one) for one in running]

    async def close(self) -> None:
        """End it, and write what waits."""
        for task in self._tasks:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        await asyncio.to_thread(self.database.close)

    async def _drop_old(self) -> None:
        set_off = time.time() - time.monotonic()
        while True:
            set_off = await asyncio.to_thread(self.drop_old, set_off)
            await asyncio.sleep(_EVERY_S)

    def drop_old(self, set_off: float) -> float:
        """Erase old texts once, unless the clock was set since the last time: a wrong clock would erase what is new.

        `set_off`: seconds from the monotonic clock to the clock, as they were then; returned as they are now.
        """
        now = time.time() - time.monotonic()
        days = self.settings.keep_days
        try:
            if abs(now - set_off) > _CLOCK_S:
                self.observer.log("retention", rows=0, days=days, skipped=f"the clock jumped by {now - set_off:.0f} s")
            else:
                self.observer.log("retention", rows=drop_texts(self.database, days=days), days=days)
        except StorageError as error:
            self.observer.log("retention", failed=str(error)[:300])
        return now


def open_traffic(
    settings: TrafficSettings, observer: Observer, registry: Registry, explicit: Collection[tuple[str, str]] = ()
) -> Traffic:
    """Open the database and make the stages. `explicit`: names and aliases that the caller set.

    Raises StorageError for a database that cannot be used, ModelError for
    models that are not served, RecipeError for a shadow without capture.
    """
    database = open_database(settings.database)
    if database.was:
        observer.log("database", version=SCHEMA, was=database.was, place=database.shown)
    recording = Recording(database, texts=settings.capture, redacted=settings.redact, log=observer.log)
    file, log = settings.file, observer.log
    splits, moves = Splits(database, registry, log), Moves(database, registry, log)
    rules = {name: _rule(section) for name, section in file.canary.items()}
    try:
        _check(settings, registry)
        routes = {n: Route(open_router(Path(one.router)), one.inside, one.outside) for n, one in file.route.items()}
        moves.restore(explicit)
        splits.begin({**file.ab, **{name: rule.arms(rule.steps[0]) for name, rule in rules.items()}})
    except ApiError as error:
        database.close()
        raise ModelError(
            "the traffic file names what is not served",
            value=error.message,
            expected="models of this server",
            hint="add it: tunesmith serve … NAME=REFERENCE",
        ) from error
    except BaseException:
        database.close()
        raise
    chains = {name: [Link(one.model, one.seconds, one.stall) for one in links] for name, links in file.fallback.items()}
    shadow = Shadow(file.shadow, recording, log)
    stages: list[Stage] = [recording, splits, Routing(routes), shadow, Fallback(chains, log)]
    return Traffic(
        settings, database, observer, stages, recording, splits, moves, shadow, Canaries(rules, splits, database, log)
    )


def _rule(one: CanarySection) -> Rule:
    return Rule(stable=one.stable, canary=one.canary, steps=one.steps, answers=one.answers, most_failed=one.most_failed)


def _check(settings: TrafficSettings, registry: Registry) -> None:
    """ApiError for a model that is not here, RecipeError for a shadow whose answers would not be kept."""
    file = settings.file
    sides = [model for one in file.route.values() for model in (one.inside, one.outside)]
    shown = [name for name in file.shadow if name not in file.fallback]  # a shadow of what never answers would do nothing
    for model in (*shown, *file.shadow.values(), *sides, *(link.model for chain in file.fallback.values() for link in chain)):
        registry.resolve(model)
    if file.shadow and not settings.capture:
        raise RecipeError(
            [
                Problem(
                    what="the answers of a shadow would be thrown away",
                    value=next(iter(file.shadow)),
                    expected="prompts and answers to be kept",
                    hint="tunesmith serve … --traffic FILE --capture",
                )
            ]
        )
