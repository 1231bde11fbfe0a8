"""From prose blocks and metadata to the document of a file, alike for Markdown, Org, LaTeX and every other markup."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from tunesmith.data.ingest.item import Reading, make_document
from tunesmith.data.ingest.metadata import Metadata, title_from_name
from tunesmith.data.text.decode import UnreadableError
from tunesmith.data.text.prose import Block, text_from_blocks

__all__ = ["article"]


def article(
    blocks: Sequence[Block], *, metadata: Metadata, name: str, extraction: str, notes: Mapping[str, int], is_empty: bool = False
) -> Reading:
    """The one document of a file. A first heading that says the title, or that is one where none is stated, leaves the text.

    UnreadableError if no prose is left, unless the text is not published anyway; `is_empty`: nothing stood in its body at all.
    """
    title = metadata.title
    if blocks and blocks[0].kind == "heading":
        heading = blocks[0].text.lstrip("# ")
        if (title is None and blocks[0].text.startswith("# ")) or (title and heading.casefold() == title.casefold()):
            title, blocks = title or heading, blocks[1:]
    if not any(block.kind != "heading" for block in blocks):
        if metadata.status != "published":
            return Reading(notes={"texts without words that are not published": 1})
        raise UnreadableError("it is empty" if is_empty else "it contains no prose")
    facts = replace(metadata, title=title or title_from_name(name)).facts()
    document = make_document(name=name, text=text_from_blocks(blocks), extraction=extraction, **facts)
    return Reading(documents=(document,), notes={what: count for what, count in notes.items() if count})
