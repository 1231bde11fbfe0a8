"""The tree of a Pelican site: its articles and pages."""

from __future__ import annotations

import re

from tunesmith.data.ingest.site_tree import Site, site_container
from tunesmith.data.ingest.tree import Tree

__all__ = ["CONTAINER"]

_PATH = re.compile(rb"^PATH\s*=\s*[\"']([\w./-]+)[\"']", re.MULTILINE)


def _site(tree: Tree) -> Site | None:
    if not tree.has_any("pelicanconf.py"):
        return None
    match = _PATH.search(tree.head("pelicanconf.py")) if "pelicanconf.py" in tree else None
    folder = match[1].decode().strip("./") if match else "content"
    if not folder:
        return Site(content=("",), built=frozenset(["output"]))
    return Site(content=(folder if tree.has_folder(folder) else "content",), built=frozenset(["output"]))


CONTAINER = site_container("pelican", "the tree of a Pelican site", _site, taken="articles and pages of the content folder")
