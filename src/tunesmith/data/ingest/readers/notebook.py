"""Jupyter notebooks to documents: the Markdown cells are the prose; code and its outputs are left out and counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from tunesmith.data.ingest.article import article
from tunesmith.data.ingest.front_matter import has_front_matter, read_front_matter
from tunesmith.data.ingest.item import Reading
from tunesmith.data.ingest.markdown import markdown_blocks, without_data_uris
from tunesmith.data.ingest.metadata import Metadata, stated_metadata
from tunesmith.data.ingest.reader import Reader
from tunesmith.data.text.decode import UnreadableError
from tunesmith.data.text.prose import Block

__all__ = ["READER", "read_notebook"]

_MAX_BYTES = 64 * 1024 * 1024
_STATED = ("title", "author", "authors", "date", "lang", "license", "draft", "status", "published", "private", "hidden")
_REMOVED = frozenset(["remove-cell", "remove_cell", "removecell"])
_DAMAGED = "it is named .ipynb but holds no notebook"


def read_notebook(data: bytes, *, name: str) -> Reading:
    """One document from the Markdown cells of one notebook (of version 3 or 4), each cell read by itself.

    Front matter is read from the notebook's metadata, and from the first cell, where Quarto has it. UnreadableError if the file
    is not a notebook or its cells hold no prose.
    """
    if len(data) > _MAX_BYTES:
        raise UnreadableError("it is a notebook of more than 64 MB; clear its outputs and save it again")
    try:
        notebook = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise UnreadableError(f"{_DAMAGED} ({error})") from error
    if not isinstance(notebook, Mapping):
        raise UnreadableError(_DAMAGED)
    cells = list(_cells(notebook))
    notes: Counter[str] = Counter()
    metadata, blocks = _read(cells, stated=_mapping(notebook.get("metadata")), name=name, notes=notes)
    return article(blocks, metadata=metadata, name=name, extraction="notebook", notes=notes, is_empty=not cells)


def _cells(notebook: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    sheets = notebook.get("worksheets")
    groups = [notebook.get("cells")] if "cells" in notebook else [_mapping(sheet).get("cells") for sheet in _list(sheets)]
    if not groups:
        raise UnreadableError(_DAMAGED)
    for group in groups:
        yield from (cell for cell in _list(group) if isinstance(cell, Mapping))


def _read(
    cells: list[Mapping[str, Any]], *, stated: Mapping[str, Any], name: str, notes: Counter[str]
) -> tuple[Metadata, list[Block]]:
    values = {key: stated[key] for key in _STATED if key in stated}
    metadata, blocks = stated_metadata(values, name), list[Block]()
    for number, cell in enumerate(cells):
        kind, source = cell.get("cell_type"), _source(cell)
        if number == 0 and kind in {"raw", "markdown"} and has_front_matter(source):
            metadata, source = read_front_matter(source, name)
        if kind == "code":
            notes["code cells left out"] += 1
            notes["outputs of code left out"] += len(_list(cell.get("outputs")))
        elif _REMOVED & {str(tag).lower() for tag in _list(_mapping(cell.get("metadata")).get("tags"))}:
            notes["cells that are marked as removed left out"] += 1
        elif kind == "heading":
            level = cell.get("level")
            marks = "#" * (level if isinstance(level, int) and 1 <= level <= 6 else 2)
            blocks += markdown_blocks(f"{marks} {source}", name=name, notes=notes)
        elif kind == "markdown":
            blocks += markdown_blocks(source, name=name, notes=notes)
    return metadata, blocks


def _source(cell: Mapping[str, Any]) -> str:
    source = cell.get("source")
    text = "".join(part for part in _list(source) if isinstance(part, str)) if isinstance(source, list) else source
    return without_data_uris(text.replace("\r\n", "\n").replace("\r", "\n")) if isinstance(text, str) else ""


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


READER = Reader(kind="notebook", read=read_notebook, suffixes=frozenset([".ipynb"]))
