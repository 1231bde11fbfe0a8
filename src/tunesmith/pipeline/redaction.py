"""Secrets and personal data replaced in everything that a dataset is made from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from tunesmith.core.labelled import Labelled
from tunesmith.core.records import Document, Example, Message, Preference, Row, digest
from tunesmith.core.texts import Text
from tunesmith.data.checks.redact import redact

__all__ = ["redacted_document", "redacted_row", "redacted_samples"]

R = TypeVar("R", bound=Row)


def redacted_document(document: Document, counts: Counter[str]) -> Document:
    """The document with its text and title redacted; its id still names the source."""
    title = redact(document.title, counts) if document.title else document.title
    return replace(document, text=redact(document.text, counts), title=title)


def redacted_row(row: R, counts: Counter[str]) -> R:
    """The row with every turn and its title redacted, and private values of its further columns hashed.

    `counts` takes how many of each kind were found.
    """
    about: dict[str, Any] = {
        "title": redact(row.title, counts) if row.title else row.title,
        "meta": {name: _hidden(value, counts) for name, value in row.meta.items()},
        "group": _hidden(row.group, Counter()),
        "document_id": _hidden(row.document_id, Counter()),
    }
    if isinstance(row, Preference):
        chosen, rejected = (redact(answer, counts) for answer in row.answers)
        return replace(row, prompt=_turns(row.prompt, counts), chosen=chosen, rejected=rejected, **about)
    if isinstance(row, Labelled):
        return replace(row, prompt=_turns(row.prompt, counts), completion=redact(row.completion, counts), **about)
    if isinstance(row, Text):
        return replace(row, text=redact(row.text, counts), before=redact(row.before, counts), **about)
    if isinstance(row, Example):
        return replace(row, messages=_turns(row.messages, counts), **about)
    raise TypeError(f"no redaction for {type(row).__name__}")


def redacted_samples(samples: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """Samples of dropped texts for the page, redacted always: nobody asked for them to be kept."""
    return {reason: [redact(sample) for sample in of] for reason, of in samples.items()}


def _hidden(value: str, counts: Counter[str]) -> str:
    """The value, or its hash if it contains what is redacted. Splits and labels go by such values: equal ones stay equal, and
    different ones different, which two `[EMAIL]` would not."""
    return value if redact(value, counts) == value else digest(value)[:16]


def _turns(turns: Sequence[Message], counts: Counter[str]) -> tuple[Message, ...]:
    return tuple(replace(turn, content=redact(turn.content, counts)) for turn in turns)
