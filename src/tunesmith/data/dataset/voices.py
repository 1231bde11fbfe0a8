"""Whose words a set of documents holds: the share of each author, and the question to ask where nobody chose among several."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tunesmith.core.errors import DatasetError
from tunesmith.core.records import Document
from tunesmith.data.text.words import num_words

__all__ = ["Voice", "ask_for_one_voice", "voices"]

_HEARD = 0.05  # share of the words from which a second author is a voice, not a guest
_MOST = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Voice:
    """One author: documents, words, and share of the words of all documents. `name` is None for those that name nobody."""

    name: str | None
    documents: int
    words: int
    share: float


def voices(documents: Iterable[Document]) -> tuple[Voice, ...]:
    """The authors, most words first. A document of several authors counts for each of them in equal parts of its words.

    Spellings that differ in case or spaces alone are one author.
    """
    words: Counter[str | None] = Counter()
    count: Counter[str | None] = Counter()
    spelled: dict[str | None, str | None] = {None: None}
    for document in documents:
        size = num_words(document.text)
        names = [" ".join(name.split()) for name in (document.author or "").split(", ") if name.strip()]
        for name in names or (None,):
            key = name.casefold() if name else None
            spelled.setdefault(key, name)
            words[key] += size // max(1, len(names))
            count[key] += 1
    total = sum(words.values()) or 1
    found = (Voice(name=spelled[key], documents=count[key], words=words[key], share=words[key] / total) for key in words)
    return tuple(sorted(found, key=lambda voice: (-voice.words, voice.name or "")))


def ask_for_one_voice(found: Sequence[Voice], *, chosen: Sequence[str]) -> None:
    """DatasetError that names the authors, if several have a share of 5 % or more and none was `chosen`."""
    heard = [voice for voice in found if voice.name is not None and voice.share >= _HEARD]
    if chosen or len(heard) < 2:
        return
    shown = [f"{voice.name} {voice.share:.0%}" for voice in heard[:_MOST]]
    shown += [f"{len(heard) - _MOST} more"] if len(heard) > _MOST else []
    first = json.dumps([heard[0].name], ensure_ascii=False)
    raise DatasetError(
        "the texts have several authors, and it is not said whose style is to be learned",
        value=", ".join(shown),
        expected="the authors whose texts are taken; texts without a named author are taken too",
        hint=f"--set 'authors={first}'   or, for all of them, --set 'authors=[\"*\"]'",
    )
