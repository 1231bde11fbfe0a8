"""What one asked Copilot: your own long requests, as with other assistants."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from tunesmith.data.ingest.assistants import Turn, read_turns
from tunesmith.data.ingest.container import Container, Entry, Ready
from tunesmith.data.ingest.metadata import iso_date
from tunesmith.data.ingest.policy import Policy
from tunesmith.data.ingest.tree import Tree
from tunesmith.data.rows.table import table_rows

__all__ = ["CONTAINER"]

_COLUMNS = (b"conversation", b"time", b"author", b"message")
Conversation = tuple[str, str | None, list[Turn]]


def _is_export(name: str, head: bytes) -> bool:
    columns = [column.strip(b' "\r\xef\xbb\xbf') for column in head.split(b"\n")[0].lower().split(b",")]
    return all(column in columns for column in _COLUMNS)


def _entries(tree: Tree, policy: Policy) -> Iterator[Entry]:
    (name,) = tree.names
    found = _of_table(tree.read(name), name)
    yield Ready(name="requests", reading=read_turns(found, name="requests", policy=policy))


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
    name="copilot",
    title="the activity of Copilot",
    taken="your own requests of at least 40 words; with `--include model-answers` requests with answers as pairs",
    left_out="the answers of the model, code, quotations, texts pasted below a request",
    file=_is_export,
    suffixes=frozenset([".csv"]),
    entries=_entries,
)
