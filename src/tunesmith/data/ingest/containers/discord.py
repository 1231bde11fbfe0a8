"""Channels that DiscordChatExporter wrote as a table (CSV), a page or text; its JSON is read as a chat by itself."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime

from lxml import etree, html

from tunesmith.data.ingest.chat import Said, read_chats
from tunesmith.data.ingest.container import Container, Entry, Ready
from tunesmith.data.ingest.policy import Policy
from tunesmith.data.ingest.tree import Tree
from tunesmith.data.rows.table import table_rows
from tunesmith.data.text.decode import UnreadableError, decode

__all__ = ["CONTAINER"]

_COLUMNS = (b"author", b"date", b"content", b"attachments", b"reactions")
_TEXT_HEAD = re.compile(rb"(?:\xef\xbb\xbf)?={20,}\r?\n(?:Guild|Server): .*\r?\nChannel: ")
_TEXT_MESSAGE = re.compile(r"^\[([^\]\n]{6,40})\] ([^\n]{1,80}?)(?: \(pinned\))?[ \t]*$\n", re.MULTILINE)
_TEXT_ATTACHED = re.compile(r"^\{(?:Attachments|Embed|Embeds|Stickers|Reactions)\}[ \t]*$", re.MULTILINE)
_TEXT_FOOT = re.compile(r"^={20,}\nExported .*\Z", re.MULTILINE | re.DOTALL)
_FRACTION = re.compile(r"(\.\d{6})\d+")  # of a second, in more digits than Python reads


def _is_channel(name: str, head: bytes) -> bool:
    if name.lower().endswith(".csv"):
        columns = [column.strip(b' "\r\xef\xbb\xbf') for column in re.split(rb"[,;\t]", head.split(b"\n")[0].lower())]
        return all(column in columns for column in _COLUMNS)
    if name.lower().endswith(".txt"):
        return _TEXT_HEAD.match(head) is not None
    return b"chatlog__" in head


def _entries(tree: Tree, policy: Policy) -> Iterator[Entry]:
    (name,) = tree.names
    data = tree.read(name)
    readers = {"csv": lambda: _of_table(data, name), "txt": lambda: _of_text(decode(data))}
    title, said = readers.get(name.lower().rpartition(".")[2], lambda: _of_page(data))()
    yield Ready(name="chat", reading=read_chats([(title, said)], name="chat", policy=policy))


def _of_table(data: bytes, name: str) -> tuple[str | None, list[Said]]:
    said = []
    for _, row, problem in table_rows(data, name=name):
        if not problem and row["author"].strip():
            author, id = " ".join(row["author"].split()), row.get("authorid", "")
            said.append(_at(Said(author, row["content"], aliases=_aliases(author, id)), row["date"]))
    return None, said


def _of_text(text: str) -> tuple[str | None, list[Said]]:
    """A line with time and author stands above each message; what is attached follows under words in braces."""
    said = []
    parts = _TEXT_MESSAGE.split(_TEXT_FOOT.sub("", text.replace("\r\n", "\n")))
    for stamp, author, message in zip(parts[1::3], parts[2::3], parts[3::3], strict=True):
        words = _TEXT_ATTACHED.split(message)[0].strip()
        said.append(_at(Said(author, words, aliases=_aliases(author, "")), stamp))
    return None, said


def _aliases(author: str, id: str) -> tuple[str, ...]:
    """`Ada#1234`, as names were written until 2023, is also Ada."""
    bare = re.sub(r"#\d{4}$", "", author)
    return tuple(name for name in (bare, id) if name and name != author)


def _of_page(data: bytes) -> tuple[str | None, list[Said]]:
    try:
        page = html.fromstring(decode(data).encode(), parser=html.HTMLParser(encoding="utf-8"))
    except (etree.LxmlError, ValueError) as error:
        raise UnreadableError("its HTML cannot be parsed") from error
    said = []
    for group in page.xpath('//div[contains(@class,"chatlog__message-group")]'):
        (author,) = group.xpath('.//span[contains(@class,"chatlog__author")]')[:1] or (None,)
        if author is None or group.xpath('.//*[contains(@class,"chatlog__author-tag") or contains(@class,"chatlog__bot-tag")]'):
            continue  # bots carry a tag
        names = [
            " ".join(one.split())
            for one in (author.text_content(), *author.xpath("./@title"), *author.xpath("./@data-user-id"))
        ]
        stamps = group.xpath('.//span[contains(@class,"chatlog__timestamp")]/@title')
        for content in group.xpath('.//div[contains(concat(" ",@class," ")," chatlog__content ")]'):
            for line_break in content.xpath(".//br"):
                line_break.tail = f"\n{line_break.tail or ''}"
            for other in content.xpath('.//div[contains(@class,"quote")] | .//blockquote | .//pre'):
                other.drop_tree()
            one = Said(names[0], content.text_content().strip(), aliases=tuple(dict.fromkeys(filter(None, names[1:]))))
            said.append(_at(one, str(stamps[0]) if stamps else ""))
    return None, said


def _at(one: Said, stamp: str) -> Said:
    try:
        moment = datetime.fromisoformat(_FRACTION.sub(r"\1", stamp.strip()))
    except ValueError:
        return one  # written as one's computer writes dates: the order of the messages is enough
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return one._replace(time=moment.timestamp(), date=moment.date().isoformat())


CONTAINER = Container(
    name="discord",
    title="a channel of Discord",
    taken="the channel as documents, names replaced; with `me` your answers",
    left_out="bots, quoted messages, attachments, reactions",
    file=_is_channel,
    suffixes=frozenset([".csv", ".html", ".htm", ".txt"]),
    entries=_entries,
)
