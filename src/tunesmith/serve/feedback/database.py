"""The database: SQLite in WAL mode by default, PostgreSQL by address. One thread writes, many requests at a time.

What is acknowledged is committed, and synced to the disk by the database (`synchronous=FULL`, PostgreSQL's own
default). Works that arrive together share one commit, so that the cost of a sync is shared as well.
"""

from __future__ import annotations

import hashlib
import hmac
import queue
import secrets
import sqlite3
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, TypeVar

from filelock import FileLock, Timeout
from sqlalchemy import Connection, Engine, create_engine, event, insert, inspect, select, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError

from tunesmith.core.errors import StorageError
from tunesmith.serve.feedback.tables import SCHEMA, about
from tunesmith.serve.feedback.upgrading import copy_file, upgrade

__all__ = ["Database", "failures", "open_database", "url_of"]

T = TypeVar("T")
_AT_ONCE = 500  # works in one commit
_MOST_WAITING = 20_000
_BUSY_MS = 30_000
_LOCK = 0x74756E65  # of PostgreSQL, while tables are made
_Work = tuple[Callable[[Connection], Any], "Future[Any]"]


def url_of(where: str | Path) -> str:
    """The address of a database: an address as it is, a file's path as SQLite's. `postgresql://` means psycopg."""
    words = str(where)
    if "://" not in words:
        return f"sqlite:///{Path(words).absolute()}"
    for short in ("postgres://", "postgresql://"):
        if words.startswith(short):
            return "postgresql+psycopg://" + words.removeprefix(short)
    return words


class Database:
    """An open database. `read` gives a connection; `write` hands a work to the writing thread and returns its future.
    `was`: the version of its tables before they were brought up to date now; 0 if they were made, or were up to date."""

    def __init__(self, engine: Engine, salt: bytes, was: int = 0) -> None:
        self.engine, self._salt, self.was = engine, salt, was
        self._waiting: queue.Queue[_Work | None] = queue.Queue()
        self._thread = threading.Thread(target=self._write_all, name="feedback", daemon=True)
        self._thread.start()

    @property
    def shown(self) -> str:
        """The address without its password."""
        return self.engine.url.render_as_string(hide_password=True)

    @property
    def full(self) -> bool:
        """Whether so much waits to be written that the disk must be stuck."""
        return self._waiting.qsize() >= _MOST_WAITING

    def user_hash(self, user: str) -> str:
        """A user's name as it is stored: HMAC-SHA-256 under the database's own salt, in hex. Empty stays empty."""
        return hmac.new(self._salt, user.encode(), hashlib.sha256).hexdigest() if user else ""

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A connection to read with; what it sees is one consistent state."""
        with failures(self.shown), self.engine.connect() as connection, connection.begin():
            yield connection

    def write(self, work: Callable[[Connection], T]) -> Future[T]:
        """Run `work` in a transaction that it may share with others; its result comes once it is on disk.

        `work` may be run twice, if a neighbour failed; the first time is then undone. StorageError where the disk fails.
        """
        future: Future[T] = Future()
        self._waiting.put((work, future))
        return future

    def close(self) -> None:
        """Write what waits, then close."""
        self._waiting.put(None)
        self._thread.join()
        self.engine.dispose()

    def _write_all(self) -> None:
        while (first := self._waiting.get()) is not None:
            works, end = [first], False
            while len(works) < _AT_ONCE and not self._waiting.empty() and not end:
                following = self._waiting.get()
                end = following is None
                works += [following] if following is not None else []
            self._commit(works)
            if end:
                return

    def _commit(self, works: list[_Work]) -> None:
        works = [(work, future) for work, future in works if future.running() or future.set_running_or_notify_cancel()]
        try:
            with failures(self.shown), self.engine.connect().execution_options(write=True) as connection, connection.begin():
                results = [work(connection) for work, _ in works]
        except Exception as error:  # noqa: BLE001 (handed to whoever waits)
            if len(works) == 1:
                works[0][1].set_exception(error)
                return
            for one in works:  # each alone: the fault of one must not undo the others
                self._commit([one])
            return
        for (_, future), result in zip(works, results, strict=True):
            future.set_result(result)


def open_database(where: str | Path, *, make: bool = True) -> Database:
    """Open a database and, with `make`, make its tables where there are none. Tables of an older version are brought up to date
    first; of a SQLite file a copy is kept, `FILE.version-N`.

    Raises StorageError for one that cannot be reached, is of another program, or of a newer version of Tunesmith.
    """
    address = url_of(where)
    try:
        url = make_url(address)
        if url.get_backend_name() not in ("sqlite", "postgresql"):
            raise _bad(str(where), "an address of another kind of database")
        if url.get_backend_name() == "sqlite" and (url.database in (None, "", ":memory:") or url.query or "\0" in str(where)):
            raise _bad(str(where), "this is not the path of a file")
        pings = url.get_backend_name() == "postgresql"
        # The last one given back first: each connection of SQLite that is used has a cache of pages of its own.
        engine = create_engine(url, pool_size=8, max_overflow=8, pool_use_lifo=True, pool_pre_ping=pings)
    except (ArgumentError, NoSuchModuleError, ImportError, ValueError) as error:
        raise _bad(str(where), f"this address cannot be used ({error})") from error
    if url.get_backend_name() == "sqlite":
        _prepare_sqlite(engine, Path(url.database or ""), make=make)
    try:
        with failures(str(where)), engine.connect().execution_options(write=True) as connection, connection.begin():
            salt, was = _checked(connection, engine.url.render_as_string(), make=make)
    except BaseException:
        engine.dispose()
        raise
    return Database(engine, salt, was)


def _checked(connection: Connection, shown: str, *, make: bool) -> tuple[bytes, int]:
    """The salt, and `Database.was`, once the tables are ours and up to date. Who comes meanwhile waits for the lock."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
    there = set(inspect(connection).get_table_names())
    version = 0
    if about.name in there:
        version = _version(connection, shown)
    elif connection.dialect.name == "sqlite" and there:
        raise _bad(shown, "this database belongs to another program")
    elif not make:
        raise _bad(shown, "no server has written to this database")
    if version < SCHEMA:
        if version and connection.dialect.name == "sqlite":
            copy_file(Path(connection.engine.url.database or ""), version=version)
        upgrade(connection, from_version=version)
    if not version:
        connection.execute(insert(about).values(name="salt", value=secrets.token_hex(32)))
    salt = connection.execute(select(about.c.value).where(about.c.name == "salt")).scalar_one()
    return bytes.fromhex(salt), version if version < SCHEMA else 0


def _version(connection: Connection, shown: str) -> int:
    stated = connection.execute(select(about.c.value).where(about.c.name == "schema")).scalar() or ""
    if not stated.isdigit() or not 1 <= int(stated) <= SCHEMA:
        raise StorageError(
            "the tables of this database are of a newer version, or of none that is known",
            value=f"{shown}: {stated or 'no version'}",
            expected=f"version 1 to {SCHEMA}",
            hint="use the Tunesmith that wrote it, or begin a new database: tunesmith serve … --database NEW.db",
        )
    return int(stated)


def _prepare_sqlite(engine: Engine, file: Path, *, make: bool) -> None:
    if make:
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise _bad(str(file), f"its folder cannot be made ({error.strerror})") from error
    elif not file.is_file():
        raise _bad(str(file), "there is no such file")

    @event.listens_for(engine, "connect")
    def opened(connection: Any, _: Any) -> None:
        connection.isolation_level = None  # transactions are begun below, not by the driver
        for name, value in (
            ("busy_timeout", str(_BUSY_MS)),
            ("synchronous", "FULL"),
            ("secure_delete", "ON"),
            ("temp_store", "MEMORY"),
            ("foreign_keys", "ON"),
        ):
            connection.execute(f"PRAGMA {name}={value}")

    if make:
        _write_ahead(file)

    @event.listens_for(engine, "begin")
    def begun(connection: Connection) -> None:
        # A reader that becomes a writer may find the database changed; who will write says so at once and waits its turn.
        how = "BEGIN IMMEDIATE" if connection.get_execution_options().get("write") else "BEGIN"
        connection.exec_driver_sql(how)


def _write_ahead(file: Path) -> None:
    """Switch a file to WAL, which it then stays in. Where two connections switch at once, SQLite fails instead of waiting."""
    with (
        failures(str(file)),
        FileLock(f"{file}.lock", timeout=_BUSY_MS / 1000),
        closing(sqlite3.connect(file, timeout=_BUSY_MS / 1000)) as connection,
    ):
        connection.execute("PRAGMA journal_mode=WAL")


@contextmanager
def failures(shown: str) -> Iterator[None]:
    """A database's own errors as StorageError."""
    try:
        yield
    except (SQLAlchemyError, sqlite3.Error, Timeout, OSError) as error:
        raise _bad(shown, f"the database does not work: {str(getattr(error, 'orig', None) or error)[:300]}") from error


def _bad(shown: str, what: str) -> StorageError:
    return StorageError(
        what,
        value=shown,
        expected="a file for SQLite, or postgresql://USER@HOST/NAME, that can be read and written",
        hint="check the disk, the path and the rights, or take another one: --database FILE.db",
    )
