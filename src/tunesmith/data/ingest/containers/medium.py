"""The export of Medium: the stories that were published; never drafts, answers to others, claps or the profile."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from pathlib import PurePosixPath

from lxml import html

from tunesmith.core.records import Status
from tunesmith.data.ingest.container import Broken, Container, Entry, LeftOut, Text
from tunesmith.data.ingest.item import Facts
from tunesmith.data.ingest.policy import Policy
from tunesmith.data.ingest.stored import day, line, parsed_html
from tunesmith.data.ingest.tree import Tree
from tunesmith.data.text.decode import UnreadableError, decode

__all__ = ["CONTAINER"]

_OF_ACCOUNT_TEXT = """
profile claps lists bookmarks highlights blocks ips interests sessions twitter facebook google partner-program pubs-following
topics-following users-following users-blocked publications following followers reading-list settings series
"""
_OF_ACCOUNT = frozenset(_OF_ACCOUNT_TEXT.split())
_PROFILE = "Medium user ID:"
_ACCOUNT = "files of the account (profile, claps, lists, bookmarks and others) left out"
_DROPPED = frozenset(["graf--mixtapeEmbed", "graf--pullquoteAttribution", "section-divider", "js-mixtapeImage", "graf--iframe"])


def _is_export(name: str, head: bytes) -> bool:
    if _PROFILE.encode() in head and b'data-field="body"' not in head:
        return True  # the page about the account, left out by itself too
    return b'data-field="body"' in head and b"h-entry" in head and (b"graf--" in head or b"medium.com" in head)


def _claimed(tree: Tree) -> Collection[str]:
    """All of the export, if its folder of posts is there and holds posts of Medium, whatever they are called."""
    if not tree.has_folder("posts"):
        return ()
    pages = [name for name in tree.names if name.startswith("posts/") and name.endswith(".html") and name.count("/") == 1]
    has_account = any(tree.has_folder(folder) for folder in _OF_ACCOUNT)
    if not any(_is_export(name, tree.head(name)) for name in (pages if has_account else pages[:3])):
        return ()
    posts = [name for name in pages if _is_export(name, tree.head(name))]
    inside = [name for name in tree.names if name.partition("/")[0] in _OF_ACCOUNT]
    return [*inside, *posts, *(name for name in ("README.html", "index.html") if name in tree)]


def _entries(tree: Tree, policy: Policy) -> Iterator[Entry]:
    for name in tree.names:
        if name.partition("/")[0] in _OF_ACCOUNT or name in {"README.html", "index.html"}:
            yield LeftOut(reason=_ACCOUNT)
            continue
        try:
            text = decode(tree.read(name))
            if _PROFILE in text and 'data-field="body"' not in text:
                yield LeftOut(reason=_ACCOUNT)
                continue
            yield _post(name, text, policy, alone=len(tree.names) == 1)
        except UnreadableError as error:
            yield Broken(name=name, reason=str(error))


def _post(name: str, text: str, policy: Policy, *, alone: bool) -> Entry:
    root = parsed_html(text)
    body = next(iter(root.xpath("//section[@data-field='body']")), None)
    if body is None:
        raise UnreadableError("it does not look like a story of Medium")
    title = _first(root, "//h1[contains(@class, 'p-name')]")
    published = next((str(value) for value in root.xpath("//time[contains(@class, 'dt-published')]/@datetime")), None)
    is_draft = PurePosixPath(name).name.startswith(("draft_", "draft-")) or not (
        published or root.xpath("//a[contains(@class, 'p-canonical')]")
    )
    if not is_draft and _is_answer(body, title) and "replies" not in policy.extras:
        return LeftOut(reason="answers to other people's stories left out")
    status: Status = "draft" if is_draft else "published"
    author = next(iter(root.xpath("//a[contains(@class, 'p-author')]")), None)
    handle = re.search(r"/(@[\w.-]+)", author.get("href", "")) if author is not None else None
    names = (line(author.text_content()), handle[1] if handle else None) if author is not None else ()
    facts = Facts(
        title=title,
        url=next((str(link) for link in root.xpath("//a[contains(@class, 'p-canonical')]/@href")), None),
        author=policy.named(*names),
        date=day(published),
        status=status,
    )
    for element in list(body.iter()):
        if isinstance(element.tag, str) and not _DROPPED.isdisjoint(element.get("class", "").split()):
            element.drop_tree()
    return Text(name="story" if alone else name, content=html.tostring(body, encoding="unicode"), kind="fragment", facts=facts)


def _is_answer(body: html.HtmlElement, title: str | None) -> bool:
    """An answer has no title of its own: Medium names it after its first words."""
    if title is None or body.xpath(".//*[contains(@class, 'graf--title') or self::h1 or self::h2 or self::h3]"):
        return False
    words = " ".join(body.text_content().split())
    return words.casefold().startswith(title.rstrip("…. ").casefold())


def _first(root: html.HtmlElement, path: str) -> str | None:
    return next((line(element.text_content()) for element in root.xpath(path)), None)


CONTAINER = Container(
    name="medium",
    title="a Medium export",
    taken="published stories, with title, author, date and canonical address",
    left_out="drafts; answers to other people's stories (`ingest.extras: [replies]` takes them); profile, claps, lists, "
    "bookmarks, highlights and all other files of the account; embeds and captions",
    file=_is_export,
    suffixes=frozenset([".html"]),
    folder=_claimed,
    entries=_entries,
)
