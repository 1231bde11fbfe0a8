"""The tree of a Zola site: what lies in its content folder."""

from __future__ import annotations

from tunesmith.data.ingest.site_tree import Site, site_container
from tunesmith.data.ingest.tree import Tree

__all__ = ["CONTAINER"]


def _site(tree: Tree) -> Site | None:
    if not (tree.has_any("config.toml", "zola.toml") and tree.has_folder("content")):
        return None
    if not (tree.has_folder("templates") or tree.has_any("zola.toml")):
        return None
    return Site(content=("content",), built=frozenset(["public"]), lists=frozenset(["_index"]))


CONTAINER = site_container("zola", "the tree of a Zola site", _site, taken="posts and pages of the content folder")
