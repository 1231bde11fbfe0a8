"""Alembic's folder: how the tables of the database came to be what they are, one file per version in `versions/`.

To change a table, change `feedback/tables.py`, raise `SCHEMA` there, and add `versions/vN_….py`, which makes the same change to
an existing database and writes N into `tunesmith_about`, so that older programs refuse it. A test compares both.
"""
