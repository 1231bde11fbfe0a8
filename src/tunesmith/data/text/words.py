"""Words: found in a text, and made alike where only their form differs. The endings are those of English."""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence

__all__ = ["fold", "num_words", "runs", "singular", "stem", "words"]

_WORD = re.compile(r"[^\W_]+(?:['’\-.&][^\W_]+)*")
_SUFFIX = re.compile(r"(?:'s|ing|edly|ed|ies|es|s|ly|er|est|ment|ness|ation|tion)$")


def words(text: str) -> list[str]:
    """The words of a text, as written: letters and digits, joined by inner apostrophes, hyphens, dots and ampersands."""
    return _WORD.findall(text)


def num_words(text: str) -> int:
    """How many words a text has."""
    return len(_WORD.findall(text))


def runs(said: Sequence[str], length: int) -> list[tuple[str, ...]]:
    """All runs of so many words, in order; none if there are fewer words."""
    return list(zip(*(said[start:] for start in range(length)), strict=False))


def fold(word: str) -> str:
    """A word or text in lower case, with straight apostrophes."""
    return word.casefold().replace("’", "'")


def stem(word: str) -> str:
    """A word in lower case without up to two endings, such as `repair` for `repairing`; for comparing alone, never shown."""
    for _ in range(2):
        shorter = _SUFFIX.sub("", word)
        if len(shorter) >= 3:
            word = shorter
    return word[:-1] if len(word) > 4 and word[-1] in "ey" else word


@functools.lru_cache(maxsize=100_000)
def singular(word: str) -> str:
    """A noun in lower case without the ending of its plural or genitive."""
    word = word.removesuffix("'s")
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    if word.endswith(("ches", "shes", "sses", "xes", "zzes")):
        return word[:-2]
    return word[:-1] if word.endswith("s") and not word.endswith(("ss", "us", "is")) and len(word) > 3 else word
