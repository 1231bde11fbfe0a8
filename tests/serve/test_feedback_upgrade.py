"""Databases of an older version: brought up to date once, whole or not at all, after a copy; newer ones are left alone."""

from __future__ import annotations

import itertools
import os
import resource
import signal
import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import alembic.op
import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from database_of_version_1 import SALT, plant
from postgres_cluster import postgres
from sqlalchemy import create_engine, select, text

from tunesmith.api.feedback import forget_feedback
from tunesmith.core.errors import StorageError
from tunesmith.serve.feedback.database import Database, open_database, url_of
from tunesmith.serve.feedback.tables import SCHEMA, TABLES, VERSION_TABLE, about, answers, moves
from tunesmith.serve.feedback.upgrading import upgrade

NUMBERS = itertools.count()
pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    with postgres() as address:
        yield address


@pytest.fixture(params=["sqlite", "postgresql"])
def old(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of a database as version 1 left it."""
    address = str(tmp_path / "serve.db")
    if request.param == "postgresql":
        server, name = request.getfixturevalue("cluster"), f"old{next(NUMBERS)}"
        with psycopg.connect(server, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}".encode())
        address = server.replace("/postgres?", f"/{name}?")
    plant(address)
    return address


def facts(database: Database) -> dict[str, Any]:
    with database.read() as connection:
        found = {"version": connection.execute(select(about.c.value).where(about.c.name == "schema")).scalar()}
        found["prompts"] = connection.execute(select(answers.c.prompt)).scalars().all()
        found["moves"] = [tuple(row) for row in connection.execute(select(moves.c.model, moves.c.after, moves.c.why))]
        compared = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
        found["differences"] = compare_metadata(compared, TABLES)
    return found


def plainly(address: str, statement: str) -> Any:
    """What a statement gives, without Tunesmith."""
    engine = create_engine(url_of(address))
    with engine.begin() as connection:
        done = connection.execute(text(statement))
        found = done.scalar() if done.returns_rows else None
    engine.dispose()
    return found


VERSION = "SELECT value FROM tunesmith_about WHERE name = 'schema'"


def test_an_older_database_is_brought_up_to_date_and_keeps_what_it_has(old: str) -> None:
    for was in (1, 0):
        database = open_database(old, make=False)
        assert database._salt.hex() == SALT and database.was == was
        found = facts(database)
        database.close()
        assert found == {
            "version": str(SCHEMA),
            "prompts": ['"zanzibar-4711"'],
            "moves": [("mine", "v2", "")],
            "differences": [],
        }
    if "://" not in old:
        copy = Path(f"{old}.version-1")
        assert plainly(str(copy), VERSION) == "1"
        assert plainly(str(copy), "SELECT prompt FROM tunesmith_answers") == '"zanzibar-4711"'


def test_a_new_database_has_the_tables_of_the_code_and_a_table_that_differs_is_seen(old: str, tmp_path: Path) -> None:
    plainly(old, "DROP TABLE tunesmith_feedback")
    database = open_database(old)
    assert [change[0] for change in facts(database)["differences"]] == ["add_table", "add_index"]
    database.close()
    new = open_database(tmp_path / "new.db")
    assert facts(new)["differences"] == [] and not list(tmp_path.glob("new.db.version*"))
    new.close()


def test_a_newer_database_is_refused_and_left_as_it_is(old: str) -> None:
    plainly(old, "UPDATE tunesmith_about SET value = '99' WHERE name = 'schema'")
    with pytest.raises(StorageError, match="newer version") as caught:
        open_database(old)
    problem = caught.value.problems[0]
    assert "99" in str(problem.value) and f"1 to {SCHEMA}" in problem.expected and problem.hint
    assert plainly(old, VERSION) == "99"


def test_servers_that_open_one_database_at_once_upgrade_it_once(old: str, monkeypatch: pytest.MonkeyPatch) -> None:
    upgrades: list[int] = []

    def counted(*arguments: Any, **named: Any) -> None:
        upgrades.append(1)
        upgrade(*arguments, **named)

    monkeypatch.setattr("tunesmith.serve.feedback.database.upgrade", counted)
    with ThreadPoolExecutor(4) as pool:
        for database in pool.map(open_database, [old] * 4):
            assert facts(database)["differences"] == []
            database.close()
    assert len(upgrades) == 1


@pytest.mark.parametrize("planted", [False, True], ids=["as it is", "planted"])
def test_an_upgrade_that_is_killed_half_way_leaves_the_old_database_and_the_next_one_succeeds(old: str, planted: bool) -> None:
    child = os.fork()
    if child == 0:
        _upgrade_and_die(old, commits=planted)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    assert plainly(old, VERSION) == "1"
    if planted:  # a change that was committed by itself cannot be made again
        with pytest.raises(StorageError, match="why"):
            open_database(old)
        return
    assert plainly(old, "SELECT count(*) FROM tunesmith_answers") == 1
    database = open_database(old)
    assert facts(database)["version"] == str(SCHEMA)
    database.close()


def _upgrade_and_die(address: str, *, commits: bool) -> None:
    try:
        real = alembic.op.add_column

        def half(*arguments: Any, **named: Any) -> None:
            real(*arguments, **named)
            if commits:
                alembic.op.execute("COMMIT")
            os.kill(os.getpid(), signal.SIGKILL)

        alembic.op.add_column = half
        open_database(address)
    finally:
        os._exit(1)


def test_a_disk_that_takes_no_copy_stops_the_upgrade_before_it_begins(tmp_path: Path) -> None:
    file = tmp_path / "serve.db"
    plant(str(file))
    child = os.fork()
    if child == 0:
        code = 1
        try:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (8192, 8192))
            open_database(file)
        except StorageError:
            code = 42
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 42
    assert plainly(str(file), VERSION) == "1" and [one.name for one in tmp_path.glob("*version*")] == []


def test_what_is_forgotten_goes_from_the_copy_as_well(tmp_path: Path) -> None:
    file = tmp_path / "serve.db"
    plant(str(file))
    open_database(file).close()
    held = [one for one in tmp_path.iterdir() if b"zanzibar-4711" in one.read_bytes()]
    assert {one.name for one in held} >= {"serve.db", "serve.db.version-1"}
    assert forget_feedback(since="2000-01-01", database=file).answers == 1
    assert not [one for one in tmp_path.iterdir() if b"zanzibar-4711" in one.read_bytes()]
    with sqlite3.connect(file) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
