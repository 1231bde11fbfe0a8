"""What Alembic runs for a command: on the connection, and in the transaction, that it was given."""

from __future__ import annotations

from alembic import context

from tunesmith.serve.feedback.tables import TABLES, VERSION_TABLE

__all__ = ["run"]


def run() -> None:
    """Do the work of the command. The caller commits."""
    context.configure(connection=context.config.attributes["connection"], target_metadata=TABLES, version_table=VERSION_TABLE)
    with context.begin_transaction():
        context.run_migrations()


if __name__ == "env_py":  # the name under which Alembic loads it
    run()
