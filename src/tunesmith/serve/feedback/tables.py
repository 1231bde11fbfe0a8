"""The tables of the server's database. Users are kept as keyed hashes; texts only where capture is on."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Float, ForeignKey, Index, Integer, MetaData, String, Table, Text

__all__ = ["SCHEMA", "TABLES", "VERSION_TABLE", "about", "answers", "feedback", "moves", "splits"]

SCHEMA = 2
"""Version of these tables. An older database is brought up to it (`migrations/`), a newer one is refused."""

VERSION_TABLE = "tunesmith_version"
"""Alembic's own table."""

TABLES = MetaData()
_COUNTER = BigInteger().with_variant(Integer, "sqlite")

about = Table(
    "tunesmith_about",
    TABLES,
    Column("name", String(40), primary_key=True),
    Column("value", Text, nullable=False),
)
"""`schema`, and the `salt` of the hashes of users."""

answers = Table(
    "tunesmith_answers",
    TABLES,
    Column("seq", _COUNTER, primary_key=True, autoincrement=True),
    Column("id", String(64), nullable=False, unique=True),
    Column("at", Float, nullable=False),
    Column("model", String(160), nullable=False),  # NAME@VERSION
    Column("split", String(64)),
    Column("period", Integer),  # row of `splits` that was in force
    Column("arm", String(160)),
    Column("user", String(64)),
    Column("unit", String(64)),  # whose scores belong together: the user, or the answer itself
    Column("shadow_of", String(64)),
    Column("failed", Boolean, nullable=False, default=False),
    Column("prompt", Text),  # JSON: messages, or a text
    Column("answer", Text),
)
"""An answer that was begun; `prompt` and `answer` only with capture."""

feedback = Table(
    "tunesmith_feedback",
    TABLES,
    Column("seq", _COUNTER, primary_key=True, autoincrement=True),
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

splits = Table(
    "tunesmith_splits",
    TABLES,
    Column("seq", _COUNTER, primary_key=True, autoincrement=True),
    Column("name", String(64), nullable=False),
    Column("at", Float, nullable=False),
    Column("arms", Text, nullable=False),  # JSON: {model: weight}, in order
    Column("why", Text, nullable=False, default=""),
)
"""Weights of a split as they were changed; the last row of a name holds now."""

moves = Table(
    "tunesmith_moves",
    TABLES,
    Column("seq", _COUNTER, primary_key=True, autoincrement=True),
    Column("at", Float, nullable=False),
    Column("model", String(64), nullable=False),
    Column("alias", String(64), nullable=False),
    Column("before", String(64)),
    Column("after", String(64), nullable=False),
    Column("why", Text, nullable=False, default="", server_default=""),
)
"""Moves of aliases, for roll-back and for the next start; `why` names the key of whoever moved it."""

Index("tunesmith_answers_split", answers.c.split, answers.c.seq)
Index("tunesmith_answers_user", answers.c.user)
Index("tunesmith_answers_shadow", answers.c.shadow_of)
Index("tunesmith_feedback_answer", feedback.c.answer_id)
Index("tunesmith_splits_name", splits.c.name, splits.c.seq)
Index("tunesmith_moves_model", moves.c.model, moves.c.alias, moves.c.seq)
