"""The export of Notion, in HTML or in Markdown: its pages, without the ids in their names and the tables of its databases."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterator
from pathlib import PurePosixPath

from tunesmith.data.ingest.container import Broken, Container, Entry, LeftOut, Text
from tunesmith.data.ingest.item import Facts
from tunesmith.data.ingest.notion_page import Page, html_page, is_notion_html, markdown_page
from tunesmith.data.ingest.policy import Policy
from tunesmith.data.ingest.stored import columns
from tunesmith.data.ingest.tree import Tree
from tunesmith.data.text.decode import UnreadableError, decode

__all__ = ["CONTAINER"]

_ID = re.compile(r"[ _-](?:[0-9a-f]{32}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})(?=_all\.csv$|\.|/|$)")
_ALL = "_all.csv"
_NAMED = re.compile(_ID.pattern.partition("(?=")[0] + r"(?:_all)?\.(?:html|md|csv)$")


def _is_export(name: str, head: bytes) -> bool:
    return is_notion_html(head)


def _claimed(tree: Tree) -> Collection[str]:
    """What is named with an id, and what belongs to a database that is there as `name.csv` and `name_all.csv`."""
    index = "index.html" if "index.html" in tree and _lists_ids(tree) else None
    twins = [name.removesuffix(_ALL) for name in tree.files if name.endswith(_ALL) and name.replace(_ALL, ".csv") in tree]
    if not index and not twins and not any(_NAMED.search(name) for name in tree.files):
        return ()
    pages = [name for name in tree.names if name.lower().endswith((".html", ".md", ".csv"))]
    of_twins = tuple(start for twin in twins for start in (f"{twin}.csv", f"{twin}{_ALL}", f"{twin}/"))
    return [name for name in pages if _ID.search(name) or name == index or name.startswith(of_twins)]


def _lists_ids(tree: Tree) -> bool:
    """Whether the first page of a folder is the list of pages that Notion writes, which links their names."""
    named = next((match for name in tree.names if (match := _ID.search(name))), None)
    return named is not None and named[0][1:].encode() in tree.head("index.html")


def _entries(tree: Tree, policy: Policy) -> Iterator[Entry]:
    names = Counter(_bare(name) for name in tree.names)
    heads: dict[str, frozenset[str]] = {}
    for name in tree.names:
        if name.endswith(".csv"):  # the table of a view may hide what that of all columns (`_all`) names
            database = _ID.sub("", name.removesuffix(".csv").removesuffix("_all"))
            heads[database] = heads.get(database, frozenset()) | columns(tree.head(name))
    for name in tree.names:
        path = PurePosixPath(name)
        if path.suffix == ".csv":
            yield LeftOut(reason="tables of databases left out")
            continue
        if path.name == "index.html":
            yield LeftOut(reason="lists of pages left out")
            continue
        try:
            text = decode(tree.read(name))
            known = heads.get(str(PurePosixPath(_bare(name)).parent), frozenset())
            page = html_page(text) if path.suffix == ".html" else markdown_page(text, columns=known)
        except UnreadableError as error:
            yield Broken(name=name, reason=str(error))
            continue
        bare = _bare(name)
        kind = "fragment" if path.suffix == ".html" else "markdown"
        title = page.title or PurePosixPath(bare).stem
        known_as = "page" if len(tree.names) == 1 else bare if names[bare] == 1 else name
        yield Text(name=known_as, content=page.content, kind=kind, facts=_facts(page, title, policy))


def _facts(page: Page, title: str, policy: Policy) -> Facts:
    return Facts(title=title, url=page.url, author=policy.named(*page.authors), date=page.date, status=page.status)


def _bare(name: str) -> str:
    return _ID.sub("", name)


CONTAINER = Container(
    name="notion",
    title="a Notion export",
    taken="pages in HTML or Markdown, with title, and the date, author and state that their properties say",
    left_out="the tables of databases, lists of pages, ids, properties, comments, tables of contents, code, formulas, files",
    file=_is_export,
    suffixes=frozenset([".html"]),
    folder=_claimed,
    entries=_entries,
)
