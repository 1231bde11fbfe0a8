"""A database as version 1 of its tables left it: what that program wrote, statement by statement, with a row of each kind."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import psycopg

__all__ = ["SALT", "plant"]

SALT = "5b" * 32
_TABLES = """
CREATE TABLE tunesmith_about (name VARCHAR(40) NOT NULL, value TEXT NOT NULL, PRIMARY KEY (name));
CREATE TABLE tunesmith_answers (
    seq COUNTER NOT NULL, id VARCHAR(64) NOT NULL, at FLOAT NOT NULL, model VARCHAR(160) NOT NULL, split VARCHAR(64),
    period INTEGER, arm VARCHAR(160), "user" VARCHAR(64), unit VARCHAR(64), shadow_of VARCHAR(64), failed BOOLEAN NOT NULL,
    prompt TEXT, answer TEXT, PRIMARY KEY (seq), UNIQUE (id)
);
CREATE INDEX tunesmith_answers_shadow ON tunesmith_answers (shadow_of);
CREATE INDEX tunesmith_answers_split ON tunesmith_answers (split, seq);
CREATE INDEX tunesmith_answers_user ON tunesmith_answers ("user");
CREATE TABLE tunesmith_moves (
    seq COUNTER NOT NULL, at FLOAT NOT NULL, model VARCHAR(64) NOT NULL, alias VARCHAR(64) NOT NULL, "before" VARCHAR(64),
    "after" VARCHAR(64) NOT NULL, PRIMARY KEY (seq)
);
CREATE INDEX tunesmith_moves_model ON tunesmith_moves (model, alias, seq);
CREATE TABLE tunesmith_splits (
    seq COUNTER NOT NULL, name VARCHAR(64) NOT NULL, at FLOAT NOT NULL, arms TEXT NOT NULL, why TEXT NOT NULL, PRIMARY KEY (seq)
);
CREATE INDEX tunesmith_splits_name ON tunesmith_splits (name, seq);
CREATE TABLE tunesmith_feedback (
    seq COUNTER NOT NULL, "key" VARCHAR(128) NOT NULL, digest VARCHAR(64) NOT NULL, answer_id VARCHAR(64) NOT NULL,
    at FLOAT NOT NULL, thumb VARCHAR(4), score FLOAT, tag VARCHAR(64), correction TEXT, text TEXT, PRIMARY KEY (seq),
    UNIQUE ("key"), FOREIGN KEY(answer_id) REFERENCES tunesmith_answers (id) ON DELETE CASCADE
);
CREATE INDEX tunesmith_feedback_answer ON tunesmith_feedback (answer_id);
"""
_ROWS = f"""
INSERT INTO tunesmith_about (name, value) VALUES ('schema', '1'), ('salt', '{SALT}');
INSERT INTO tunesmith_answers (id, at, model, failed, prompt, answer)
    VALUES ('a1', 1.7e9, 'mine@v1', FALSE, '"zanzibar-4711"', 'A word.');
INSERT INTO tunesmith_feedback (key, digest, answer_id, at, thumb) VALUES ('k1', 'd1', 'a1', 1.7e9, 'up');
INSERT INTO tunesmith_splits (name, at, arms, why) VALUES ('ours', 1.7e9, '{{"mine": 1.0}}', 'file');
INSERT INTO tunesmith_moves (at, model, alias, "before", "after") VALUES (1.7e9, 'mine', 'live', 'v1', 'v2');
"""


def plant(address: str) -> None:
    """Make it in an empty PostgreSQL, or as a file."""
    if address.startswith("postgresql://"):
        with psycopg.connect(address, autocommit=True) as connection:
            connection.execute((_TABLES.replace("COUNTER", "BIGSERIAL") + _ROWS).encode())
        return
    with closing(sqlite3.connect(address)) as file:
        file.execute("PRAGMA journal_mode=WAL")
        file.executescript(_TABLES.replace("COUNTER", "INTEGER") + _ROWS)
        file.commit()
