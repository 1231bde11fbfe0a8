"""The inline markup of AsciiDoc to the words that are shown."""

from __future__ import annotations

import re
from collections.abc import Mapping

from tunesmith.data.ingest.line_reader import MAX_INLINE

_MARKUP = re.compile(r"[*_=~+/^%!@#?`<>(){}\[\]|\\\"'-]")
__all__ = ["plain_asciidoc"]

_FOOTNOTE = re.compile(r"[ \t]?\bfootnote(?:ref)?:[\w-]*\[(?:[^\[\]]|\[[^\[\]]{0,500}\]){0,3000}\]")
_DROPPED = re.compile(
    r"\b(?:image|icon|anchor|stem|latexmath|asciimath|video|indexterm):[^\s\[]{0,500}\[[^\]\n]{0,1000}\]"
    r"|\(\(\([^()\n]{1,200}\)\)\)|\[\[[^\[\]\n]{1,200}\]\]"
)
_LINK = re.compile(r"(?:\b(?:link|mailto|xref):[^\s\[\]]{1,2000}|\bhttps?://[^\s\[\]<>]{1,2000})\[([^\]\n]{0,1000})\]")
_REFERENCE = re.compile(r"<<([^<>,\n]{1,200})(?:,[ \t]*([^<>]{0,500}))?>>")
_KEYS = re.compile(r"\b(?:kbd|btn|pass|indexterm2):\w{0,20}\[([^\]\n]{0,500})\]")
_TERM = re.compile(r"\(\(([^()\n]{1,200})\)\)")
_ATTRIBUTE = re.compile(r"\{([\w][\w-]{0,60})\}")
_CHARACTERS = {
    **{"nbsp": " ", "sp": " ", "empty": "", "apos": "'", "quot": '"', "lt": "<", "gt": ">", "amp": "&", "plus": "+"},
    **{"mdash": "—", "ndash": "–", "ldquo": "“", "rdquo": "”", "lsquo": "‘", "rsquo": "’", "asterisk": "*", "zwsp": ""},
}
_MAX_VALUE = 500
_CURVED = (
    (re.compile(r"``(?=\S)([^`']{1,1000})''"), "“\\1”"),
    (re.compile(r'"`(?=\S)([^`]{1,1000})`"'), "“\\1”"),
    (re.compile(r"'`(?=\S)([^`]{1,1000})`'"), "‘\\1’"),
)
_TWICE = re.compile(r"(?:\[[^\[\]\n]{0,100}\])?(\*\*|__|``|##|\+\+)(?=\S)([^\n]{1,300}?)\1")
_ONCE = re.compile(
    r"(?<![\w\\])(?:\[[^\[\]\n]{0,100}\])?([*_`#+])(?=\S)([^\0]{1,300}?)(?<=\S)\1(?!\w)",
)
_RAISED = re.compile(r"([\^~])([^\s^~]{1,60})\1")
_BREAK = re.compile(r"[ \t]\+\n")


def plain_asciidoc(text: str, attributes: Mapping[str, str]) -> tuple[str, int]:
    """The words of a paragraph, with the values of attributes that the document sets, and how many footnotes were left out."""
    if len(text) > MAX_INLINE or not _MARKUP.search(text):
        return text, 0
    for _ in range(2):  # a value may hold other attributes
        text = _ATTRIBUTE.sub(lambda found: _CHARACTERS.get(found[1], attributes.get(found[1].lower(), "")[:_MAX_VALUE]), text)
    if len(text) > 2 * MAX_INLINE:
        return "", 0  # attributes that multiply each other
    text, footnotes = _FOOTNOTE.subn("", text)
    text = _LINK.sub(lambda found: _label(found[1]), _DROPPED.sub("", text))
    text = _REFERENCE.sub(lambda found: found[2] or found[1].replace("_", " ").strip(), text)
    text = _TERM.sub(r"\1", _KEYS.sub(r"\1", text))
    for pattern, curved in _CURVED:
        text = pattern.sub(curved, text)
    for pattern in (_TWICE, _TWICE, _ONCE, _ONCE):  # one inside the other
        text = pattern.sub(r"\2", text)
    lines = _BREAK.sub("\0", _RAISED.sub(r"\2", text)).removesuffix(" +")
    return lines.replace("\n", " ").replace("\0", "\n"), footnotes


def _label(words: str) -> str:
    """The words of a link without what says how it opens."""
    return re.sub(r",[ \t]*\w+=.*$", "", words).removesuffix("^").strip('"')
