"""Version 1: the tables with which `tunesmith serve` began."""

from __future__ import annotations

from alembic import op
from sqlalchemy import BigInteger, Boolean, Column, Float, ForeignKey, Integer, String, Text

__all__ = ["upgrade"]

revision = "1"
down_revision = None
_COUNTER = BigInteger().with_variant(Integer, "sqlite")


def _counter() -> Column[int]:
    return Column("seq", _COUNTER, primary_key=True, autoincrement=True)


def upgrade() -> None:
    """Make them."""
    about = op.create_table(
        "tunesmith_about",
        Column("name", String(40), primary_key=True),
        Column("value", Text, nullable=False),
    )
    op.create_table(
        "tunesmith_answers",
        _counter(),
        Column("id", String(64), nullable=False, unique=True),
        Column("at", Float, nullable=False),
        Column("model", String(160), nullable=False),
        Column("split", String(64)),
        Column("period", Integer),
        Column("arm", String(160)),
        Column("user", String(64)),
        Column("unit", String(64)),
        Column("shadow_of", String(64)),
        Column("failed", Boolean, nullable=False),
        Column("prompt", Text),
        Column("answer", Text),
    )
    op.create_table(
        "tunesmith_feedback",
        _counter(),
        Column("key", String(128), nullable=False, unique=True),
        Column("digest", String(64), nullable=False),
        Column("answer_id", String(64), ForeignKey("tunesmith_answers.id", ondelete="CASCADE"), nullable=False),
        Column("at", Float, nullable=False),
        Column("thumb", String(4)),
        Column("score", Float),
        Column("tag", String(64)),
        Column("correction", Text),
        Column("text", Text),
    )
    op.create_table(
        "tunesmith_splits",
        _counter(),
        Column("name", String(64), nullable=False),
        Column("at", Float, nullable=False),
        Column("arms", Text, nullable=False),
        Column("why", Text, nullable=False),
    )
    op.create_table(
        "tunesmith_moves",
        _counter(),
        Column("at", Float, nullable=False),
        Column("model", String(64), nullable=False),
        Column("alias", String(64), nullable=False),
        Column("before", String(64)),
        Column("after", String(64), nullable=False),
    )
    op.create_index("tunesmith_answers_split", "tunesmith_answers", ["split", "seq"])
    op.create_index("tunesmith_answers_user", "tunesmith_answers", ["user"])
    op.create_index("tunesmith_answers_shadow", "tunesmith_answers", ["shadow_of"])
    op.create_index("tunesmith_feedback_answer", "tunesmith_feedback", ["answer_id"])
    op.create_index("tunesmith_splits_name", "tunesmith_splits", ["name", "seq"])
    op.create_index("tunesmith_moves_model", "tunesmith_moves", ["model", "alias", "seq"])
    op.bulk_insert(about, [{"name": "schema", "value": "1"}])
