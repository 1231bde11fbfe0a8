"""The tree of an Eleventy site: the Markdown of its input folder."""

from __future__ import annotations

import re

from tunesmith.data.ingest.site_tree import Site, is_template_list, site_container
from tunesmith.data.ingest.tree import Tree

__all__ = ["CONTAINER"]

_CONFIGS = ("eleventy.config.js", "eleventy.config.cjs", "eleventy.config.mjs", "eleventy.config.ts")
_HIDDEN = (".eleventy.js", ".eleventy.cjs", ".eleventyignore")
_INPUT = re.compile(rb"\binput[\"']?\s*:\s*[\"']([\w./-]+)[\"']|setInputDirectory\(\s*[\"']([\w./-]+)[\"']")


def _site(tree: Tree) -> Site | None:
    if not tree.has_any(*_CONFIGS, *_HIDDEN):
        return None
    named = [match for name in _CONFIGS if name in tree for match in _INPUT.findall(tree.head(name))]
    folders = [(one or other).decode().strip("./") for one, other in named]
    folder = next((folder for folder in folders if folder and tree.has_folder(folder)), "")
    if not folder and not named and tree.has_folder("src/posts"):  # the settings are hidden, and say `src` as most do
        folder = "src"
    return Site(
        content=(folder,), built=frozenset(["_site", "dist", "public", "build"]) - {folder}, private=True, page=_is_page
    )


def _is_page(tree: Tree, name: str) -> bool:
    return not name.lower().endswith((".html", ".htm")) or not is_template_list(tree, name)


CONTAINER = site_container("eleventy", "the tree of an Eleventy site", _site, taken="posts and pages in Markdown and HTML")
