"""Where sentences end: abbreviations, initials, decimals, quotes and brackets considered. Rules for English."""

from __future__ import annotations

import functools
import re

__all__ = ["split_sentences"]

_ABBREVIATIONS_TEXT = """
mr mrs ms dr prof sr jr st vs etc e.g i.e eg ie cf al approx dept est fig figs inc ltd co corp no nos vol vols pp p ch
sec eds ed rev gen sgt capt lt col gov sen rep hon messrs jan feb mar apr jun jul aug sep sept oct nov dec mon tue tues
wed thu thur thurs fri sat sun u.s u.k u.n a.m p.m ph.d b.a m.a d.c min max ca bzw usw ggf z.b d.h u.a tel art abs
"""
_ABBREVIATIONS = frozenset(_ABBREVIATIONS_TEXT.split())
_NEVER_LAST_TEXT = """
mr mrs ms dr prof vs e.g i.e eg ie cf fig figs no nos pp vol vols messrs sen rep gov capt sgt lt col gen hon
"""
_NEVER_LAST = frozenset(_NEVER_LAST_TEXT.split())
_END = re.compile(r"""(?:[.!?…]+|[。！？])["'”’»)\]]*(?=\s|$)""")
_LAST_WORD = re.compile(r"([^\s(\[“\"'‘]+)$")
_OPENERS = "\"'“‘«([*_"


def split_sentences(text: str) -> list[str]:
    """The sentences of a paragraph in order, each as written, without the blanks between them.

    A line break inside a paragraph ends a sentence if what precedes it ends like one.
    """
    return list(_split(text))


@functools.lru_cache(maxsize=20_000)  # the rules for passages ask for the same paragraphs several times
def _split(text: str) -> tuple[str, ...]:
    sentences, start = [], 0
    for match in _END.finditer(text):
        end = match.end()
        if end < len(text) and not _ends(text, start, match):
            continue
        if sentence := text[start:end].strip():
            sentences.append(sentence)
        start = end
    if rest := text[start:].strip():
        sentences.append(rest)
    return tuple(sentences)


def _ends(text: str, start: int, match: re.Match[str]) -> bool:
    """Whether the punctuation closes a sentence, judged by the word before and the character after."""
    following = text[match.end() :].lstrip()
    opener = following.lstrip(_OPENERS)[:1]
    if match.group(0)[0] in "。！？":
        return True
    if match.group(0)[0] in "!?":
        return not opener.islower()
    if opener.islower() and not following.startswith(("i’", "iP")):
        return False
    if match.group(0).startswith((".", "…")) and match.group(0)[0] == ".":
        before = _LAST_WORD.search(text, start, match.start())
        word = before.group(1).lower().lstrip(_OPENERS) if before else ""
        if re.fullmatch(r"[a-z]", word) and word != "i" and text[match.start() - 1].isupper():
            return False  # an initial: J. Smith
        if word in _NEVER_LAST:
            return False
        if word in _ABBREVIATIONS:
            return (
                opener.isupper()
                and len(word) <= 4
                and word in {"etc", "inc", "ltd", "co", "corp", "jr", "sr", "a.m", "p.m", "u.s", "u.k"}
            )
        if re.fullmatch(r"\d{1,3}", word) and start == match.start() - len(word):
            return False  # a number at the head of a line: 1. First
    return True
