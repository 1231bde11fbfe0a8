"""The tree of an MkDocs site: its documentation folder."""

from __future__ import annotations

import re

from tunesmith.data.ingest.site_tree import Site, site_container
from tunesmith.data.ingest.tree import Tree

__all__ = ["CONTAINER"]

_FOLDER = re.compile(rb"^docs_dir:[ \t]*[\"']?([\w./-]+)", re.MULTILINE)


def _site(tree: Tree) -> Site | None:
    if not tree.has_any("mkdocs.yml", "mkdocs.yaml"):
        return None
    name = "mkdocs.yml" if "mkdocs.yml" in tree else "mkdocs.yaml"
    match = _FOLDER.search(tree.head(name))
    folder = match[1].decode().strip("./") if match else "docs"
    return Site(content=(folder,), built=frozenset(["site"]) - {folder}) if tree.has_folder(folder) else None


CONTAINER = site_container("mkdocs", "the tree of an MkDocs site", _site, taken="pages of the documentation folder")
