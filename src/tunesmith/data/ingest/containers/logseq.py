"""A graph of Logseq: its pages and journals, without backups and whiteboards."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from urllib.parse import unquote

from tunesmith.data.ingest.container import Container, Entry, File, LeftOut
from tunesmith.data.ingest.item import Facts
from tunesmith.data.ingest.policy import Policy
from tunesmith.data.ingest.stored import day
from tunesmith.data.ingest.tree import Tree

__all__ = ["CONTAINER"]

_JOURNAL = re.compile(r"(\d{4})[_-](\d{2})[_-](\d{2})\.(?:md|org)$")
_OTHER = re.compile(r"(?:contents|templates?|favorites|card|query)\.(?:md|org)$", re.IGNORECASE)


def _claimed(tree: Tree) -> Collection[str]:
    known = "logseq/config.edn" in tree or tree.has_folder("logseq/bak") or tree.has_folder("logseq/version-files")
    if not known or not (tree.has_folder("pages") or tree.has_folder("journals")):
        return ()
    return [name for name in tree.names if name.lower().endswith((".md", ".org", ".edn", ".excalidraw"))]


def _entries(tree: Tree, policy: Policy) -> Iterator[Entry]:
    for name in tree.names:
        folder, _, last = name.partition("/")
        if folder == "logseq":
            yield LeftOut(reason="backups and settings left out")
        elif folder not in {"pages", "journals"} or last.endswith((".edn", ".excalidraw")):
            yield LeftOut(reason="drawings and whiteboards left out")
        elif _OTHER.fullmatch(last):
            yield LeftOut(reason="templates left out")
        elif journal := _JOURNAL.fullmatch(last):
            stated = day("-".join(journal.groups()))
            yield File(name=name, facts=Facts(title=stated, date=stated, date_origin="name") if stated else Facts())
        else:
            title = unquote(last.rpartition(".")[0]).replace("___", "/")
            yield File(name=name, facts=Facts(title=title) if re.search(r"%[0-9A-F]{2}|___", last) else Facts())


CONTAINER = Container(
    name="logseq",
    title="a Logseq graph",
    taken="pages and journals, the day of a journal as its date",
    left_out="backups, settings, templates, drawings and whiteboards",
    folder=_claimed,
    entries=_entries,
)
