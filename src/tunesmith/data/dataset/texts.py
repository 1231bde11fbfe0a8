"""Documents to rows of plain text: all of their words, in their order, cut where a row is full."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from tunesmith.core.records import Document, digest
from tunesmith.core.texts import Text
from tunesmith.data.dataset.cuts import Drops
from tunesmith.data.dataset.passages import Built

__all__ = ["Cut", "build_texts", "cut_rows", "text_of"]

Cut = Callable[[str], Sequence[tuple[str, str]]]
"""The parts of a document as (what precedes it, as context; the part), in order. Joined, the parts are the document."""


def text_of(document: Document) -> Text:
    """The document as one row."""
    return Text(
        id=digest("text", document.id)[:16],
        text=document.text,
        document_id=document.id,
        group=document.id,
        source=document.source,
        title=document.title,
        license=document.license,
    )


def cut_rows(whole: Iterable[Text], cut: Cut) -> tuple[Text, ...]:
    """The rows of whole documents, each in its parts."""
    rows: list[Text] = []
    for text in whole:
        parts = cut(text.text)
        for number, (before, part) in enumerate(parts, 1):
            id = text.id if len(parts) == 1 else f"{text.id}:{number}"
            rows.append(replace(text, id=id, text=part, before=before, ends=number == len(parts)))
    return tuple(rows)


def build_texts(documents: Sequence[Document], *, cut: Cut) -> Built[Text]:
    """Every document with a word in it, each text once; the rest is counted."""
    drops, seen, kept = Drops(), set[str](), []
    for document in documents:
        if not any(sign.isalnum() for sign in document.text):
            drops.add("no word in the text", document.title or document.source)
        elif document.text in seen:
            drops.add("exact copy of another text", document.text)
        else:
            seen.add(document.text)
            kept.append(text_of(document))
    return Built(examples=cut_rows(kept, cut), dropped=dict(drops.counts), dropped_samples=drops.samples)
