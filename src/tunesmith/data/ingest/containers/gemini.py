"""What one asked Gemini (Takeout, My Activity) or Copilot: your own long requests, as with other assistants."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from tunesmith.data.ingest.assistants import Turn, read_turns
from tunesmith.data.ingest.container import Container, Entry, Ready
from tunesmith.data.ingest.markup import fragment_blocks
from tunesmith.data.ingest.metadata import iso_date
from tunesmith.data.ingest.personal import json_in, objects, text_of
from tunesmith.data.ingest.policy import Policy
from tunesmith.data.ingest.tree import Tree
from tunesmith.data.rows.table import table_rows
from tunesmith.data.text.prose import text_from_blocks

__all__ = ["CONTAINER"]

_PRODUCT = re.compile(rb'"(?:header|products)"\s*:\s*\[?\s*"(?:Gemini|Bard)', re.IGNORECASE)
_COLUMNS = (b"conversation", b"time", b"author", b"message")
# The title of an entry is a verb and what was asked, parted by a blank that does not break; a colon in some languages.
_VERB = re.compile(r"^(?:Prompted|Asked|Said|Sent)[\s\u00a0:]+|^[^\n]{2,30}?(?:\u00a0|:\s)")
Conversation = tuple[str, str | None, list[Turn]]


def _is_export(name: str, head: bytes) -> bool:
    if name.lower().endswith(".csv"):
        columns = [column.strip(b' "\r\xef\xbb\xbf') for column in head.split(b"\n")[0].lower().split(b",")]
        return all(column in columns for column in _COLUMNS)
    return _PRODUCT.search(head) is not None and b'"title"' in head and b'"time"' in head


def _entries(tree: Tree, policy: Policy) -> Iterator[Entry]:
    (name,) = tree.names
    data = tree.read(name)
    found = _of_table(data, name) if name.lower().endswith(".csv") else _of_activity(json_in(data))
    yield Ready(name="requests", reading=read_turns(found, name="requests", policy=policy))


def _of_activity(value: object) -> list[Conversation]:
    """Newest first in the file; every entry is one request with its answer, as it does not say which go together."""
    found: list[Conversation] = []
    for number, row in enumerate(objects(value if isinstance(value, list) else [value]), 1):
        said = text_of(row.get("title"))
        asked = _VERB.sub("", said, count=1)
        if asked == said and not re.match(r"Gemini|Bard", text_of(row.get("header"))):
            continue
        day = iso_date(row.get("time"))
        parts = [text_of(part.get("html")) for part in objects(row.get("safeHtmlItem"))]
        answer = "\n\n".join(text_from_blocks(fragment_blocks(part)) for part in parts)
        turns = [Turn("user", asked, day), *([Turn("assistant", answer, day)] if answer else [])]
        found.append((f"{row.get('time') or number}", None, turns))
    return found


def _of_table(data: bytes, name: str) -> list[Conversation]:
    rooms: dict[str, list[tuple[str, Turn]]] = {}
    for _, row, problem in table_rows(data, name=name):
        if not problem:
            rooms.setdefault(row["conversation"], []).append((row["time"], _turn(row)))
    return [(room, None, [turn for _, turn in sorted(said, key=lambda one: one[0])]) for room, said in rooms.items()]


def _turn(row: Mapping[str, str]) -> Turn:
    return Turn(
        "user" if row["author"].strip().lower() in ("human", "user", "you") else "assistant",
        row["message"],
        iso_date(row["time"]),
    )


CONTAINER = Container(
    name="gemini",
    title="the activity of Gemini or Copilot",
    taken="your own requests of at least 40 words; with `--include model-answers` requests with answers as pairs",
    left_out="the answers of the model, code, quotations, texts pasted below a request",
    file=_is_export,
    suffixes=frozenset([".json", ".csv"]),
    entries=_entries,
)
