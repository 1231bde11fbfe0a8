"""The tree of an Astro site: its content collections and the pages in Markdown."""

from __future__ import annotations

from tunesmith.data.ingest.site_tree import Site, site_container
from tunesmith.data.ingest.tree import Tree

__all__ = ["CONTAINER"]

_CONFIGS = tuple(f"astro.config.{suffix}" for suffix in ("mjs", "ts", "js", "mts", "cjs"))


def _site(tree: Tree) -> Site | None:
    if not tree.has_any(*_CONFIGS):
        return None
    places = ("src/content", "src/pages", "src/data", "src/blog", "src/posts", "content", "posts", "blog")
    return Site(content=places, built=frozenset(["dist", "public"]), private=True)


CONTAINER = site_container(
    "astro", "the tree of an Astro site", _site, taken="content collections (`src/content`) and pages in Markdown and MDX"
)
