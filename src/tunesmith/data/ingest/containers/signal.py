"""Chats of Signal: folders of signal-export (chat.md, data.json), the export of Signal itself (main.jsonl), and signal-cli."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote

import orjson
from lxml import etree, html

from tunesmith.data.ingest.chat import Said, read_chats
from tunesmith.data.ingest.chat_text import is_chat_text, read_chat_text
from tunesmith.data.ingest.container import Broken, Container, Entry, LeftOut, Ready
from tunesmith.data.ingest.item import Reading
from tunesmith.data.ingest.personal import json_in, objects, text_of
from tunesmith.data.ingest.policy import Policy
from tunesmith.data.ingest.tree import Tree
from tunesmith.data.text.decode import UnreadableError, decode

__all__ = ["CONTAINER"]

_ROWS = (
    (b'"sender"', b'"body"', b'"date"'),  # signal-export
    (b'"envelope"', b'"timestamp"'),  # signal-cli
    (b'"backupTimeMs"',),  # Signal itself
    (b'"chatItem"', b'"dateSent"'),
)
_SENDER = re.compile(rb"class=[\"']?sender\b")
_BODY = re.compile(rb"class=[\"']?body\b")
_FOLDER_FILE = re.compile(r"(?:.*/)?(?:index\.html|media/.*|files/.*|metadata\.json)")
_REACTION = re.compile(r"\(- .*? -\)\s*$", re.MULTILINE)
_PICTURE = re.compile(r"!?\[[^\]\n]*\]\([^)\n]*\)")
_QUOTED = re.compile(r"^[ \t]*>.*\n?", re.MULTILINE)
Chat = tuple[str | None, list[Said]]


def _claimed(tree: Tree) -> Collection[str]:
    found = {name for name in tree.names if _is_rows(tree, name) or _is_chat(tree, name) or _is_page(tree, name)}
    starts = {name.rpartition("/")[0] for name in found}
    beside = [name for name in tree.names if _FOLDER_FILE.fullmatch(name)] if found else []
    lists = [name for name in beside if name.endswith("index.html") and name not in found]
    return found | {name for name in beside if _home(name) in starts} | {name for name in lists if _lists(tree, name, starts)}


def _lists(tree: Tree, name: str, chats: Collection[str]) -> bool:
    """The page above the folders of the chats that leads to each of them."""
    folder = name.rpartition("/")[0]
    below = [chat.rpartition("/")[2] for chat in chats if chat.rpartition("/")[0] == folder]
    head = unquote(decode(tree.head(name)))
    return any(f"{chat}/" in head for chat in below if chat)


def _home(name: str) -> str:
    folder = name.rpartition("/")[0]
    return re.sub(r"(?:^|/)(?:media|files)(?:/.*)?$", "", folder)


def _is_rows(tree: Tree, name: str) -> bool:
    if name.rpartition("/")[2] != "data.json" and not name.endswith((".jsonl", ".ndjson")):
        return False
    head = tree.head(name, 20_000).split(b"\n")[:20]
    return any(all(mark in line for mark in marks) for marks in _ROWS for line in head)


def _is_page(tree: Tree, name: str) -> bool:
    if name.rpartition("/")[2] != "index.html":
        return False
    head = tree.head(name)
    return _SENDER.search(head) is not None and _BODY.search(head) is not None


def _is_chat(tree: Tree, name: str) -> bool:
    if name.rpartition("/")[2] not in ("chat.md", "index.md"):
        return False
    try:
        return is_chat_text(decode(tree.head(name, 8192)))
    except UnreadableError:
        return False  # cut within a character: a chat of other letters


def _entries(tree: Tree, policy: Policy) -> Iterator[Entry]:
    rows = [name for name in tree.names if _is_rows(tree, name)]
    told = {name.rpartition("/")[0] for name in rows}
    chats = [name for name in tree.names if _is_chat(tree, name) and name.rpartition("/")[0] not in told]
    told |= {name.rpartition("/")[0] for name in chats}
    chats += [name for name in tree.names if _is_page(tree, name) and name.rpartition("/")[0] not in told]
    reason = "files of a Signal export that repeat a chat, and media, left out"
    yield LeftOut(reason=reason, count=len(tree.names) - len(rows) - len(chats))
    for name in [*rows, *chats]:
        try:
            yield Ready(name=name, reading=_reading(tree.read(name), name, policy))
        except UnreadableError as error:
            yield Broken(name=name, reason=str(error))


def _reading(data: bytes, name: str, policy: Policy) -> Reading:
    if name.endswith(".md"):
        return read_chat_text(_PICTURE.sub("", _REACTION.sub("", _QUOTED.sub("", decode(data)))), name=name, policy=policy)
    if name.endswith(".html"):
        return read_chats([(None, _of_page(decode(data), policy))], name=name, policy=policy)
    rows = json_in(data) if data.lstrip().startswith(b"[") else _lines(data)
    said = objects(rows)
    read = _of_tool if _has(said, "sender") else _of_cli if _has(said, "envelope") else _of_signal
    return read_chats(read(said, policy), name=name, policy=policy)


def _of_page(page: str, policy: Policy) -> list[Said]:
    try:
        root = html.fromstring(page.encode(), parser=html.HTMLParser(encoding="utf-8"))
    except (etree.LxmlError, ValueError) as error:
        raise UnreadableError("its HTML cannot be parsed") from error
    said = []
    for message in root.xpath('//*[contains(concat(" ",@class," ")," msg ")]'):
        parts = {key: message.xpath(f'.//*[@class="{key}"]') for key in ("sender", "body", "date", "time")}
        words = {key: " ".join(found[0].text_content().split()) if found else "" for key, found in parts.items()}
        if words["sender"]:
            who = _own(policy) if words["sender"] == "Me" else Said(words["sender"], "")
            said.append(_at(who._replace(text=words["body"]), _seconds(f"{words['date']} {words['time']}".strip())))
    return said


def _lines(data: bytes) -> list[Any]:
    rows = []
    for number, line in enumerate(data.split(b"\n"), 1):
        if line.strip():
            try:
                rows.append(orjson.loads(line))
            except orjson.JSONDecodeError as error:
                raise UnreadableError(f"line {number} is broken or cut") from error
    return rows


def _has(rows: list[Mapping[str, Any]], key: str) -> bool:
    return any(key in row for row in rows)


def _own(policy: Policy) -> Said:
    """The owner of the account, whom exports call Me, answers to the names that the user gave."""
    return Said("Me", "", aliases=(*policy.me, *policy.authors))


def _of_tool(rows: list[Mapping[str, Any]], policy: Policy) -> list[Chat]:
    said = []
    for row in rows:
        sender, text = " ".join(text_of(row.get("sender")).split()), text_of(row.get("body"))
        if sender:
            who = _own(policy) if sender == "Me" else Said(sender, "")
            said.append(_at(who._replace(text=_PICTURE.sub("", text)), _seconds(row.get("date"))))
    return [(None, said)]


def _of_cli(rows: list[Mapping[str, Any]], policy: Policy) -> list[Chat]:
    rooms: dict[str, list[Said]] = {}
    for row in rows:
        envelope = row.get("envelope")
        if not isinstance(envelope, Mapping):
            continue
        sync = envelope.get("syncMessage")
        sent = sync.get("sentMessage") if isinstance(sync, Mapping) else None
        message = sent if isinstance(sent, Mapping) else envelope.get("dataMessage")
        if not isinstance(message, Mapping) or not text_of(message.get("message")):
            continue
        ids = [text_of(envelope.get(key)) for key in ("sourceName", "sourceNumber", "sourceUuid", "source")]
        names = [one for one in ids if one] or ["Somebody"]
        group = message.get("groupInfo")
        partner = text_of(message.get("destination") or message.get("destinationNumber")) if sent else ids[1] or ids[-1]
        room = text_of(group.get("groupId")) if isinstance(group, Mapping) else partner
        who = _own(policy) if sent else Said(names[0], "", aliases=tuple(names[1:]))
        one = who._replace(text=text_of(message.get("message")))
        rooms.setdefault(room, []).append(_at(one, _seconds(message.get("timestamp"))))
    return [(None, said) for said in rooms.values()]


def _of_signal(rows: list[Mapping[str, Any]], policy: Policy) -> list[Chat]:
    names: dict[str, Said] = {}
    rooms: dict[str, list[Said]] = {}
    for row in rows:
        person, item = row.get("recipient"), row.get("chatItem")
        if isinstance(person, Mapping):
            names[str(person.get("id"))] = _own(policy) if "self" in person else _contact(person)
        if isinstance(item, Mapping):
            message = item.get("standardMessage")
            body = message.get("text") if isinstance(message, Mapping) else None
            text = text_of(body.get("body")) if isinstance(body, Mapping) else ""
            who = _own(policy) if "outgoing" in item else names.get(str(item.get("authorId")), Said("Somebody", ""))
            one = _at(who._replace(text=text), _seconds(item.get("dateSent")))
            rooms.setdefault(str(item.get("chatId")), []).append(one)
    return [(None, said) for said in rooms.values()]


def _contact(person: Mapping[str, Any]) -> Said:
    contact = person.get("contact")
    facts = contact if isinstance(contact, Mapping) else {}
    nickname = facts.get("nickname")
    given = nickname if isinstance(nickname, Mapping) else {}
    whole = [
        " ".join(filter(None, [text_of(facts.get(f"{kind}GivenName")), text_of(facts.get(f"{kind}FamilyName"))]))
        for kind in ("profile", "system")
    ]
    known = [*whole, text_of(given.get("given")), text_of(facts.get("username")), str(facts.get("e164") or "")]
    names = [name for name in known if name] or ["Somebody"]
    return Said(names[0], "", aliases=tuple(names[1:]))


def _seconds(stamp: object) -> float | None:
    """Seconds since 1970 of milliseconds, or of a date with a time."""
    if isinstance(stamp, int | float) or (isinstance(stamp, str) and stamp.isdecimal()):
        seconds = float(stamp) / 1000
        return seconds if 0 < seconds < 4e9 else None
    try:
        moment = datetime.fromisoformat(str(stamp))
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _at(one: Said, seconds: float | None) -> Said:
    day = datetime.fromtimestamp(seconds, UTC).date().isoformat() if seconds is not None else None
    return one._replace(time=seconds, date=day)


CONTAINER = Container(
    name="signal",
    title="an export of Signal chats",
    taken="chats as documents, names replaced; with `me` your answers",
    left_out="quotations, reactions, media; chat.md and index.html where data.json holds the same chat",
    folder=_claimed,
    entries=_entries,
)
