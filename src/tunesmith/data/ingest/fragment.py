"""HTML without a page around it, as exports hold it in a field: every block counts, and nothing is taken for a menu."""

from __future__ import annotations

from collections import Counter

from tunesmith.data.ingest.item import Reading, make_document
from tunesmith.data.ingest.markup import fragment_blocks
from tunesmith.data.text.prose import text_from_blocks, without_title
from tunesmith.data.text.words import num_words

__all__ = ["read_fragment"]


def read_fragment(text: str, *, name: str, title: str | None = None) -> Reading:
    """One document from a fragment, without a first heading that repeats `title`.

    A fragment without words gives a note alone, since a picture can be a whole post.
    """
    notes: Counter[str] = Counter()
    _, blocks = without_title(fragment_blocks(text, notes), title or "")
    written = text_from_blocks(blocks)
    if not num_words(written):
        return Reading(notes={"texts without words left out": 1})
    return Reading(documents=(make_document(name=name, text=written, extraction="export"),), notes=dict(notes))
