"""Exports of Telegram Desktop: pages (messages.html, messages2.html, …) or result.json, of one chat or of a whole account."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from datetime import datetime

from lxml import etree, html

from tunesmith.data.ingest.chat import Said, read_chats
from tunesmith.data.ingest.chat_json import read_chat_json
from tunesmith.data.ingest.container import Broken, Container, Entry, LeftOut, Ready
from tunesmith.data.ingest.policy import Policy
from tunesmith.data.ingest.tree import Tree
from tunesmith.data.text.decode import UnreadableError, decode

__all__ = ["CONTAINER"]

_PAGE = re.compile(r"(?:(.*)/)?messages(\d*)\.html")
_REST = re.compile(
    r"(?:.*/)?(?:export_results\.html|(?:lists|css|js|images|stickers|photos|files|video_files|voice_messages)/.*)"
)
_STAMP = re.compile(r"(\d{2})\.(\d{2})\.(\d{4}) (\d{2}):(\d{2}):(\d{2})(?: UTC([+-]\d{2}):?(\d{2}))?")
_ACCOUNT = (b'"about"', b'"personal_information"')


def _claimed(tree: Tree) -> Collection[str]:
    found = {name for name in tree.names if _is_page(tree, name) or _is_result(tree, name)}
    if not found:
        return ()
    starts = {name.rpartition("/")[0] for name in found} | {
        name.rpartition("/chats/")[0] for name in found if "/chats/" in name
    }
    if any(name.startswith("chats/") for name in found):
        starts.add("")
    beside = (name for name in tree.names if _REST.fullmatch(name))
    return found | {name for name in beside if any(_lies_in(name, start) for start in starts)}


def _lies_in(name: str, start: str) -> bool:
    inner = name[len(start) + 1 :] if start and name.startswith(f"{start}/") else name if not start else None
    return inner is not None and inner.count("/") <= 2 and _REST.fullmatch(inner) is not None


def _is_page(tree: Tree, name: str) -> bool:
    return _PAGE.fullmatch(name) is not None and b"page_wrap" in (head := tree.head(name)) and b'class="message' in head


def _is_result(tree: Tree, name: str) -> bool:
    if name.rpartition("/")[2] != "result.json":
        return False
    head = tree.head(name)
    return all(mark in head for mark in _ACCOUNT) or b'"date_unixtime"' in head or b'"actor_id"' in head


def _entries(tree: Tree, policy: Policy) -> Iterator[Entry]:
    results = [name for name in tree.names if _is_result(tree, name)]
    pages = [name for name in tree.names if _is_page(tree, name)]
    used = results or pages
    yield LeftOut(reason="files of a Telegram export that hold no messages left out", count=len(tree.names) - len(used))
    for name in results:
        reading = read_chat_json(tree.read(name), name=name, policy=policy)
        yield Broken(name=name, reason="its JSON is broken or cut") if reading is None else Ready(name=name, reading=reading)
    rooms: dict[str, list[str]] = {}
    for name in pages if not results else ():
        rooms.setdefault(name.rpartition("/")[0], []).append(name)
    for names in rooms.values():
        names.sort(key=_number)
        try:
            title, said = _room(tree, names)
            yield Ready(name=names[0], reading=read_chats([(title, said)], name=names[0], policy=policy))
        except UnreadableError as error:
            yield Broken(name=names[0], reason=str(error))


def _number(name: str) -> int:
    match = _PAGE.fullmatch(name)
    return int(match[2] or 1) if match else 0


def _room(tree: Tree, names: list[str]) -> tuple[str | None, list[Said]]:
    """A chat out of its pages: one without a name in its head goes on with the person of the message above."""
    said: list[Said] = []
    title: str | None = None
    author = ""
    for name in names:
        try:
            page = html.fromstring(decode(tree.read(name)).encode(), parser=html.HTMLParser(encoding="utf-8"))
        except (etree.LxmlError, ValueError) as error:
            raise UnreadableError("its HTML cannot be parsed") from error
        head = page.xpath('//div[contains(@class,"page_header")]//div[contains(@class,"text bold")]')
        title = title or (_line(head[0]) if head else None)
        for message in page.xpath('//div[contains(concat(" ",@class," ")," message ") and contains(@class,"default")]'):
            (body,) = message.xpath('./div[@class="body"]')[:1] or (None,)
            if body is None:
                continue
            named = body.xpath('./div[contains(@class,"from_name")]')
            author = (" ".join((named[0].text or "").split()) if named else "") or author
            texts = body.xpath('./div[@class="text"]')
            if author and texts:  # what was forwarded stands in a body of its own
                stamps = body.xpath('./div[contains(@class,"date")]/@title')
                said.append(_said(author, _text(texts[0]), str(stamps[0]) if stamps else ""))
    return title, said


def _said(author: str, text: str, stamp: str) -> Said:
    match = _STAMP.match(stamp)
    if match is None:
        return Said(author, text)
    day, month, year, *clock = match.groups()[:6]
    zone = f"{match[7]}:{match[8]}" if match[7] else "+00:00"
    try:
        moment = datetime.fromisoformat(f"{year}-{month}-{day}T{':'.join(str(part) for part in clock)}{zone}")
    except ValueError:
        return Said(author, text)
    return Said(author, text, time=moment.timestamp(), date=moment.date().isoformat())


def _text(element: html.HtmlElement) -> str:
    for line_break in element.xpath(".//br"):
        line_break.tail = f"\n{line_break.tail or ''}"
    for quotation in element.xpath(".//blockquote"):
        quotation.drop_tree()
    lines = (" ".join(line.split()) for line in element.text_content().split("\n"))
    return "\n".join(lines).strip()


def _line(element: html.HtmlElement) -> str | None:
    return " ".join(element.text_content().split()) or None


CONTAINER = Container(
    name="telegram",
    title="an export of Telegram",
    taken="chats as documents, names replaced; with `me` your answers",
    left_out="forwarded messages, quotations, media, notices, contacts; the pages where result.json holds the same",
    folder=_claimed,
    entries=_entries,
)
