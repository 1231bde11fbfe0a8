"""Personal data by shape and check digit: e-mail, phone, card (Luhn), IBAN (mod 97), IP addresses, identity numbers.

Names and postal addresses have no shape and are not seen: nothing that passes here is therefore free of personal data.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterator, Sequence

from stdnum import iban, luhn

from tunesmith.core.records import Finding
from tunesmith.data.checks.identities import IDENTITIES
from tunesmith.data.checks.rows import Row, found, shared
from tunesmith.data.checks.secrets import Span

__all__ = ["CRITICAL", "NAMES", "check_personal", "find_personal"]

_EMAIL = re.compile(
    r"(?<![\w.+/@-])[A-Za-z0-9][A-Za-z0-9._%+-]{0,63}@[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63}){0,4}\.[A-Za-z]{2,24}\b"
)
_DIGITS = re.compile(r"\d[\d .()/-]{5,}\d")
_CAPITALS = re.compile(r"[A-Z]{2} ?\d\d")  # how identity numbers begin that have no long run of digits
_PHONE = re.compile(
    r"""(?<![\w.,/=#-])(?:
        \+\d{1,3}[ .-]?(?:\(\d{1,4}\)[ .-]?)?\d{1,4}(?:[ .-]?\d{2,4}){1,4}
        |(?:1[ .-])?\(\d{3}\)[ ]?\d{3}[ .-]\d{4}
        |(?:1[ .-])?[2-9]\d{2}([ .-])\d{3}\1\d{4}
        |0\d{2,4}[ ]\d{3,4}[ ]?\d{3,4}
        |00\d{2}[ ]\d{1,4}(?:[ ]\d{2,4}){2,4}
        )(?![\w/=]|[.,-]\d)""",
    re.VERBOSE,
)
_CARD = re.compile(r"(?<![\w.+-])[3-6]\d{3}(?:[ -]?\d{2,6}){2,4}(?![\w-]|\.\d)")
_IBAN = re.compile(r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?\b")
_IPV4 = re.compile(r"(?<![\w.-])(?:(?:25[0-5]|2[0-4]\d|1?\d?\d)\.){3}(?:25[0-5]|2[0-4]\d|1?\d?\d)(?!\w|\.\d|-\w)")
_VERSION_BEFORE = re.compile(r"(?:version|release|firmware|build|chapter|section|v)\.?\s*$", re.IGNORECASE)
_IPV6 = re.compile(r"(?<![\w:.])(?:[0-9A-Fa-f]{1,4}:){2,7}(?::?[0-9A-Fa-f]{1,4}(?::[0-9A-Fa-f]{1,4}){0,5})?(?![\w:])")
_SSN = re.compile(r"(?<![\w-])(?!000|666|9\d\d)\d{3}-(?!00)\d{2}-(?!0000)\d{4}(?![\w-])")
NAMES = {  # kind of a span → name of the finding, and what it is
    "EMAIL": ("emails", "e-mail addresses"),
    "PHONE": ("phone_numbers", "phone numbers"),
    "CARD": ("card_numbers", "payment card numbers"),
    "IBAN": ("ibans", "bank account numbers (IBAN)"),
    "IP": ("ip_addresses", "IP addresses"),
    "SSN": ("social_security_numbers", "US social security numbers"),
    "ID_NUMBER": ("id_numbers", "national identity or tax numbers"),
}
CRITICAL = frozenset(("CARD", "IBAN", "SSN", "ID_NUMBER"))  # what money or a name can be taken with


def find_personal(text: str) -> list[Span]:
    """The personal data of a text in order of place. The surest kind is looked for first: a card is no phone number."""
    spans: list[Span] = []
    finders = _FINDERS if _DIGITS.search(text) else _LETTERED if _CAPITALS.search(text) else _WITHOUT_DIGITS
    for kind, find in finders:
        if new := [Span(start, end, kind) for start, end in find(text)]:
            spans += new
            for span in new:
                text = f"{text[: span.start]}{'|' * (span.end - span.start)}{text[span.end :]}"
    return sorted(spans)


def check_personal(rows: Sequence[Row]) -> Iterator[Finding]:
    """`emails`, `phone_numbers`, `card_numbers`, `ibans`, `ip_addresses`, `social_security_numbers`, `id_numbers`."""
    odd: dict[str, list[Row]] = {kind: [] for kind in NAMES}
    for row in rows:
        for kind in dict.fromkeys(span.kind for span in find_personal(row.text)):
            odd[kind].append(row)
    for kind, (name, what) in NAMES.items():
        yield from found(
            name,
            "error" if kind in CRITICAL else "warning",
            odd[kind],
            f"{shared(odd[kind], rows)} rows hold {what}, which the model may repeat to anyone.",
            f"replace them by [{kind}] (tunesmith check FILE --redact --out CLEAN), unless they are meant to be public.",
        )


def _emails(text: str) -> list[tuple[int, int]]:
    return [match.span() for match in _EMAIL.finditer(text) if not match[0].startswith("git@")] if "@" in text else []


def _ipv6(text: str) -> list[tuple[int, int]]:
    return [match.span() for match in _IPV6.finditer(text) if _is_ipv6(match[0])] if text.count(":") > 2 else []


def _numbers(pattern: re.Pattern[str], holds: Callable[[re.Match[str]], bool]) -> Callable[[str], list[tuple[int, int]]]:
    """Finds what has the shape and holds."""

    def find(text: str) -> list[tuple[int, int]]:
        return [match.span() for match in pattern.finditer(text) if holds(match)]

    return find


def _is_card(text: str) -> bool:
    digits = "".join(c for c in text if c.isdigit())
    return 13 <= len(digits) <= 19 and len(set(digits)) > 1 and luhn.is_valid(digits)


def _is_ipv6(text: str) -> bool:
    try:
        address = ipaddress.IPv6Address(text)
    except ValueError:
        return False  # the shape alone: a time, a ratio, a MAC address
    return sum(bool(group) for group in text.split(":")) >= 3 and any(c.isdigit() for c in text) and not address.is_loopback


def _is_ipv4(match: re.Match[str]) -> bool:
    before = match.string[max(0, match.start() - 12) : match.start()]
    return not match[0].startswith(("0.", "127.", "255.")) and _VERSION_BEFORE.search(before) is None


_WITHOUT_DIGITS: tuple[tuple[str, Callable[[str], list[tuple[int, int]]]], ...] = (("EMAIL", _emails), ("IP", _ipv6))
_LETTERED = (*_WITHOUT_DIGITS, *(("ID_NUMBER", _numbers(shape, holds)) for shape, holds in IDENTITIES))
_FINDERS = (
    *_WITHOUT_DIGITS,
    ("IBAN", _numbers(_IBAN, lambda match: iban.is_valid(match[0], check_country=False))),
    ("CARD", _numbers(_CARD, lambda match: _is_card(match[0]))),
    *(("ID_NUMBER", _numbers(shape, holds)) for shape, holds in IDENTITIES),
    ("SSN", _numbers(_SSN, lambda match: True)),
    ("IP", _numbers(_IPV4, _is_ipv4)),
    ("PHONE", _numbers(_PHONE, lambda match: 8 <= sum(c.isdigit() for c in match[0]) <= 15)),
)
