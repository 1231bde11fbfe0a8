"""The archive of a Micro.blog (`.bar`): its JSON feed, without the page that shows the same posts."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from tunesmith.data.ingest.container import Container, Entry, File, LeftOut
from tunesmith.data.ingest.policy import Policy
from tunesmith.data.ingest.tree import Tree

__all__ = ["CONTAINER"]


def _claimed(tree: Tree) -> Collection[str]:
    if "feed.json" not in tree or "index.html" not in tree or b"jsonfeed.org/version" not in tree.head("feed.json", 4096):
        return ()
    if sum(name.endswith(".html") for name in tree.names) > 1:  # a site that has a feed as well
        return ()
    return ("feed.json", "index.html")


def _entries(tree: Tree, policy: Policy) -> Iterator[Entry]:
    yield LeftOut(reason="pages that list others left out")
    yield File(name="feed.json", kind="feed")


CONTAINER = Container(
    name="microblog",
    title="a Micro.blog archive",
    taken="posts, from the feed that the archive holds",
    left_out="the page that shows the same posts once more; uploads",
    folder=_claimed,
    entries=_entries,
)
