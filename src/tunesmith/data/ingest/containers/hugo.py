"""The tree of a Hugo site: what lies in its content folder."""

from __future__ import annotations

import re

from tunesmith.data.ingest.site_tree import Site, site_container
from tunesmith.data.ingest.tree import Tree

__all__ = ["CONTAINER"]

_OWN = ("hugo.toml", "hugo.yaml", "hugo.yml", "hugo.json", "config/_default/hugo.toml", "config/_default/hugo.yaml")
_SHARED = ("config.toml", "config.yaml", "config.yml", "config.json")
_DEFAULT = ("config/_default/config.toml", "config/_default/config.yaml", "config/_default/params.toml")
_CONTENT = re.compile(rb"^[ \t]*\"?contentDir\"?[ \t]*[:=][ \t]*[\"']?([\w./-]+)", re.MULTILINE | re.IGNORECASE)
_OF_HUGO = re.compile(
    rb"\b(?:baseURL|languageCode|defaultContentLanguage|contentDir|publishDir|buildDrafts|paginate|permalinks|taxonomies"
    rb"|theme|markup|params)\b",
    re.IGNORECASE,
)
_FOLDERS = ("archetypes", "layouts", "themes")
_THEME = re.compile(r"themes/[^/]+/(?:theme\.(?:toml|yaml|yml)|(?:layouts|archetypes|static|assets)/.*)")


def _site(tree: Tree) -> Site | None:
    if not tree.has_folder("content") and not tree.has_any(*_OWN, *_DEFAULT):
        return None
    has_folders = any(tree.has_folder(folder) for folder in _FOLDERS)
    is_own = tree.has_any(*_OWN, *_DEFAULT) or (has_folders and _has_parts(tree))
    is_shared = any(name in tree and _OF_HUGO.search(tree.head(name)) for name in _SHARED)
    if not is_own and not (is_shared and not tree.has_folder("templates")):
        return None
    if tree.has_any("pelicanconf.py") or (tree.has_folder("templates") and not has_folders and not tree.has_any(*_OWN)):
        return None
    named = {
        match[1].decode().strip("./")
        for name in (*_OWN, *_SHARED, *_DEFAULT, "config/_default/languages.toml", "config/_default/languages.yaml")
        if name in tree
        for match in _CONTENT.finditer(tree.head(name))
    }
    content = tuple(sorted(folder for folder in named if tree.has_folder(folder))) or ("content",)
    return Site(content=content, built=frozenset(["public", "resources"]) - {*content}, lists=frozenset(["_index"]))


def _has_parts(tree: Tree) -> bool:
    """Whether the folders hold what Hugo has there: many people have a folder `themes`, `content` or `layouts` for their
    own texts."""
    for name in tree.names:
        if name == "archetypes/default.md" or _THEME.fullmatch(name):
            return True
        if name.startswith(("archetypes/", "layouts/")) and b"{{" in tree.head(name):
            return True
    return False


CONTAINER = site_container("hugo", "the tree of a Hugo site", _site, taken="posts and pages of the content folder")
