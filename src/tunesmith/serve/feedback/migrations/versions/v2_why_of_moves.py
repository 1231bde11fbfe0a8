"""Version 2: who moved an alias, as the weights of splits have it already."""

from __future__ import annotations

from alembic import op
from sqlalchemy import Column, Text

__all__ = ["upgrade"]

revision = "2"
down_revision = "1"


def upgrade() -> None:
    """Add `why` to the moves; those made before have none."""
    op.add_column("tunesmith_moves", Column("why", Text, nullable=False, server_default=""))
    op.execute("UPDATE tunesmith_about SET value = '2' WHERE name = 'schema'")
