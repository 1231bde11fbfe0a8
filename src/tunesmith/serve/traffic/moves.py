"""Moves of aliases: kept in the database, taken back by one command, and there again after a restart."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection

from sqlalchemy import Connection, insert, select

from tunesmith.core.errors import StorageError
from tunesmith.serve.errors import ApiError
from tunesmith.serve.feedback.database import Database
from tunesmith.serve.feedback.recording import Log
from tunesmith.serve.feedback.tables import moves
from tunesmith.serve.registry import LIVE, Registry

__all__ = ["Moves", "history"]


class Moves:
    """What moved when. A roll-back goes to the version before, a further one to the version before that."""

    def __init__(self, database: Database, registry: Registry, log: Log) -> None:
        self._database, self._registry, self._log = database, registry, log
        self._one_at_a_time = asyncio.Lock()

    async def note(self, model: str, alias: str, before: str | None, after: str, why: str) -> None:
        """Keep a move that was made; returns when it is on disk."""
        row = {"at": time.time(), "model": model, "alias": alias, "before": before, "after": after, "why": why}

        def work(connection: Connection) -> None:
            connection.execute(insert(moves).values(row))

        try:
            await asyncio.wrap_future(self._database.write(work))
        except StorageError:
            if before is not None:  # a move that a restart would forget is not made
                self._registry.set_alias(model, alias, before)
            raise

    async def back(self, model: str, alias: str = LIVE, *, why: str = "") -> tuple[str, str]:
        """Move an alias to the version that it meant before; (from, to). Requests in work end on the version they began with.

        ApiError 404 or 409 if there is no such model, no move to take back, or the version is not loaded here.
        """
        async with self._one_at_a_time:
            now = self._registry.resolve(f"{model}@{alias}").id
            known = await asyncio.to_thread(self._history, model, alias)
            if len(known) < 2 or known[-1] != now:
                what = f"no move of {model}@{alias} is known that could be taken back"
                raise ApiError(409, what, code="nothing_to_roll_back")
            version = self._registry.resolve(f"{model}@{known[-2]}")
            await version.engine.prepare(version.target)
            self._registry.set_alias(model, alias, version.id)
            await self.note(model, alias, now, version.id, why)
        self._log("rollback", model=model, alias=alias, before=now, version=version.id, why=why)
        return now, version.id

    def restore(self, explicit: Collection[tuple[str, str]]) -> None:
        """Let aliases mean what they meant when the last server ended, where that version is here. `explicit`: names and
        aliases that the command line sets, which stay as they are."""
        with self._database.read() as connection:
            rows = connection.execute(select(moves.c.model, moves.c.alias, moves.c.after).order_by(moves.c.seq)).all()
        here = {(version.name, version.id) for version in self._registry}
        for model, alias, after in {(row.model, row.alias): row for row in rows}.values():
            if (model, after) in here and (model, alias) not in explicit:
                before = self._registry.set_alias(model, alias, after)
                if before != after:
                    self._log("alias", model=model, alias=alias, before=before, version=after, why="as before the restart")

    def _history(self, model: str, alias: str) -> list[str]:
        with self._database.read() as connection:
            wanted = (moves.c.model == model) & (moves.c.alias == alias)
            rows = connection.execute(select(moves.c.before, moves.c.after).where(wanted).order_by(moves.c.seq)).all()
        return history([(row.before, row.after) for row in rows])


def history(made: Collection[tuple[str | None, str]]) -> list[str]:
    """The versions to which one could go back, the last one first of all in force: a move to the version before takes the
    last move back."""
    stack: list[str] = []
    for before, after in made:
        if before is not None and (not stack or stack[-1] != before):
            stack.append(before)
        if len(stack) > 1 and stack[-2] == after:
            stack.pop()
        elif not stack or stack[-1] != after:
            stack.append(after)
    return stack
