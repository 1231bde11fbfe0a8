"""Chats exported as JSON: Telegram, Instagram and Messenger, Slack, Discord; and conversations with ChatGPT and Claude."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import orjson

from tunesmith.data.ingest.assistants import read_chatgpt, read_claude
from tunesmith.data.ingest.chat import Said, read_chats
from tunesmith.data.ingest.item import Reading
from tunesmith.data.ingest.personal import mended
from tunesmith.data.ingest.policy import Policy

__all__ = ["is_chat_json", "read_chat_json"]

Chat = tuple[str | None, list[Said]]

_MARKS = (
    (b'"mapping"', b'"author"'),
    (b'"chat_messages"',),
    (b'"date_unixtime"',),
    (b'"from_id"', b'"from"', b'"date"', b'"message"'),  # of Telegram before 2022
    (b'"sender_name"', b'"timestamp_ms"'),
    (b'"ts"', b'"user"', b'"type"'),
    (b'"messages"', b'"author"', b'"timestamp"', b'"content"'),
)


def is_chat_json(data: bytes) -> bool:
    """Whether JSON carries the field names of an export that is known here; a quick look, before anything is parsed."""
    head = data[:200_000]
    return any(all(mark in head for mark in marks) for marks in _MARKS)


def read_chat_json(data: bytes, *, name: str, policy: Policy) -> Reading | None:
    """The conversations of an export; None if the JSON is none after all. See `chat.read_chat` for what becomes of names."""
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError:
        return None  # JSON lines, perhaps: the reader of rows will say
    first = value[0] if isinstance(value, list) and value else value
    if not isinstance(first, Mapping):
        return None
    conversations = value if isinstance(value, list) else value.get("conversations") or [value]
    if not isinstance(conversations, list):
        return None
    if "mapping" in first:
        return read_chatgpt(conversations, name=name, policy=policy)
    if any(isinstance(one, Mapping) and "chat_messages" in one for one in conversations[:1]):
        return read_claude(conversations, name=name, policy=policy)
    chats = _slack(value) if isinstance(value, list) else _others(value)
    return read_chats(chats, name=name, policy=policy) if chats is not None else None


def _others(value: Mapping[str, Any]) -> list[Chat] | None:
    chats = value.get("chats")
    listed = chats.get("list") if isinstance(chats, Mapping) else None
    rooms = [room for room in (listed if isinstance(listed, list) else [value]) if isinstance(room, Mapping)]
    for mark, reader in (
        ("date_unixtime", _telegram),
        ("from_id", _telegram),
        ("timestamp_ms", _instagram),
        ("author", _discord),
    ):
        if any(mark in message for room in rooms for message in _messages(room)[:50]):
            return [reader(room) for room in rooms]
    return None


def _messages(room: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    listed = room.get("messages")
    return [message for message in listed if isinstance(message, Mapping)] if isinstance(listed, list) else []


def _telegram(room: Mapping[str, Any]) -> Chat:
    said = []
    for message in _messages(room):
        author = message.get("from")
        if message.get("type") == "message" and isinstance(author, str) and author and not message.get("forwarded_from"):
            aliases = (message["from_id"],) if isinstance(message.get("from_id"), str) else ()
            said.append(
                _said(author, _telegram_text(message.get("text")), message.get("date_unixtime") or message.get("date"), aliases)
            )
    return _title(room.get("name")), said


def _telegram_text(text: object) -> str:
    """A string, or parts: plain strings and marked ones (`{type, text}`)."""
    if isinstance(text, str):
        return text
    parts = text if isinstance(text, list) else []
    words = [part if isinstance(part, str) else str(part.get("text", "")) for part in parts if isinstance(part, str | Mapping)]
    spaced = [f" {word}" if index and not _touches(words[index - 1], word) else word for index, word in enumerate(words)]
    return "".join(spaced)


def _touches(before: str, after: str) -> bool:
    """Exports of one kind carry the blanks between parts, others drop them: two words in a row need one."""
    return not (before[-1:].isalnum() or before[-1:] in ":;,.!?") or not after[:1].isalnum()


def _instagram(room: Mapping[str, Any]) -> Chat:
    said = []
    for message in _messages(room):
        author, text = message.get("sender_name"), message.get("content")
        if isinstance(author, str) and author and isinstance(text, str):
            stamp = message.get("timestamp_ms")
            seconds = stamp / 1000 if isinstance(stamp, int | float) else None
            said.append(_said(mended(author), mended(text), seconds))
    title = room.get("title")
    return _title(mended(title) if isinstance(title, str) else None), _in_order(said)


def _slack(messages: Sequence[object]) -> list[Chat] | None:
    """A day of a channel: a chat for each thread, and one for what stands outside of threads."""
    known = [message for message in messages if isinstance(message, Mapping) and message.get("type") == "message"]
    if not known or not all("ts" in message for message in known):
        return None
    threads: dict[str, list[Said]] = {}
    for message in known:
        author = message.get("user") or message.get("username")
        if message.get("subtype") not in (None, "thread_broadcast", "file_share") or message.get("bot_id"):
            continue
        if not isinstance(author, str) or not isinstance(message.get("text"), str):
            continue
        profile = message.get("user_profile")
        known_as = profile if isinstance(profile, Mapping) else {}
        aliases = tuple(str(known_as[key]) for key in ("real_name", "display_name", "name") if known_as.get(key))
        root = str(message.get("thread_ts") or "")
        threads.setdefault(root, []).append(_said(author, _slack_text(message["text"]), message["ts"], aliases))
    return [(None, _in_order(said)) for _, said in sorted(threads.items())]


def _slack_text(text: str) -> str:
    """Links as their words, `<@U1>` as `@U1`, and the three escapes undone."""
    text = re.sub(r"<((?:https?|mailto):[^|<>]*)\|([^<>]*)>", r"\2", text)
    text = re.sub(r"<#\w+\|([^<>]*)>", r"#\1", text)
    text = re.sub(r"<(@\w+)(?:\|[^<>]*)?>", r"\1", text)
    text = re.sub(r"<!(\w+)[^<>]*>", r"@\1", text)
    text = re.sub(r"<(https?:[^<>]*)>", r"\1", text)
    return text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")


def _discord(room: Mapping[str, Any]) -> Chat:
    said = []
    for message in _messages(room):
        author = message.get("author")
        if (
            not isinstance(author, Mapping)
            or author.get("isBot")
            or message.get("type") not in (None, "Default", "Reply", 0, 19)
        ):
            continue
        names = [str(author[key]) for key in ("nickname", "global_name", "name", "username", "id") if author.get(key)]
        if names and isinstance(message.get("content"), str):
            said.append(_said(names[0], message["content"], message.get("timestamp"), tuple(names[1:])))
    channel = room.get("channel")
    return _title(channel.get("name") if isinstance(channel, Mapping) else None), _in_order(said)


def _said(author: str, text: str, stamp: object, aliases: tuple[str, ...] = ()) -> Said:
    time = _seconds(stamp)
    day = datetime.fromtimestamp(time, UTC).date().isoformat() if time is not None else None
    return Said(" ".join(author.split()), text, time=time, date=day, aliases=aliases)


def _seconds(stamp: object) -> float | None:
    """Seconds since 1970 from a number, a number in a string, or an ISO date; None if it is none of these, or absurd."""
    if not isinstance(stamp, str | int | float):
        return None
    try:
        seconds = float(stamp)
    except ValueError:
        try:
            moment = datetime.fromisoformat(str(stamp))
        except ValueError:
            return None
        seconds = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    return seconds if 0 < seconds < 4e9 else None


def _in_order(said: list[Said]) -> list[Said]:
    return sorted(said, key=lambda one: one.time or 0.0)


def _title(value: object) -> str | None:
    return (" ".join(value.split()) or None) if isinstance(value, str) else None
