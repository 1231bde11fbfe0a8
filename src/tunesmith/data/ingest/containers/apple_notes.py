"""Notes as Apple's privacy page exports them from iCloud: a folder for each note, with a text of the same name."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from tunesmith.data.ingest.container import Container, Entry, File, LeftOut
from tunesmith.data.ingest.item import Facts
from tunesmith.data.ingest.mail_places import place_of_path
from tunesmith.data.ingest.policy import Policy
from tunesmith.data.ingest.tree import Tree

__all__ = ["CONTAINER"]

_DELETED_TEXT = """
recently deleted|zuletzt gelöscht|supprimés récemment|suppressions récentes|eliminado recientemente|eliminados
|eliminati di recente
|onlangs verwijderd|apagados recentemente|apagadas|nyligen raderade|senest slettede|недавно удаленные|最近削除した項目|最近删除
"""
_DELETED = frozenset(" ".join(name.split()) for name in _DELETED_TEXT.split("|"))
_LEAST = 2  # notes; and at least half of the texts are in folders of their own name


def _claimed(tree: Tree) -> Collection[str]:
    texts = [name for name in tree.names if name.lower().endswith(".txt")]
    notes = [name for name in texts if _is_note(name)]
    if len(notes) < _LEAST or 2 * len(notes) < len(texts):
        return ()
    homes = {name.rpartition("/")[0] for name in notes}
    return {*notes, *(name for name in tree.names if name.rpartition("/")[0] in homes)}


def _is_note(name: str) -> bool:
    folder, _, file = name.rpartition("/")
    return bool(folder) and file.removesuffix(".txt").removesuffix(".TXT") == folder.rpartition("/")[2]


def _entries(tree: Tree, policy: Policy) -> Iterator[Entry]:
    notes = [name for name in tree.names if _is_note(name) and name.lower().endswith(".txt")]
    yield LeftOut(reason="attachments of notes left out", count=len(tree.names) - len(notes))
    for name in notes:
        folders = name.split("/")[:-2]
        gone = any(folder.casefold() in _DELETED or place_of_path(folder) == "trash" for folder in folders)
        title = " ".join(name.split("/")[-2].split())
        yield File(name=name, kind="text", facts=Facts(title=title, status="deleted" if gone else "published"))


CONTAINER = Container(
    name="apple_notes",
    title="an export of Apple Notes",
    taken="your notes, with title",
    left_out="notes that were deleted recently, attachments",
    folder=_claimed,
    entries=_entries,
)
