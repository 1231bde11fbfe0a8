"""Put a word in the place of secrets and personal data, in a text or in every text of a row."""

from __future__ import annotations

from collections import Counter
from typing import Any

from tunesmith.data.checks.personal import find_personal
from tunesmith.data.checks.secrets import find_secrets

__all__ = ["redact", "redact_row"]

_NAMES = frozenset(("id", "document_id", "group", "sha256", "prompt_sha256"))  # what leads back to a source must stay


def redact(text: str, counts: Counter[str] | None = None) -> str:
    """The text with every secret and personal datum that the checks find replaced by its kind: `[EMAIL]`, `[AWS_KEY]` …

    All else stays as it is, and redacting twice changes nothing more. What no check sees (names, postal addresses) stays.
    `counts` is told how many of each kind went.
    """
    for find in (find_secrets, find_personal):
        pieces, done = [], 0
        for span in sorted(find(text), key=lambda span: (span.start, -span.end)):
            if span.start >= done:
                pieces += [text[done : span.start], f"[{span.kind}]"]
                if counts is not None:
                    counts[span.kind] += 1
            done = max(done, span.end)
        text = "".join([*pieces, text[done:]])
    return text


def redact_row(row: Any, counts: Counter[str]) -> Any:
    """A row of JSON with every text in it redacted, however deep; names of fields and ids stay."""
    if isinstance(row, str):
        return redact(row, counts)
    if isinstance(row, list):
        return [redact_row(value, counts) for value in row]
    if isinstance(row, dict):
        return {key: value if key in _NAMES else redact_row(value, counts) for key, value in row.items()}
    return row
