"""Put a word in the place of secrets and personal data."""

from __future__ import annotations

from tunesmith.data.checks.personal import find_personal
from tunesmith.data.checks.secrets import find_secrets

__all__ = ["redact"]


def redact(text: str) -> str:
    """The text with every secret and personal datum that the checks find replaced by its kind: `[EMAIL]`, `[AWS_KEY]` …

    All else stays as it is, and redacting twice changes nothing more. What no check sees (names, postal addresses) stays.
    """
    for find in (find_secrets, find_personal):
        pieces, done = [], 0
        for span in sorted(find(text), key=lambda span: (span.start, -span.end)):
            if span.start >= done:
                pieces += [text[done : span.start], f"[{span.kind}]"]
            done = max(done, span.end)
        text = "".join([*pieces, text[done:]])
    return text
