"""A reader in a process of its own: one line of JSON in for each file, one line out. It ends when its input does.

Run as `python -m tunesmith.data.ingest.worker` by `parallel.py`; a parent that is killed takes its readers with it.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any, BinaryIO

import orjson

from tunesmith.core.labelled import Labelled
from tunesmith.core.records import Document, Example, Failure, Preference, from_dict, to_json
from tunesmith.data.ingest.item import RawItem, Reading
from tunesmith.data.ingest.policy import Policy
from tunesmith.data.ingest.read_item import read_item
from tunesmith.data.text.decode import PassingError, UnreadableError

__all__ = ["asked", "reading_of", "serve"]


def asked(item: RawItem, policy: Policy) -> bytes:
    """The line that asks for a file on disk."""
    facts = {"name": item.name, "source": item.source, "kind": item.kind, "sha256": item.sha256, "path": str(item.path)}
    return to_json({"item": facts, "policy": policy}) + b"\n"


def reading_of(line: bytes) -> Reading | UnreadableError:
    """What a line of answer says."""
    found: dict[str, Any] = orjson.loads(line)
    if "unreadable" in found:
        return (PassingError if found["passing"] else UnreadableError)(found["unreadable"])
    return Reading(
        documents=tuple(from_dict(Document, row) for row in found["documents"]),
        pairs=tuple(from_dict(Example, row) for row in found["pairs"]),
        preferences=tuple(from_dict(Preference, row) for row in found["preferences"]),
        labelled=tuple(from_dict(Labelled, row) for row in found["labelled"]),
        failures=tuple(from_dict(Failure, row) for row in found["failures"]),
        notes=found["notes"],
        num_passing=found["num_passing"],
    )


def serve(lines: BinaryIO, answers: int) -> None:
    """Answer every line, into an open file, until there are no more."""
    for line in lines:
        question = orjson.loads(line)
        facts, policy = question["item"], _policy(question["policy"])
        item = RawItem(**(facts | {"path": Path(facts["path"])}))
        try:
            answer = to_json(read_item(item, policy=policy))
        except UnreadableError as error:
            answer = to_json({"unreadable": str(error), "passing": isinstance(error, PassingError)})
        _write(answers, answer + b"\n")


def _policy(row: dict[str, Any]) -> Policy:
    row = {key: value for key, value in row.items() if key != "decided"}  # applied where documents are counted, not here
    values: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in row.items()}
    return Policy(**values)


def _write(file: int, data: bytes) -> None:
    """All of it. A buffered file loses bytes where a stop and continue (Ctrl-Z, fg) interrupts its writing to a full pipe."""
    left = memoryview(data)
    while left:
        left = left[os.write(file, left) :]


if __name__ == "__main__":
    answers = os.dup(1)
    os.dup2(2, 1)  # what a library prints must not stand among the answers
    try:
        serve(sys.stdin.buffer, answers)
    except (BrokenPipeError, KeyboardInterrupt):
        sys.exit(1)  # whoever asked is gone
