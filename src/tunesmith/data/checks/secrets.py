"""Secrets by their shapes: tokens of known services, private keys, and values assigned to names such as `api_key`.

A compact set, not a vault scanner: what has no known shape and no telling name beside it is not seen.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tunesmith.core.records import Finding
from tunesmith.data.checks.rows import Row, found, shared

__all__ = ["Span", "check_secrets", "find_secrets"]


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """A stretch of a text that should not be there: `text[start:end]`. `kind` is the word that `redact` puts in its place."""

    start: int
    end: int
    kind: str


# kind, a string that every match holds, the shape
_SHAPES = (
    ("AWS_KEY", ("AKIA", "ASIA"), re.compile(r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b")),
    (
        "GITHUB_TOKEN",
        ("ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_"),
        re.compile(r"\b(?:gh[pousr]_[A-Za-z0-9]{30,255}|github_pat_[A-Za-z0-9_]{40,255})\b"),
    ),
    (
        "SLACK_TOKEN",
        ("xox", "hooks.slack.com"),
        re.compile(r"\bxox[abeoprs]-[A-Za-z0-9-]{10,}|hooks\.slack\.com/services/T\w+/B\w+/\w{16,}"),
    ),
    (
        "PRIVATE_KEY",
        ("-----BEGIN",),
        re.compile(
            r"-----BEGIN (?:[A-Z]+ ){0,2}PRIVATE KEY(?: BLOCK)?-----[\s\S]{0,8000}?"
            r"(?:-----END (?:[A-Z]+ ){0,2}PRIVATE KEY(?: BLOCK)?-----|\Z)"
        ),
    ),
    ("JWT", ("eyJ",), re.compile(r"\beyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}")),
    ("GOOGLE_KEY", ("AIza",), re.compile(r"\bAIza[0-9A-Za-z_-]{35}")),
    ("STRIPE_KEY", ("k_live_", "k_test_"), re.compile(r"\b[sr]k_(?:live|test)_[0-9A-Za-z]{16,}")),
    ("API_KEY", ("sk-",), re.compile(r"\bsk-(?:proj-|ant-|or-)?[A-Za-z0-9_-]{20,}")),
    ("HF_TOKEN", ("hf_",), re.compile(r"\bhf_[A-Za-z0-9]{30,}\b")),
    ("GITLAB_TOKEN", ("glpat-",), re.compile(r"\bglpat-[\w-]{20,}")),
    ("NPM_TOKEN", ("npm_",), re.compile(r"\bnpm_[A-Za-z0-9]{36}\b")),
)
_PASSWORD_IN_URL = re.compile(r"\b[a-z][a-z0-9+.-]{1,12}://[^\s/:@]{1,64}:([^\s/:@]{3,64})@", re.IGNORECASE)
_ASSIGNED = re.compile(
    r"""(?:api[_\s-]?key|secret|token|passw(?:or)?d|passwd|pwd|access[_-]?key|auth[_-]?key|credentials?)[\w-]{0,20}["']?
        \s{0,3}(?::=|=>|=|:|\bis\b)\s{0,3}(["'`]?)([^\s"'`,;<>]{8,200})""",
    re.IGNORECASE | re.VERBOSE,
)
_NAMES = ("key", "secret", "token", "passw", "pwd", "credential")
_NO_VALUE = re.compile(
    r"your|xxx|\*\*\*|\.\.\.|…|^\$|^\{|^\[|^%|^process\.|^os\.|^env\b|getenv|environ|changeme|placeholder|redacted|^https?:|\($|\(\)|^/",
    re.IGNORECASE,
)
_LEAST_BITS = 3.0


def find_secrets(text: str) -> list[Span]:
    """The secrets of a text in order of place; they may touch but do not tell everything (see the module)."""
    return sorted(_secrets(text))


def check_secrets(rows: Sequence[Row]) -> Iterator[Finding]:
    """`secrets`: tokens, keys and passwords in any turn."""
    kinds: Counter[str] = Counter()
    odd = []
    for row in rows:
        if spans := {span.kind for span in _secrets(row.text)}:
            kinds.update(spans)
            odd.append(row)
    named = ", ".join(f"{kind} {count}" for kind, count in kinds.most_common())
    yield from found(
        "secrets",
        "error",
        odd,
        f"{shared(odd, rows)} rows hold what looks like a secret ({named}); models repeat such strings word for word.",
        "revoke it, and replace it in the source (tunesmith.data.checks.redact does the replacing).",
    )


def _secrets(text: str) -> Iterator[Span]:
    for kind, hints, shape in _SHAPES:
        if any(hint in text for hint in hints):
            for match in shape.finditer(text):
                if kind == "PRIVATE_KEY" or _bits(match[0]) >= _LEAST_BITS:
                    yield Span(match.start(), match.end(), kind)
    if "://" in text and "@" in text:
        for match in _PASSWORD_IN_URL.finditer(text):
            if _NO_VALUE.search(match[1]) is None:
                yield Span(match.start(1), match.end(1), "PASSWORD")
    if "=" in text or ":" in text or " is " in text:
        low = text.lower()
        if any(name in low for name in _NAMES):
            for match in _ASSIGNED.finditer(text):
                if _is_secret(match[2].rstrip(".)!?"), quoted=bool(match[1])):
                    yield Span(match.start(2), match.start(2) + len(match[2].rstrip(".)!?")), "SECRET")


def _is_secret(value: str, *, quoted: bool) -> bool:
    """Letters and digits together, with the entropy of something that nobody reads aloud."""
    if len(value) < 8 or _NO_VALUE.search(value):
        return False
    mixed = any(c.isdigit() for c in value) and any(c.isalpha() for c in value)
    return mixed and _bits(value) >= (2.5 if quoted or len(value) < 16 else _LEAST_BITS)


def _bits(value: str) -> float:
    """Shannon entropy of the characters, in bits a character."""
    counts = Counter(value).values()
    return -sum(count / len(value) * math.log2(count / len(value)) for count in counts)
