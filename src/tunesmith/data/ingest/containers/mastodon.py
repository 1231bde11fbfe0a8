"""The archive of an account of Mastodon, or of what else speaks ActivityPub: its own posts, threads joined."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from html import unescape
from typing import Any

from tunesmith.core.records import Status
from tunesmith.data.ingest.container import Container, Entry, LeftOut, Text
from tunesmith.data.ingest.item import Facts
from tunesmith.data.ingest.metadata import iso_date
from tunesmith.data.ingest.personal import json_in, json_or_none, objects, owner, text_of
from tunesmith.data.ingest.policy import Policy
from tunesmith.data.ingest.tree import Tree

__all__ = ["CONTAINER"]

_BESIDE = frozenset(["outbox.json", "actor.json", "likes.json", "bookmarks.json"])
_MEDIA = re.compile(r"media_attachments/.*|(?:avatar|header)\.\w+")
_PUBLIC = ("https://www.w3.org/ns/activitystreams#Public", "as:Public", "Public")
_WRITING = frozenset(["Note", "Article", "Question", "Page"])
_MENTIONS = re.compile(
    r'^((?:<p[^<>]*>)?)\s*(?:<span[^<>]*class="h-card"[^<>]*><a\b[^<>]*>@<span>[^<>]*</span></a></span>[\s,:]*)+'
)
_LINK = re.compile(r"<a\b(?![^<>]*(?:mention|hashtag))[^<>]*>(?:<span[^<>]*>)?\s*https?://.*?</a>", re.DOTALL)


def _claimed(tree: Tree) -> Collection[str]:
    if "outbox.json" not in tree or b'"orderedItems"' not in tree.head("outbox.json"):
        return ()
    return [name for name in tree.names if name in _BESIDE or _MEDIA.fullmatch(name)]


def _entries(tree: Tree, policy: Policy) -> Iterator[Entry]:
    outbox = json_in(tree.read("outbox.json"))
    actor = json_or_none(tree, "actor.json")
    known = actor if isinstance(actor, Mapping) else {}
    author = owner(policy, text_of(known.get("name")), text_of(known.get("preferredUsername")), text_of(known.get("id")))
    activities = objects(outbox.get("orderedItems") if isinstance(outbox, Mapping) else None)
    made = [one["object"] for one in activities if one.get("type") == "Create" and isinstance(one.get("object"), Mapping)]
    notes = {str(note.get("id")): note for note in made if note.get("type") in _WRITING}
    yield LeftOut(
        reason="likes and bookmarks left out", count=sum(name in ("likes.json", "bookmarks.json") for name in tree.names)
    )
    yield LeftOut(reason="posts of others that were shared left out", count=len(activities) - len(made))
    direct = {id for id, note in notes.items() if _status(note) is None}
    yield LeftOut(reason="direct messages left out", count=len(direct))
    begun, replies = _threads({id: note for id, note in notes.items() if id not in direct})
    if "replies" in policy.extras:
        begun += replies
    else:
        yield LeftOut(reason="replies to others left out", count=len(replies))
    for thread in begun:
        yield _text(thread, author)


def _threads(notes: Mapping[str, Mapping[str, Any]]) -> tuple[list[list[Mapping[str, Any]]], list[list[Mapping[str, Any]]]]:
    """Posts that begin something, and those that answer others, each with one's own posts that continue it."""
    home: dict[str, list[Mapping[str, Any]]] = {}
    begun: list[list[Mapping[str, Any]]] = []
    replies: list[list[Mapping[str, Any]]] = []
    for id, note in sorted(notes.items(), key=lambda pair: (text_of(pair[1].get("published")), pair[0])):
        parent = text_of(note.get("inReplyTo"))
        if parent in home and _status(note) == _status(home[parent][0]):
            home[parent].append(note)
            home[id] = home[parent]
            continue
        home[id] = [note]
        (replies if parent and parent not in notes else begun).append(home[id])
    return begun, replies


def _status(note: Mapping[str, Any]) -> Status | None:
    """Who may read it: everybody, or the followers (private); None for a message to some people alone."""
    to, copy = (_addresses(note.get(key)) for key in ("to", "cc"))
    if any(one in _PUBLIC for one in (*to, *copy)) or not (to or copy):
        return "published"
    return "private" if any(one.endswith("/followers") for one in (*to, *copy)) else None


def _addresses(value: object) -> list[str]:
    return (
        [value] if isinstance(value, str) else [one for one in value if isinstance(one, str)] if isinstance(value, list) else []
    )


def _text(thread: list[Mapping[str, Any]], author: str | None) -> Text:
    first = thread[0]
    languages = first.get("contentMap")
    title = first.get("name") or first.get("summary")
    facts = Facts(
        title=" ".join(unescape(title).split()) if isinstance(title, str) else "",
        author=author,
        date=iso_date(first.get("published")),
        url=text_of(first.get("url")) or text_of(first.get("id")),
        language=next(iter(languages), None) if isinstance(languages, Mapping) else None,
        status=_status(first) or "private",
        thread=text_of(first.get("inReplyTo")) or (text_of(first.get("id")) if len(thread) > 1 else None),
    )
    id = text_of(first.get("id")).rstrip("/").rpartition("/")[2]
    return Text(name=id, content="\n".join(_content(note) for note in thread), kind="fragment", facts=facts)


def _content(note: Mapping[str, Any]) -> str:
    content = text_of(note.get("content"))
    if note.get("inReplyTo"):
        content = _MENTIONS.sub(r"\1", content)
    return _LINK.sub("", content)


CONTAINER = Container(
    name="mastodon",
    title="an archive of a Mastodon account",
    taken="your public posts, threads as one document each; with `--include replies` your replies to others",
    left_out="shared posts, replies to others, posts for followers (private), direct messages, likes, bookmarks, links",
    folder=_claimed,
    entries=_entries,
)
