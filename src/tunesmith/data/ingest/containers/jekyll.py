"""The tree of a Jekyll site: its posts, pages and collections."""

from __future__ import annotations

import re

from tunesmith.data.ingest.site_tree import Site, is_template_list, site_container
from tunesmith.data.ingest.tree import Tree

__all__ = ["CONTAINER"]

_CONFIGS = ("_config.yml", "_config.yaml", "_config.toml")
_COLLECTIONS = re.compile(rb"^collections:[ \t]*(?:#.*)?\n((?:[ \t-].*\n|[ \t]*#.*\n|\n)*)", re.MULTILINE)
_NAME = re.compile(rb"^(?:  ?|\t|- ?|  - ?)([\w-]+)[ \t]*:?[ \t]*(?:#.*)?$", re.MULTILINE)
_POST = re.compile(r"_posts/(?:.*/)?\d{4}-\d{1,2}-\d{1,2}-")
_NOT_SHOWN = frozenset(["_site", "_layouts", "_includes", "_sass", "_data", "_plugins", "_pages_off"])


def _site(tree: Tree) -> Site | None:
    has_config = tree.has_any(*_CONFIGS)
    if tree.has_any("_toc.yml") or not (has_config or _has_posts(tree)):
        return None
    if has_config and not (tree.has_folder("_posts") or tree.has_folder("_layouts") or tree.has_folder("_drafts")):
        named = b"".join(tree.head(name) for name in _CONFIGS if name in tree)
        if not any(word in named for word in (b"theme:", b"remote_theme", b"permalink:", b"jekyll", b"markdown:", b"baseurl")):
            return None
    return Site(
        content=("",),
        built=frozenset(["_site"]),
        private=True,
        lists=frozenset(["404"]),
        shown=frozenset(["_posts", "_pages", *_collections(tree)]),
        page=_is_page,
    )


def _has_posts(tree: Tree) -> bool:
    """Without settings a folder `_posts` says it only if its posts have dates in their names, as Jekyll demands."""
    return any(_POST.match(name) for name in tree.names) or (tree.has_folder("_posts") and tree.has_folder("_layouts"))


def _collections(tree: Tree) -> list[str]:
    """The folders of the collections that the settings declare."""
    for name in _CONFIGS:
        if name in tree and (match := _COLLECTIONS.search(tree.head(name).replace(b"\r\n", b"\n") + b"\n")):
            return [f"_{found.decode()}" for found in _NAME.findall(match[1])]
    if tree.has_any(*_CONFIGS):
        return []
    return [folder for folder in tree.folders if folder.startswith("_") and folder not in _NOT_SHOWN]


def _is_page(tree: Tree, name: str) -> bool:
    """Posts are pages; of all other files those with front matter that are not made by a loop over posts."""
    if any(part in {"_posts", "_drafts"} for part in name.split("/")):
        return True
    return tree.head(name, 8).lstrip(b"\xef\xbb\xbf").startswith(b"---") and not is_template_list(tree, name)


CONTAINER = site_container(
    "jekyll", "the tree of a Jekyll site", _site, taken="posts, pages and the collections that `_config.yml` names"
)
