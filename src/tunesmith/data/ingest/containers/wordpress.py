"""The export file of WordPress (WXR): its posts and pages, with status, author and date; nothing that a plugin stored there."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator

from lxml import etree

from tunesmith.core.records import Status
from tunesmith.data.ingest.container import Container, Entry, LeftOut, Text
from tunesmith.data.ingest.item import Facts
from tunesmith.data.ingest.metadata import iso_date
from tunesmith.data.ingest.policy import Policy
from tunesmith.data.ingest.tree import Tree
from tunesmith.data.text.decode import UnreadableError

__all__ = ["CONTAINER", "read_items", "with_paragraphs"]

_WRITING = frozenset(
    [
        "post",
        "page",
        "article",
        "essay",
        "story",
        "note",
        "poem",
        "review",
        "newsletter",
        "column",
        "diary",
        "journal",
        "chapter",
    ]
)
_STATUS: dict[str, Status] = {
    "publish": "published",
    "private": "private",
    "future": "scheduled",
    "trash": "deleted",
}  # every other one (draft, pending, auto-draft, what a plugin made up) is not published: a draft
_WIDE = (b"\xff\xfe", b"\xfe\xff")  # UTF-16, of which single bytes say nothing
_CONTROL = bytes(code for code in range(32) if code not in b"\t\n\r")
_END_BYTES = 2000
_NOT_WRITING = frozenset(["revision", "attachment", "product", "feedback", "popup", "slide", "form"])
_NO_POST = "items other than posts left out"
_COMMENTS = "comments left out"
# Shortcodes whose content is no prose of the author, with their content; of all others only the tags go.
_DROPPED = (
    "caption|code|sourcecode|source|footnote|ref|contact-form-7|contact-form|gallery|embed|audio|video|playlist|math|latex"
)
_ENCLOSED = re.compile(rf"\[(?P<name>{_DROPPED})(?=[\s\]])[^\]]*\](?:(?:(?!\[(?P=name)[\s\]]).)*?\[/(?P=name)\])", re.DOTALL)
_LONE = re.compile(rf"\[/?(?:{_DROPPED}|more|nextpage)(?:\s[^\[\]]*)?/?\]")
_OTHER = re.compile(r"\[[A-Za-z][\w-]*(?:\s+[\w-]+=(?:\"[^\"]*\"|'[^']*'|[^\s\]]+))+\s*/?\]")
_BARE = re.compile(r"\[([A-Za-z][\w-]*)\]")
_CLOSING = re.compile(r"\[/([A-Za-z][\w-]*)\]")
# Blocks that are no prose, or repeat it, with all that they hold.
_NO_PROSE_BLOCK = re.compile(
    r"<!-- wp:(?P<name>(?:[\w-]+/)?(?:[\w-]*form[\w-]*|pullquote))\s(?:(?!/-->).)*?-->.*?<!-- /wp:(?P=name) -->", re.DOTALL
)
_BLOCK = re.compile(
    r"</?(?:p|div|h[1-6]|ul|ol|li|dl|blockquote|pre|table|tr|td|th|figure|hr|form|section|article|iframe|script|style|!--)[\s>/-]",
    re.IGNORECASE,
)
_NOTE = re.compile(r"<sup\b[^<>]*(?:data-fn|class=\"[^\"]*(?:fn|footnote))[^<>]*>.*?</sup\s*>", re.IGNORECASE | re.DOTALL)
_PRE = re.compile(r"<(pre|script|style)\b.*?</\1\s*>", re.IGNORECASE | re.DOTALL)


def _is_export(name: str, head: bytes) -> bool:
    return b"wordpress.org/export/" in head and b"<rss" in head


def read_items(tree: Tree, policy: Policy) -> Iterator[Entry]:
    """The items of an export file, each as a text or as why it is left out."""
    (name,) = tree.names
    authors: dict[str, tuple[str, ...]] = {}
    language: str | None = None
    known = 0
    data = tree.read(name)
    for element in _elements(data):
        tag = _local(element)
        if tag == "language" and language is None:
            language = _line(element.text)
        elif tag == "author":
            found = {_local(child): _line(child.text) or "" for child in element}
            names = tuple(found.get(key, "") for key in ("author_display_name", "author_login", "author_email"))
            authors[found.get("author_login", "")] = names
        elif tag == "item":
            known += 1
            yield from _item(element, known, authors, language, policy)
            element.clear()
    if not known:
        raise UnreadableError("it holds no item")
    if b"</rss" not in data[-_END_BYTES:] and not data.startswith(_WIDE):
        raise UnreadableError(f"the file is cut after {known} items; export it again to have the rest")


def _elements(data: bytes) -> Iterator[etree._Element]:
    """Channel language, authors and items, as they end. Control characters, which WordPress writes and with which a parser
    loses the whole text around them, are taken out."""
    if not data.startswith(_WIDE):
        data = data.translate(None, _CONTROL)
    try:
        for _, element in etree.iterparse(
            io.BytesIO(data), events=("end",), recover=True, resolve_entities=False, no_network=True, load_dtd=False
        ):
            parent = element.getparent()
            if parent is not None and isinstance(element.tag, str) and _local(parent) == "channel":
                yield element
    except etree.XMLSyntaxError as error:
        raise UnreadableError("its XML is broken") from error


def _item(
    item: etree._Element, number: int, authors: dict[str, tuple[str, ...]], language: str | None, policy: Policy
) -> Iterator[Entry]:
    fields: dict[str, str] = {}
    content = ""
    comments = 0
    for child in item:
        if not isinstance(child.tag, str):
            continue
        tag = _local(child)
        if tag == "comment":
            comments += 1
        elif tag == "encoded" and "content" in child.tag:
            content = child.text or ""
        elif tag != "encoded":
            fields.setdefault(tag, child.text or "")
    if fields.get("post_type", "post") not in _WRITING:
        yield LeftOut(reason=_not_taken(fields["post_type"]))
        return
    if comments:
        yield LeftOut(reason=_COMMENTS, count=comments)
    login = _line(fields.get("creator")) or ""
    named = policy.named(*authors.get(login, (login,)), login)
    status: Status = "protected" if fields.get("post_password") else _STATUS.get(fields.get("status", "publish"), "draft")
    facts = Facts(
        title=_line(fields.get("title")),
        url=_line(fields.get("link")),
        author=named,
        date=_day(fields),
        status=status,
        language=language,
    )
    id = _line(fields.get("post_id")) or str(number)
    yield Text(name=_line(fields.get("post_name")) or id, content=with_paragraphs(content), kind="fragment", facts=facts)


def _not_taken(kind: str) -> str:
    """A type of one plain word may be writing under a name of the author's own, so that it is named."""
    return f"items of the type {kind} left out" if kind.isalpha() and kind not in _NOT_WRITING else _NO_POST


def with_paragraphs(content: str) -> str:
    """The HTML that WordPress shows for stored content: shortcodes out, and in texts of the classic editor a blank line ends a
    paragraph and a single one breaks a line.
    """
    text = _PRE.sub(lambda match: match[0].replace("\n", "&#10;"), content.replace("\r\n", "\n").replace("\r", "\n"))
    text = _NOTE.sub("", text)
    text = _LONE.sub("", _ENCLOSED.sub("", _NO_PROSE_BLOCK.sub("", text)))
    closed = set(_CLOSING.findall(text))
    opened = {match[0].strip("[]/").split()[0] for match in _OTHER.finditer(text)} | (closed & set(_BARE.findall(text)))
    text = _BARE.sub(lambda match: "" if match[1] in closed else match[0], _OTHER.sub("", text))
    text = _CLOSING.sub(lambda match: "" if match[1] in opened else match[0], text)
    if "<!-- wp:" in content or re.search(r"<p[\s>]", content, re.IGNORECASE):
        return text
    parts = (part.strip() for part in re.split(r"\n[^\S\n]*\n", text))
    return "\n\n".join(_paragraph(part) for part in parts if part)


def _paragraph(part: str) -> str:
    """A part between blank lines: lines with blocks of their own stay as they are, lines without make paragraphs."""
    runs: list[list[str]] = []
    was_block = True
    for line in part.split("\n"):
        is_block = _BLOCK.search(line) is not None
        if is_block or was_block:
            runs.append([])
        runs[-1].append(line)
        was_block = is_block
    return "\n".join(run[0] if _BLOCK.search(run[0]) else "<p>" + "<br>".join(run) + "</p>" for run in runs)


def _day(fields: dict[str, str]) -> str | None:
    for key in ("post_date", "post_date_gmt", "pubDate"):
        text = fields.get(key, "")
        if not text.startswith("0000") and (day := iso_date(text)):
            return day
    return None


def _local(element: etree._Element) -> str:
    return str(etree.QName(element).localname)


def _line(text: str | None) -> str | None:
    return " ".join((text or "").split()) or None


CONTAINER = Container(
    name="wordpress",
    title="a WordPress export",
    taken="posts and pages, with title, author, date, address and language; the paragraphs of the classic editor and of blocks",
    left_out="drafts, private, scheduled, protected and deleted posts; revisions, menus, forms, templates and all else that a "
    "plugin stores; comments; captions, code, galleries and other shortcodes",
    file=_is_export,
    suffixes=frozenset([".xml"]),
    entries=read_items,
)
