"""Posts of a Bluesky account as JSON: an unpacked repository, or a file of records that a tool wrote."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field

from tunesmith.data.ingest.container import Broken, Container, Entry, LeftOut, Text
from tunesmith.data.ingest.item import Facts
from tunesmith.data.ingest.metadata import iso_date
from tunesmith.data.ingest.personal import as_fragment, json_in, objects, owner, text_of
from tunesmith.data.ingest.policy import Policy
from tunesmith.data.ingest.tree import Tree
from tunesmith.data.text.decode import UnreadableError

__all__ = ["CONTAINER"]

_POST = "app.bsky.feed.post"
_UNPACKED = re.compile(r"(?:(did[:_]\w+[:_][\w.%-]+)/)?(app\.bsky|chat\.bsky|com\.atproto)(?:\.\w+)+/[^/]+\.json")
_PARENT = re.compile(r"at://([^/]+)/[\w.]+/([\w~.-]+)")


@dataclass(slots=True)
class _Post:
    key: str
    text: str
    date: str | None
    language: str | None
    parent: str
    did: str
    more: list[str] = field(default_factory=list)


def _claimed(tree: Tree) -> Collection[str]:
    unpacked = [name for name in tree.names if _UNPACKED.fullmatch(name)]
    if any(f"{_POST}/" in name for name in unpacked):
        return unpacked
    return [name for name in tree.files if name.endswith(".json") and _holds_records(tree.head(name))]


def _holds_records(head: bytes) -> bool:
    return _POST.encode() in head and b'"createdAt"' in head and b"at://" in head and b'"feed"' not in head


def _entries(tree: Tree, policy: Policy) -> Iterator[Entry]:
    posts: dict[str, _Post] = {}
    others = 0
    for name in tree.names:
        if _UNPACKED.fullmatch(name) and f"{_POST}/" not in name:
            others += 1
            continue
        try:
            value = json_in(tree.read(name))
        except UnreadableError as error:
            yield Broken(name=name, reason=str(error))
            continue
        for record in _records(value):
            post = _post(record, name)
            if post is not None:
                posts.setdefault(post.key, post)
    yield LeftOut(reason="records other than posts left out (likes, follows, reposts)", count=others)
    begun, replies = _threads(posts)
    if "replies" in policy.extras:
        begun += replies
    else:
        yield LeftOut(reason="replies to others left out", count=len(replies))
    for post in begun:
        thread = post.parent or (post.key if post.more else None)
        url = f"https://bsky.app/profile/{post.did}/post/{post.key}" if post.did else None
        facts = Facts(title="", author=owner(policy), date=post.date, language=post.language, thread=thread, url=url)
        yield Text(name=post.key, content=as_fragment("\n\n".join([post.text, *post.more])), kind="fragment", facts=facts)


def _records(value: object) -> list[Mapping[str, object]]:
    if isinstance(value, Mapping):
        listed = next((value[key] for key in ("records", "posts") if isinstance(value.get(key), list)), None)
        return objects(listed) if listed is not None else [value]
    return objects(value)


def _post(record: Mapping[str, object], name: str) -> _Post | None:
    value = record.get("value") or record.get("record") or record
    if not isinstance(value, Mapping) or value.get("$type", _POST) != _POST or not isinstance(value.get("text"), str):
        return None
    place = _PARENT.match(text_of(record.get("uri")))
    folder = _UNPACKED.fullmatch(name)
    reply = value.get("reply")
    parent = reply.get("parent") if isinstance(reply, Mapping) else None
    languages = value.get("langs")
    return _Post(
        key=place[2] if place else name.rpartition("/")[2].removesuffix(".json"),
        text=value["text"],
        date=iso_date(value.get("createdAt")),
        language=text_of(languages[0]) or None if isinstance(languages, list) and languages else None,
        parent=text_of(parent.get("uri")) if isinstance(parent, Mapping) else "",
        did=place[1] if place else (folder[1] or "" if folder else ""),
    )


def _threads(posts: Mapping[str, _Post]) -> tuple[list[_Post], list[_Post]]:
    home: dict[str, _Post] = {}
    begun: list[_Post] = []
    replies: list[_Post] = []
    for key, post in sorted(posts.items()):  # keys rise with time
        parent = _PARENT.match(post.parent)
        before = home.get(parent[2]) if parent else None
        home[key] = before or post
        if before is not None:
            before.more.append(post.text)
        else:
            (replies if post.parent else begun).append(post)
    return begun, replies


CONTAINER = Container(
    name="bluesky",
    title="posts of a Bluesky account",
    taken="your posts, threads as one document each; with `--include replies` your replies to others",
    left_out="replies to others, likes, reposts, follows",
    folder=_claimed,
    entries=_entries,
)
