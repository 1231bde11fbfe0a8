"""The tree of a Docusaurus site: blog, docs, pages and their translations."""

from __future__ import annotations

from tunesmith.data.ingest.site_tree import Site, site_container
from tunesmith.data.ingest.tree import Tree

__all__ = ["CONTAINER"]

_CONFIGS = tuple(f"docusaurus.config.{suffix}" for suffix in ("js", "ts", "mjs", "cjs"))


def _site(tree: Tree) -> Site | None:
    if not tree.has_any(*_CONFIGS):
        return None
    older = frozenset(folder for folder in ("versioned_docs",) if tree.has_folder(folder))
    versions = frozenset(part for folder in tree.folders if folder.startswith("i18n/") for part in folder.split("/")[3:4])
    return Site(
        content=("blog", "docs", "src/pages", "i18n", "docs-blog", "community"),
        built=frozenset(["build", "static"]),
        private=True,
        older=older | {part for part in versions if part.startswith("version-")},
    )


CONTAINER = site_container(
    "docusaurus",
    "the tree of a Docusaurus site",
    _site,
    taken="blog, docs and pages, in every language",
    left_out="older versions of the docs",
)
