"""The formats examples are kept in, both ways: what a row is, what it says, and how another format would hold it."""

from __future__ import annotations

from tunesmith.data.rows.detect import FORMATS, Detected, detect
from tunesmith.data.rows.entry import Entry, FormatError, ToolCall, Turn
from tunesmith.data.rows.read import read_entry
from tunesmith.data.rows.write import TARGETS, Written, needs_turns, write_entry

__all__ = [
    "FORMATS",
    "TARGETS",
    "Detected",
    "Entry",
    "FormatError",
    "ToolCall",
    "Turn",
    "Written",
    "detect",
    "needs_turns",
    "read_entry",
    "write_entry",
]
