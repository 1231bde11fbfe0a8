"""A section or a notebook of OneNote, in Microsoft's own binary form: recognised, and not read."""

from __future__ import annotations

from tunesmith.data.ingest.container import Container

__all__ = ["CONTAINER"]

_SECTION = bytes.fromhex("e4525c7b8cd8a74daeb15378d02996d3")  # MS-ONESTORE, 2.3.1: guidFileType of a section
_CONTENTS = bytes.fromhex("a12ff43dd9ef4c9eaeb1536ed02996d3")


def _is_notebook(name: str, head: bytes) -> bool:
    return head[:16] in {_SECTION, _CONTENTS} or (name.lower().endswith(".onepkg") and head[:4] == b"MSCF")


CONTAINER = Container(
    name="onenote",
    title="a OneNote notebook",
    taken="",
    left_out="",
    file=_is_notebook,
    suffixes=frozenset([".one", ".onepkg", ".onetoc2"]),
    instead="export it from OneNote (File, Export) as Word (.docx) or as single pages in HTML",
)
