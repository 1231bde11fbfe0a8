"""How a text is written, without what it is about: pieces of equal length in which content words are masked, and their rhythm.

Masking keeps function words, punctuation, capitals and numbers' places, and hides all other words (text distortion; Stamatatos
2017, "Authorship Attribution Using Text Distortion"), so that a writer is not known by a subject. The function words are
English.
"""

from __future__ import annotations

import re
import statistics
from functools import lru_cache

from tunesmith.data.text.lexicon import STOP_WORDS
from tunesmith.data.text.sentences import split_sentences

__all__ = ["MASK", "masked", "pieces", "prose", "rhythm", "spread"]

MASK = "a*"
_NOT_STYLE_TEXT = """
today tomorrow yesterday tonight monday tuesday wednesday thursday friday saturday sunday january february march april june july
august september october november december zero four five six seven eight nine ten hundred thousand million billion dozen
"""
_KEPT = STOP_WORDS - frozenset(_NOT_STYLE_TEXT.split())
_WORD = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)*|\d+(?:[.,]\d+)*")
_CODE = re.compile(r"```.*?```|`[^`\n]*`", re.DOTALL)
_LINK = re.compile(r"!?\[([^\]]*)\]\([^)]*\)")
_ADDRESS = re.compile(r"(?:https?://|www\.)\S+")
_LINE_MARK = re.compile(r"^\s*(?:#{1,6}|>|[-*+]|\d{1,3}[.)])\s+", re.MULTILINE)
_MARKUP = re.compile(r"[*_|~<>{}\[\]\\]+")
_QUOTES = str.maketrans("’‘“”", "''\"\"")


def prose(text: str) -> str:
    """The text without Markdown, code and addresses, with straight quotation marks and single blanks: what is left is prose."""
    plain = _ADDRESS.sub(" ", _LINK.sub(r"\1", _CODE.sub(" ", text)))
    return " ".join(_MARKUP.sub(" ", _LINE_MARK.sub("", plain)).translate(_QUOTES).split())


def pieces(text: str, size: int, most: int) -> list[str]:
    """Pieces of `size` words each from one text, without the rest that is shorter; of many, `most`, evenly spread."""
    found = text.split()
    whole = [" ".join(found[at : at + size]) for at in range(0, len(found) - size + 1, size)]
    return [whole[i] for i in spread(len(whole), most)]


def spread(count: int, most: int) -> list[int]:
    """The positions of up to `most` of `count` things, evenly spread from the first to the last."""
    if count <= most:
        return list(range(count))
    step = (count - 1) / max(1, most - 1)
    return [round(number * step) for number in range(most)]


@lru_cache(maxsize=10_000)  # five folds read the same pieces
def masked(piece: str) -> str:
    """The piece with every word that is not a function word replaced by `a*` (`A*` if it has a capital), numbers by `#`."""

    def replace(match: re.Match[str]) -> str:
        word = match.group(0)
        if word[0].isdigit():
            return "#"
        if word.lower() in _KEPT:
            return word
        return MASK.capitalize() if word[0].isupper() else MASK

    return _WORD.sub(replace, piece)


@lru_cache(maxsize=10_000)
def rhythm(piece: str) -> tuple[float, ...]:
    """Sentence lengths in words (mean, deviation, share up to six and from thirty), and marks per hundred words."""
    lengths = [len(sentence.split()) for sentence in split_sentences(piece)] or [0]
    count = max(1, len(piece.split()))
    marks = [100 * piece.count(mark) / count for mark in (",", ";", ":", "?", "!", "(", '"', "'", "…", "—", "–", "-")]
    return (
        statistics.fmean(lengths),
        statistics.pstdev(lengths),
        sum(length <= 6 for length in lengths) / len(lengths),
        sum(length >= 30 for length in lengths) / len(lengths),
        statistics.fmean(map(len, piece.split() or [""])),
        *marks,
    )
