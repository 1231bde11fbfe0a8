"""Secrets by their shapes: tokens of known services, private keys, and values assigned to names such as `api_key`.

The shapes of further services come from detect-secrets. Its own scanner reads files line by line with every plugin in turn, far
below 5,000 examples a second, so its patterns are run here, and only over texts that hold a long token with a digit.
What has no known shape and no telling name beside it is not seen.
"""

from __future__ import annotations

import importlib
import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache

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
            r"-----BEGIN (?:[A-Z]+ ){0,2}PRIVATE KEY(?: BLOCK)?-----(?:[^-]|-(?!----(?:BEGIN|END) )){0,8000}"
            r"(?:-----END (?:[A-Z]+ ){0,2}PRIVATE KEY(?: BLOCK)?-----|\Z)"
        ),
    ),
    ("JWT", ("eyJ",), re.compile(r"\beyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}")),
    ("GOOGLE_KEY", ("AIza",), re.compile(r"\bAIza[0-9A-Za-z_-]{35}")),
    ("STRIPE_KEY", ("k_live_", "k_test_"), re.compile(r"\b[sr]k_(?:live|test)_[0-9A-Za-z]{16,}")),
    ("API_KEY", ("sk-",), re.compile(r"\bsk-(?:proj-|ant-|or-)?(?=[\w-]*\w{12})[A-Za-z0-9_-]{20,}")),
    ("HF_TOKEN", ("hf_",), re.compile(r"\bhf_[A-Za-z0-9]{30,}\b")),
    ("GITLAB_TOKEN", ("glpat-",), re.compile(r"\bglpat-[\w-]{20,}")),
    ("NPM_TOKEN", ("npm_",), re.compile(r"\bnpm_[A-Za-z0-9]{36}\b")),
)
_PLUGINS = (  # module and class of detect-secrets, the word for `redact`, what must stand in the text
    ("artifactory", "ArtifactoryDetector", "ARTIFACTORY_KEY", ("AKC", "AP")),
    ("aws", "AWSKeyDetector", "AWS_KEY", ("A3T", "ABIA", "ACCA", "AKIA", "ASIA", "aws", "AWS")),
    ("azure_storage_key", "AzureStorageKeyDetector", "AZURE_KEY", ("AccountKey=",)),
    ("cloudant", "CloudantDetector", "CLOUDANT_KEY", ("cloudant",)),
    ("discord", "DiscordBotTokenDetector", "DISCORD_TOKEN", (".",)),
    ("gitlab_token", "GitLabTokenDetector", "GITLAB_TOKEN", ("gl", "GR1348941")),
    ("ibm_cloud_iam", "IbmCloudIamDetector", "IBM_KEY", ("ibm", "IBM", "iam", "bx")),
    ("mailchimp", "MailchimpDetector", "MAILCHIMP_KEY", ("-us",)),
    ("npm", "NpmDetector", "NPM_TOKEN", (":_authToken",)),
    ("openai", "OpenAIDetector", "API_KEY", ("T3BlbkFJ",)),
    ("pypi_token", "PypiTokenDetector", "PYPI_TOKEN", ("pypi-",)),
    ("sendgrid", "SendGridDetector", "SENDGRID_KEY", ("SG.",)),
    ("softlayer", "SoftlayerDetector", "SOFTLAYER_KEY", ("softlayer",)),
    ("square_oauth", "SquareOAuthDetector", "SQUARE_KEY", ("sq0csp-",)),
    ("telegram_token", "TelegramBotTokenDetector", "TELEGRAM_TOKEN", (":",)),
    ("twilio", "TwilioKeyDetector", "TWILIO_KEY", ("AC", "SK")),
)
_LEAST_LONG, _LONG = 16, 24  # letters of the longest word: prose ends here
_LONG_TOKEN = re.compile(r"[\w+/=.:-]{24,}")
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
_CODE = re.compile(r"[()<>]|[A-Za-z_]\w*\.[A-Za-z_]")  # a call, a type, a field of something: what code assigns
_NO_PASSWORD = frozenset(("password", "passwd", "pass", "secret", "pwd", "user", "changeme"))  # as documentation writes one
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
        f"{shared(odd, rows)} rows contain what looks like a secret ({named}); models repeat such strings word for word.",
        "revoke it, and replace it in the source (tunesmith check FILE --redact --out CLEAN does the replacing).",
    )


def _secrets(text: str) -> Iterator[Span]:
    longest = max(map(len, text.split()), default=0)
    if longest >= _LEAST_LONG:
        yield from _shaped(text)
    if longest >= _LONG and any(_mixed(match[0]) for match in _LONG_TOKEN.finditer(text)):
        yield from _known_to_library(text)
    if "://" in text and "@" in text:
        for match in _PASSWORD_IN_URL.finditer(text):
            if _NO_VALUE.search(match[1]) is None and match[1].lower() not in _NO_PASSWORD:
                yield Span(match.start(1), match.end(1), "PASSWORD")
    low = text.lower() if "=" in text or ":" in text or " is " in text else ""
    if any(name in low for name in _NAMES):
        for match in _ASSIGNED.finditer(text):
            if _is_secret(match[2].rstrip(".)!?"), quoted=bool(match[1])):
                yield Span(match.start(2), match.start(2) + len(match[2].rstrip(".)!?")), "SECRET")


def _shaped(text: str) -> Iterator[Span]:
    for kind, hints, shape in _SHAPES:
        if any(hint in text for hint in hints):
            for match in shape.finditer(text):
                if kind == "PRIVATE_KEY" or _bits(match[0]) >= _LEAST_BITS:
                    yield Span(match.start(), match.end(), kind)


def _known_to_library(text: str) -> Iterator[Span]:
    for kind, hints, shapes in _library():
        if any(hint in text for hint in hints):
            for match in (match for shape in shapes for match in shape.finditer(text)):
                if _mixed(match[0]) and _bits(match[0]) >= _LEAST_BITS:
                    start, end = match.span()
                    yield Span(start + len(match[0]) - len(match[0].lstrip(' "=:')), end - (match[0][-1:] in ' "'), kind)


@cache
def _library() -> tuple[tuple[str, tuple[str, ...], tuple[re.Pattern[str], ...]], ...]:
    """The patterns of detect-secrets, loaded when a text first holds a candidate (its import takes 0.4 s)."""
    loaded = []
    for module, name, kind, hints in _PLUGINS:
        plugin = getattr(importlib.import_module(f"detect_secrets.plugins.{module}"), name)
        loaded.append((kind, hints, tuple(plugin.denylist)))
    return tuple(loaded)


def _mixed(value: str) -> bool:
    return any(c.isdigit() for c in value) and any(c.isalpha() for c in value)


def _is_secret(value: str, *, quoted: bool) -> bool:
    """Letters and digits together, with the entropy of something that nobody reads aloud."""
    if len(value) < 8 or _NO_VALUE.search(value) or (not quoted and _CODE.search(value)):
        return False
    return _mixed(value) and _bits(value) >= (2.5 if quoted or len(value) < 16 else _LEAST_BITS)


def _bits(value: str) -> float:
    """Shannon entropy of the characters, in bits a character."""
    counts = Counter(value).values()
    return -sum(count / len(value) * math.log2(count / len(value)) for count in counts)
