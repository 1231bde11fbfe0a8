"""Erasing: rows go, and with them their bytes in the database's files."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, and_, delete, or_, select, text, update

from tunesmith.core.errors import StorageError
from tunesmith.core.files import storage_errors
from tunesmith.serve.feedback.database import Database, failures
from tunesmith.serve.feedback.tables import answers, feedback
from tunesmith.serve.feedback.upgrading import copies_of

__all__ = ["Erased", "drop_texts", "erase_bytes", "forget"]


@dataclass(frozen=True, slots=True)
class Erased:
    """How many rows were erased."""

    answers: int
    feedback: int


def forget(database: Database, *, user: str = "", since: float | None = None) -> Erased:
    """Erase the answers given to a user, or given since a time (seconds since 1970), or both at once, and their feedback.

    Shadows of these answers go as well, and feedback given since then. StorageError if the bytes could not be erased.
    """
    conditions: list[Any] = [answers.c.user == database.user_hash(user)] if user else []
    if since is not None:
        conditions.append(answers.c.at >= since)
    if not conditions:
        raise StorageError(
            "it is not said what to forget", value="", expected="a user or a time", hint="tunesmith feedback forget --user NAME"
        )

    def work(connection: Connection) -> Erased:
        own = select(answers.c.id).where(and_(*conditions))
        gone: Any = feedback.c.answer_id.in_(own)
        if since is not None and not user:
            gone = or_(gone, feedback.c.at >= since)
        said = connection.execute(delete(feedback).where(gone)).rowcount
        connection.execute(delete(answers).where(answers.c.shadow_of.in_(own)))
        given = connection.execute(delete(answers).where(and_(*conditions))).rowcount
        return Erased(given, said)

    erased = database.write(work).result()
    erase_bytes(database)
    return erased


def drop_texts(database: Database, *, days: float) -> int:
    """Erase prompts, answers, corrections and texts that are older than so many days.

    Ids, models, hashes of users, and scores stay. Returns the number of rows that had any.
    """
    limit = time.time() - days * 86400

    def work(connection: Connection) -> int:
        old = and_(answers.c.at < limit, or_(answers.c.prompt.is_not(None), answers.c.answer.is_not(None)))
        count = connection.execute(update(answers).where(old).values(prompt=None, answer=None)).rowcount
        said = and_(feedback.c.at < limit, or_(feedback.c.correction.is_not(None), feedback.c.text.is_not(None)))
        return int(count + connection.execute(update(feedback).where(said).values(correction=None, text=None)).rowcount)

    count = database.write(work).result()
    if count:
        erase_bytes(database)
    return count


def erase_bytes(database: Database) -> None:
    """Rewrite the files without what was deleted.

    SQLite: `secure_delete` has overwritten it already; VACUUM writes the file new, the log is emptied, and copies made before
    an upgrade are removed. PostgreSQL: VACUUM FULL writes the tables new; its own log, replicas and backups are out of reach.
    """
    with failures(database.shown):
        if database.engine.dialect.name == "postgresql":
            with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
                for table in (feedback, answers):
                    connection.execute(text(f"VACUUM FULL {table.name}"))
            return
        file = Path(database.engine.url.database or "")
        with storage_errors("erasing what was forgotten", file):
            for copy in copies_of(file):
                copy.unlink(missing_ok=True)
        raw = database.engine.raw_connection()
        try:
            cursor = raw.cursor()
            cursor.execute("VACUUM")
            busy = cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
        finally:
            raw.close()
    if busy:
        raise StorageError(
            "the rows are deleted, but another program reads the database, so that their bytes are still in its log",
            value=database.shown,
            expected="no reader for a moment",
            hint="close what reads the database, then type the same command again",
        )
