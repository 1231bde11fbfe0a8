"""The page that Google Takeout lays over an archive, which is no writing; what lies in the archive is read by its own kinds."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from tunesmith.data.ingest.container import Container, Entry, LeftOut
from tunesmith.data.ingest.policy import Policy
from tunesmith.data.ingest.tree import Tree

__all__ = ["CONTAINER"]

_PAGE = "archive_browser.html"


def _claimed(tree: Tree) -> Collection[str]:
    return [_PAGE] if _PAGE in tree and b"Google" in tree.head(_PAGE) else ()


def _entries(tree: Tree, policy: Policy) -> Iterator[Entry]:
    yield LeftOut(reason="pages that list an archive left out", count=len(tree.names))


CONTAINER = Container(
    name="google_takeout",
    title="an archive of Google Takeout",
    taken="mail, notes of Keep and the activity of Gemini, each as its own kind",
    left_out="the page that lists the archive",
    folder=_claimed,
    entries=_entries,
)
