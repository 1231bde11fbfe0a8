"""Where the shared material lies, and small makers of examples and documents for the tests of `tunesmith.data`."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tunesmith.core.records import Document, Example, Message
from tunesmith.core.reporter import SilentReporter
from tunesmith.data.ingest.extract import extract
from tunesmith.data.ingest.gather import gather
from tunesmith.data.ingest.item import Extracted, make_document

__all__ = ["document", "example", "ingest", "material"]

_SHARED = Path(os.environ.get("TUNESMITH_SHARED", Path(__file__).parents[3] / "shared")) / "data"


def material(name: str) -> Path:
    """A folder or file of the shared material; the test is skipped where it is not there."""
    path = _SHARED / name
    if not path.exists():
        pytest.skip(f"needs the shared material: {path} (set TUNESMITH_SHARED)")
    return path


def ingest(*sources: Path | str) -> Extracted:
    return extract(gather([str(source) for source in sources]), reporter=SilentReporter())


def document(text: str, *, name: str = "post.md", title: str | None = "A post") -> Document:
    return make_document(name=name, text=text, title=title, extraction="test")


def example(prompt: str, answer: str, *, id: str, group: str = "") -> Example:
    messages = (Message(role="user", content=prompt), Message(role="assistant", content=answer))
    return Example(id=id, messages=messages, document_id=group or id, group=group or id, source="test.jsonl")
