"""Licences as one line: Creative Commons addresses by their short name, other statements as they stand."""

from __future__ import annotations

import re
from html import unescape

__all__ = ["licence_name", "licence_of_page"]

_CREATIVE_COMMONS = re.compile(
    r"creativecommons\.org/(?:licenses/(?P<kind>by(?:-(?:nc|nd|sa)){0,2}|nc|nd|sa)|publicdomain/(?P<public>zero|mark))"
    r"(?:/(?P<version>\d\.\d))?",
    re.IGNORECASE,
)
_TAG = re.compile(r"<(?:a|link|meta)\b[^<>]{1,2000}>", re.IGNORECASE)
_REL = re.compile(r"""\brel\s*=\s*["']?[^"'>]{0,80}\blicense\b""", re.IGNORECASE)
_META = re.compile(
    r"""\b(?:name|property)\s*=\s*["']?(?:dc(?:terms)?[.:](?:rights|license)|license|copyright)["'\s>]""", re.IGNORECASE
)
_HREF = re.compile(r"""\bhref\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s>]+))""", re.IGNORECASE)
_CONTENT = re.compile(r"""\bcontent\s*=\s*(?:"([^"]*)"|'([^']*)')""", re.IGNORECASE)
_JSON_LD = re.compile(r'"license"\s*:\s*"([^"]{4,300})"')
_LONGEST = 300


def licence_name(text: str | None) -> str | None:
    """`CC BY-SA 4.0` for an address of that licence, wherever it stands; other text on one line; None for nothing."""
    line = " ".join((text or "").split())
    found = _CREATIVE_COMMONS.search(line)
    if found is None:
        return line[:_LONGEST] or None
    version = f" {found['version']}" if found["version"] else ""
    if found["public"]:
        return f"{'CC0' if found['public'].lower() == 'zero' else 'Public Domain Mark'}{version}"
    return f"CC {found['kind'].upper()}{version}"


def licence_of_page(page: str) -> str | None:
    """What the markup of a page says of its licence: a link with `rel="license"`, schema.org, or a meta element."""
    linked = stated = None
    for match in _TAG.finditer(page):
        tag = match[0]
        if linked is None and _REL.search(tag) and (found := _HREF.search(tag)):
            linked = next((part for part in found.groups() if part), None)
        elif stated is None and _META.search(tag) and (found := _CONTENT.search(tag)):
            stated = next((part for part in found.groups() if part), None)
    described = _JSON_LD.search(page)
    chosen = linked or (described[1].replace("\\/", "/") if described else None) or stated
    return licence_name(unescape(chosen)) if chosen else None
