"""The tree of a Hexo site: the posts and pages of its source folder."""

from __future__ import annotations

from tunesmith.data.ingest.site_tree import Site, site_container
from tunesmith.data.ingest.tree import Tree

__all__ = ["CONTAINER"]


def _site(tree: Tree) -> Site | None:
    has_posts = tree.has_folder("source/_posts") or tree.has_folder("source/_drafts")
    if not has_posts or not (tree.has_any("_config.yml", "package.json") or tree.has_folder("scaffolds")):
        return None
    return Site(
        content=("source",),
        built=frozenset(["public"]),
        private=True,
        shown=frozenset(["_posts"]),
        drafts=frozenset(["_drafts"]),
    )


CONTAINER = site_container("hexo", "the tree of a Hexo site", _site, taken="posts and pages of the source folder")
