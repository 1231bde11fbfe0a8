"""Parts of speech of English words: the Brill-type tagger of Pattern, as TextBlob keeps it. A word list and rules, no model."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Sequence
from typing import Any

__all__ = ["tag_words"]


def tag_words(words: Sequence[str]) -> list[tuple[str, str]]:
    """The words and signs of one sentence with their Penn Treebank tags (`NN`, `NNP`, `JJ`, `VBD`, …)."""
    return [(word, tag) for word, tag in _tagger()(list(words))] if words else []


@functools.cache
def _tagger() -> Callable[[list[str]], Any]:
    from textblob.en import parser  # brings nltk along: a second or two that only a build should pay

    find: Callable[[list[str]], Any] = parser.find_tags
    with warnings.catch_warnings():  # it leaves the files of its word lists open when it reads them, with the first words
        warnings.simplefilter("ignore", ResourceWarning)
        find(["Ada", "repairs", "kettles"])
    return find
