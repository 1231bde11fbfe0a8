"""The tree of a Gatsby or Next.js site, where posts in Markdown and MDX lie where its makers like."""

from __future__ import annotations

from tunesmith.data.ingest.site_tree import Site, site_container
from tunesmith.data.ingest.tree import Tree

__all__ = ["CONTAINER"]

_BUILT = frozenset(["public", "out", "build", "dist", "static", "e2e", "tests", "__tests__", "cypress", "docs-internal"])
_PLACES_TEXT = """
content posts _posts blog articles data src/content src/posts src/pages src/app app pages
"""

_CONFIGS = tuple(f"{tool}.{suffix}" for tool in ("gatsby-config", "next.config") for suffix in ("js", "ts", "mjs", "cjs"))


def _site(tree: Tree) -> Site | None:
    if not tree.has_any(*_CONFIGS):
        return None
    places = tuple(place for place in _PLACES_TEXT.split() if tree.has_folder(place))
    return Site(content=places or ("",), built=_BUILT)


CONTAINER = site_container(
    "gatsby_next", "the tree of a Gatsby or Next.js site", _site, taken="posts and pages in Markdown and MDX"
)
