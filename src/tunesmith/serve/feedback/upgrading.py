"""Tables of an older version are brought up to date by Alembic, in one transaction; a SQLite file is copied first."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path
from threading import Lock

from sqlalchemy import Connection, inspect

from tunesmith.core.disk import DISK
from tunesmith.core.files import storage_errors
from tunesmith.serve.feedback.tables import VERSION_TABLE

__all__ = ["copies_of", "copy_file", "upgrade"]

_ALEMBIC = Lock()  # it works on global names


def upgrade(connection: Connection, *, from_version: int) -> None:
    """Make the tables (from version 0), or change them to what `tables.py` says.

    The caller holds the database's lock in a transaction: what is not committed leaves the old tables as they were.
    """
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    config.attributes["connection"] = connection
    with _ALEMBIC:
        if from_version and not inspect(connection).has_table(VERSION_TABLE):
            command.stamp(config, str(from_version))  # version 1 was made without Alembic
        command.upgrade(config, "head")


def copy_file(file: Path, *, version: int) -> Path:
    """Copy a SQLite file as it is committed now, to a file that is named for its version; returns that.

    Raises StorageError if the disk takes no copy; nothing has been changed then.
    """
    copy = file.with_name(f"{file.name}.version-{version}")
    temporary = copy.with_name(f"{copy.name}.{os.getpid()}")
    with storage_errors("copying the database before its tables are changed", copy, safe="The database is as it was."):
        try:
            with closing(sqlite3.connect(file)) as source, closing(sqlite3.connect(temporary)) as target:
                source.backup(target)
            DISK.sync(temporary)
            DISK.rename(temporary, copy)
            DISK.sync(copy.parent)
        finally:
            temporary.unlink(missing_ok=True)
    return copy


def copies_of(file: Path) -> list[Path]:
    """The copies that `copy_file` made of a file, half-made ones as well."""
    return sorted(one for one in file.parent.iterdir() if one.name.startswith(f"{file.name}.version-"))
