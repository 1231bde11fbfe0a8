"""Moves of aliases: kept in the database, taken back by one command, known to all servers on it, and there after a restart."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Sequence

from sqlalchemy import Connection, Row, insert, select

from tunesmith.core.errors import StorageError, TunesmithError
from tunesmith.serve.errors import ApiError
from tunesmith.serve.feedback.database import Database
from tunesmith.serve.feedback.recording import Log
from tunesmith.serve.feedback.tables import moves
from tunesmith.serve.registry import LIVE, Registry

__all__ = ["Moves", "history"]

_REFRESH_S = 1.0  # after which a move of another server is known


class Moves:
    """What moved when. A roll-back goes to the version before, a further one to the version before that."""

    def __init__(self, database: Database, registry: Registry, log: Log) -> None:
        self._database, self._registry, self._log = database, registry, log
        self._one_at_a_time = asyncio.Lock()
        self._seen = 0  # number of the last move in the database that was looked at
        self._noted = self._writing = 0  # moves of this process: begun or kept so far, and on their way to the disk

    async def note(self, model: str, alias: str, before: str | None, after: str, why: str) -> None:
        """Keep a move that was made; returns when it is on disk."""
        row = {"at": time.time(), "model": model, "alias": alias, "before": before, "after": after, "why": why}

        def work(connection: Connection) -> None:
            connection.execute(insert(moves).values(row))

        self._noted, self._writing = self._noted + 1, self._writing + 1
        try:
            await asyncio.wrap_future(self._database.write(work))
        except StorageError:
            if before is not None:  # a move that a restart would forget is not made
                self._registry.set_alias(model, alias, before)
            raise
        finally:
            self._noted, self._writing = self._noted + 1, self._writing - 1

    async def follow(self) -> None:
        """Take in what other servers on this database move, until cancelled."""
        while True:
            await asyncio.sleep(_REFRESH_S)
            try:
                await self.take_in()
            except (ApiError, TunesmithError) as error:
                self._log("alias", failed=str(error)[:300])

    async def take_in(self) -> None:
        """Let aliases mean what the last move of any server says, where that version is here."""
        noted, begin = self._noted, self._seen
        rows = await asyncio.to_thread(self._after, begin)
        here = {(version.name, version.id): version for version in self._registry}
        for row in {(row.model, row.alias): row for row in rows}.values():
            version = here.get((row.model, row.after))
            if version is not None:
                await version.engine.prepare(version.target)
                if self._writing or noted != self._noted:  # a move of ours may be the later one: looked at again
                    return
                before = self._registry.set_alias(row.model, row.alias, row.after)
                if before != row.after:
                    what = {"model": row.model, "alias": row.alias, "before": before, "version": row.after}
                    self._log("alias", **what, why="as another server says")
        self._seen = max((row.seq for row in rows), default=begin)

    def _after(self, seq: int) -> Sequence[Row[int, str, str, str]]:
        with self._database.read() as connection:
            wanted = select(moves.c.seq, moves.c.model, moves.c.alias, moves.c.after).where(moves.c.seq > seq)
            return connection.execute(wanted.order_by(moves.c.seq)).all()

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
        rows = self._after(0)
        self._seen = max((row.seq for row in rows), default=0)
        here = {(version.name, version.id) for version in self._registry}
        for _, model, alias, after in {(row.model, row.alias): row for row in rows}.values():
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
