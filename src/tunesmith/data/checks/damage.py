"""Damaged encodings, and residue of the formats a text came from."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from tunesmith.core.records import Finding
from tunesmith.data.checks.rows import Row, error_above, found, plain, shared

__all__ = ["check_encoding", "check_residue"]

_MOJIBAKE = re.compile(
    r"â€[™œ\x9d\x99\x9c“”˜¦¢\"\x80-\x9f]?|Ã[\x80-\xbfŠŒŽšœžŸƒˆ˜–—‘’‚“”„†‡•…‰‹›€™]|Â[\xa0-\xbf]|ï»¿|ðŸ|Ð[\x80-\xbf]Ñ|â‚¬|âœ|Å[\x93\x92\x81\x82]"
)
_MOJIBAKE_HINTS = ("â", "Ã", "Â", "ï»¿", "ðŸ", "Ð", "Å")
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\u202a-\u202e\u2066-\u2069\ufeff\u200b]|\x1b\[")
_ENTITY = re.compile(
    r"&(?:amp|lt|gt|quot|nbsp|apos|rsquo|lsquo|rdquo|ldquo|mdash|ndash|hellip|copy|euro|eacute|#\d{2,6}|#x[0-9a-fA-F]{2,5});"
)
_TAG = re.compile(
    r"""<(?:/?(?:p|div|span|br|hr|a|b|i|u|em|strong|ul|ol|li|table|tr|td|th|tbody|thead|img|iframe|script|style|h[1-6]|pre|code|font
        |center|blockquote|figure|figcaption|section|article|sup|sub|small|video|audio|source|svg|button|input|form|details|summary)
        (?:\s[^<>]{0,400})?/?>(?!\s+(?:tag|element)|s\b)|!--|!DOCTYPE|\?xml)""",
    re.IGNORECASE | re.VERBOSE,
)
_MDX = re.compile(
    r"""^(?:import|export)\s[^\n]{0,120}\bfrom\s+['"]|^import\s+['"]|^export\s+(?:const|default|function)\s|<[A-Z][A-Za-z]+(?:\s[^<>]{0,300})?/>
        |<[A-Z][A-Za-z]+\s+\w+=[^<>]{0,300}>|</[A-Z][A-Za-z]+>|\{/\*|^:::\w*|\{\{[<%]|\{%\s*\w|\[/?(?:caption|gallery|embed|shortcode)\b
        |\A---\n[\s\S]{0,600}?\n---\n""",
    re.VERBOSE | re.MULTILINE,
)
_MDX_HINTS = ("import", "export", "<", "{/*", ":::", "{{", "{%", "---\n", "[caption", "[gallery", "[embed", "[/", "[shortcode")
_DATA = re.compile(r"data:[\w.+-]+/[\w.+-]+;base64,|[A-Za-z0-9+/]{120,}={0,2}")
_LONG = 100
_TEMPLATE = re.compile(
    r"<\|\w{2,24}\|>|\[/?INST\]|<</?SYS>>|</?s>(?=\s|$|\[)|<(?:start|end)_of_turn>|^#{2,3} (?:Instruction|Response|Input):\s*$",
    re.MULTILINE,
)


def check_encoding(rows: Sequence[Row]) -> Iterator[Finding]:
    """`mojibake`, `replacement_characters`, `control_characters`, `html_entities` in any turn; entities in code are meant."""
    torn, lost, hidden, coded = [], [], [], []
    for row in rows:
        text = row.text
        if not text.isascii():
            if any(hint in text for hint in _MOJIBAKE_HINTS) and _MOJIBAKE.search(text):
                torn.append(row)
            if "\ufffd" in text:
                lost.append(row)
        if _CONTROL.search(text):
            hidden.append(row)
        if "&" in text and ";" in text and _ENTITY.search(plain(text)):
            coded.append(row)
    yield from found(
        "mojibake",
        error_above(torn, rows),
        torn,
        f"{shared(torn, rows)} rows hold text decoded with the wrong charset (â€™ for ’, Ã© for é).",
        "read the source again as UTF-8 (or repair it: text.encode('cp1252').decode('utf-8')).",
    )
    yield from found(
        "replacement_characters",
        error_above(lost, rows),
        lost,
        f"{shared(lost, rows)} rows contain U+FFFD, which replaces a character lost in decoding.",
        "read the source again with its right charset; the character cannot be guessed.",
    )
    yield from found(
        "control_characters",
        "warning",
        hidden,
        f"{shared(hidden, rows)} rows contain control or invisible characters, which become invisible tokens.",
        "delete them.",
    )
    yield from found(
        "html_entities",
        "warning",
        coded,
        f"{shared(coded, rows)} rows hold HTML entities such as &amp; or &#39; left over.",
        "unescape them once (html.unescape).",
    )


def check_residue(rows: Sequence[Row]) -> Iterator[Finding]:
    """`html`, `mdx`, `base64`, `chat_template` in any turn; tags in code are meant, control tokens never are."""
    tagged, scripted, packed, rendered = [], [], [], []
    for row in rows:
        text = row.text
        angle = "<" in text
        if any(hint in text for hint in _MDX_HINTS):
            prose = plain(text)
            if angle and _TAG.search(prose):
                tagged.append(row)
            if _MDX.search(prose):
                scripted.append(row)
        if (row.longest > _LONG or "base64," in text) and _packed(text):
            packed.append(row)
        if (angle or "[" in text or "##" in text) and _TEMPLATE.search(text):
            rendered.append(row)
    yield from found(
        "html",
        "warning",
        tagged,
        f"{shared(tagged, rows)} rows hold HTML tags outside code.",
        "extract the text from the HTML (tunesmith ingest does so), or put intended tags into code marks.",
    )
    yield from found(
        "mdx",
        "warning",
        scripted,
        f"{shared(scripted, rows)} rows hold MDX, front matter or shortcodes of a site generator.",
        "ingest the pages with tunesmith ingest, which leaves these out.",
    )
    yield from found(
        "base64",
        "warning",
        packed,
        f"{shared(packed, rows)} rows hold encoded data (base64), hundreds of tokens without meaning.",
        "cut it out.",
    )
    yield from found(
        "chat_template",
        "error",
        rendered,
        f"{shared(rendered, rows)} rows contain marks of a chat template (<|im_end|>, [INST], ### Response:) inside a turn.",
        "split the conversation into turns; the model's own template adds its marks again.",
    )


def _packed(text: str) -> bool:
    if "base64," in text and _DATA.search(text):
        return True
    long = [word for word in text.split() if len(word) > _LONG]
    return any(
        (match := _DATA.search(word)) is not None and any(c.isdigit() for c in match[0]) and not match[0].islower()
        for word in long
    )
