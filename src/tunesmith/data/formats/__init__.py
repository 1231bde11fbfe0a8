"""The formats examples are kept in, both ways: what a row is, what it says, and how another format would hold it."""

from __future__ import annotations

from tunesmith.data.formats.detect import FORMATS, Detected, detect
from tunesmith.data.formats.entry import Entry, FormatError, ToolCall, Turn
from tunesmith.data.formats.read import read_entry
from tunesmith.data.formats.write import TARGETS, Written, needs_turns, write_entry

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
