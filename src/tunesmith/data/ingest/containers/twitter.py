"""The archive of an X (Twitter) account: one's own posts, threads joined; nothing that others wrote, and no message."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from html import unescape
from pathlib import PurePosixPath
from typing import Any

from tunesmith.core.records import Status
from tunesmith.data.ingest.container import Broken, Container, Entry, LeftOut, Text
from tunesmith.data.ingest.editor_state import draft_html
from tunesmith.data.ingest.item import Facts
from tunesmith.data.ingest.metadata import iso_date
from tunesmith.data.ingest.personal import as_fragment, json_in, json_or_none, objects, owner, text_of
from tunesmith.data.ingest.policy import Policy
from tunesmith.data.ingest.tree import Tree
from tunesmith.data.rows.table import table_rows
from tunesmith.data.text.decode import UnreadableError

__all__ = ["CONTAINER"]

_TELLING = re.compile(
    r"(?:tweets?|note-tweets?|deleted-tweets?|community-tweets?|tweet-headers|account|profile|manifest|likes?|direct-messages?"
    r"|follower|following)(?:-part\d+)?\.js"
)
_TWEETS = re.compile(r"(?:community-)?tweets?(?:-part\d+)?\.js")
_DELETED = re.compile(r"deleted-tweets?(?:-part\d+)?\.js")
_NOTES = re.compile(r"note-tweets?(?:-part\d+)?\.js")
_ARTICLES = re.compile(r"articles?(?:-part\d+)?\.js")
_DATES = ("publishedAt", "published_at", "createdAt", "created_at", "updatedAt", "updated_at")
_STATES = ("lifecycle_state", "lifecycleState", "status")
_OLD = re.compile(r"(?:data/)?js/tweets/\d{4}_\d{2}\.js")
_MARKS = (b"window.YTD.", b"__THAR_CONFIG", b"Grailbird.data.")
_MENTIONS = re.compile(r"^(?:\.?@\w+[\s,:]*)+")
_SHORT_LINK = re.compile(r"[ \t]*https?://t\.co/\w*…?")
_RETOLD = re.compile(r"(?:^|\s)(?:RT|MT)[ :]*@\w+.*", re.DOTALL)  # the words of another from here on, before there was a button
_QUOTED = re.compile(r"^[\"“]@\w+:?\s")
_NO_LANGUAGE = frozenset(["und", "zxx", "qme", "qam", "qct", "qht", "qst", "art", "in", "iw"])


@dataclass(slots=True)
class _Tweet:
    id: str
    text: str
    date: str | None
    language: str | None
    status: Status
    parent: str | None
    to: str | None
    is_retold: bool
    is_reply: bool
    more: list[_Tweet] = field(default_factory=list)


def _claimed(tree: Tree) -> Collection[str]:
    for start in ("data/", "data/js/", ""):
        near = [name for name in tree.names if name.startswith(start) and _is_told(name[len(start) :])]
        if any(any(mark in tree.head(name, 200) for mark in _MARKS) for name in near[:3]):
            whole = start.split("/")[0]
            return [name for name in tree.names if _belongs(tree, name, whole)]
    if any(_OLD.fullmatch(name) and b"Grailbird.data." in tree.head(name, 200) for name in tree.names):
        return [name for name in tree.names if name.startswith(("data/", "js/", "lib/", "css/", "img/")) or name in _OLD_ROOT]
    return ["tweets.csv"] if "tweets.csv" in tree and b"in_reply_to_status_id" in tree.head("tweets.csv", 200) else ()


_OLD_ROOT = frozenset(["tweets.csv", "index.html", "README.txt"])


def _is_told(name: str) -> bool:
    return _TELLING.fullmatch(name) is not None


def _belongs(tree: Tree, name: str, folder: str) -> bool:
    """`folder`: the one with the data; empty where the archive is unpacked into the root itself."""
    if folder:
        is_page = "/" not in name and name.endswith(".html") and b"data/" in tree.head(name, 20_000)
        return is_page or name.startswith((f"{folder}/", "assets/"))
    if name.split("/")[0].endswith("_media") or name in ("README.txt", "js/tweet_index.js"):
        return True
    return "/" not in name and name.endswith(".js") and any(mark in tree.head(name, 200) for mark in _MARKS)


def _entries(tree: Tree, policy: Policy) -> Iterator[Entry]:
    kinds = {name: PurePosixPath(name).name for name in tree.names}
    accounts = [objects(json_or_none(tree, name)) for name, last in kinds.items() if last == "account.js"]
    account: Mapping[str, Any] = next(
        (one["account"] for rows in accounts for one in rows if isinstance(one.get("account"), Mapping)), {}
    )
    tweets: dict[str, _Tweet] = {}
    notes: list[Mapping[str, Any]] = []
    articles: list[Text] = []
    other = 0
    for name, last in kinds.items():
        is_tweets = _TWEETS.fullmatch(last) or _DELETED.fullmatch(last) or _OLD.search(name)
        if _ARTICLES.fullmatch(last):
            try:
                articles += _articles(json_in(tree.read(name)), account, policy)
            except UnreadableError as error:
                yield Broken(name=name, reason=str(error))
            continue
        if not is_tweets and not _NOTES.fullmatch(last):
            other += last.endswith(".js")
            continue
        try:
            rows = objects(json_in(tree.read(name)))
        except UnreadableError as error:
            yield Broken(name=name, reason=str(error))
            continue
        if not is_tweets:
            notes += [row["noteTweet"] for row in rows if isinstance(row.get("noteTweet"), Mapping)]
            continue
        status: Status = "deleted" if _DELETED.fullmatch(last) else "published"
        for row in rows:
            _keep(tweets, row["tweet"] if isinstance(row.get("tweet"), Mapping) else row, status)
    if not tweets and "tweets.csv" in tree:  # archives before 2018 hold it beside their scripts
        for _, row, _ in table_rows(tree.read("tweets.csv"), name="tweets.csv"):
            _keep(tweets, _of_table(row or {}), "published")
    yield from articles
    if not tweets and not notes and not articles:
        raise UnreadableError("it holds no posts: data/tweets.js is missing or empty; unpack the whole archive")
    yield LeftOut(reason="files of an X archive that hold no posts left out (messages, likes, contacts, settings)", count=other)
    yield from _posts(tweets, _with_notes(tweets, notes), account, policy)


def _articles(value: object, account: Mapping[str, Any], policy: Policy) -> Iterator[Text]:
    """Articles, which have a title and a text: in one piece, as HTML, or as the blocks of their editor (Draft.js)."""
    author = owner(policy, *(text_of(account.get(key)) for key in ("accountDisplayName", "username", "email")))
    handle = text_of(account.get("username")) or "i"
    found = [row["article"] if isinstance(row.get("article"), Mapping) else row for row in objects(value)]
    for number, article in enumerate(found, 1):
        id = str(article.get("id") or article.get("articleId") or article.get("rest_id") or number)
        content = _of_article(article)
        if not content:
            raise UnreadableError("articles in this form are not read yet: save each as a page (HTML) and add those")
        stated = next((day for key in _DATES if (day := iso_date(article.get(key)))), None)
        facts = Facts(
            title=" ".join(unescape(text_of(article.get("title"))).split()),
            author=author,
            date=stated,
            url=f"https://x.com/{handle}/article/{id}",
            status="draft" if "draft" in (text_of(article.get(key)).lower() for key in _STATES) else "published",
        )
        yield Text(name=f"article-{id}", content=content, kind="fragment", facts=facts)


def _of_article(article: Mapping[str, Any]) -> str:
    """The text of an article as HTML; empty where it is in none of the known places."""
    for key in ("content_state", "contentState", "content", "data", "text", "plain_text", "plainText", "html"):
        value = article.get(key)
        if isinstance(value, str) and value.lstrip().startswith("{"):
            value = json_in(value.encode())
        if isinstance(value, Mapping) and (html := draft_html(value)):
            return html
        if isinstance(value, str) and value.strip():
            return value if "</" in value else as_fragment(value)
    return ""


def _posts(tweets: Mapping[str, _Tweet], alone: list[_Tweet], account: Mapping[str, Any], policy: Policy) -> Iterator[Entry]:
    roots, retold, replies = _threads(tweets, own_id=text_of(account.get("accountId")), handle=text_of(account.get("username")))
    yield LeftOut(reason="posts of others that were shared left out", count=retold)
    if "replies" in policy.extras:
        roots += replies
    else:
        yield LeftOut(reason="replies to others left out", count=len(replies))
    author = owner(policy, *(text_of(account.get(key)) for key in ("accountDisplayName", "username", "email")))
    handle = text_of(account.get("username")) or "i"
    for one in sorted([*roots, *alone], key=lambda tweet: (len(tweet.id), tweet.id)):
        parts = [part for part in map(_words, [one, *one.more]) if part]
        facts = Facts(
            title="",
            author=author,
            date=one.date,
            url=f"https://x.com/{handle}/status/{one.id}",
            language=one.language,
            status=one.status,
            thread=one.parent or (one.id if one.more else None),
        )
        yield Text(name=one.id, content=as_fragment("\n\n".join(parts)), kind="fragment", facts=facts)


def _keep(tweets: dict[str, _Tweet], row: Mapping[str, Any], status: Status) -> None:
    made = _tweet(row, status)
    tweets.setdefault(made.id, made)


def _of_table(row: Mapping[str, str]) -> dict[str, Any]:
    shared = {"retweeted_status": True} if row.get("retweeted_status_id") else {}
    named = {"id_str": row.get("tweet_id"), "created_at": row.get("timestamp")}
    return {**row, **named, **shared}


def _tweet(row: Mapping[str, Any], status: Status) -> _Tweet:
    text = text_of(row.get("full_text")) or text_of(row.get("text"))
    stated = text_of(row.get("created_at"))
    language = text_of(row.get("lang"))
    to = row.get("in_reply_to_user_id_str") or row.get("in_reply_to_user_id")
    parent = row.get("in_reply_to_status_id_str") or row.get("in_reply_to_status_id")
    is_retold = text.startswith("RT @") or "retweeted_status" in row or _QUOTED.match(unescape(text)) is not None
    return _Tweet(
        id=str(row.get("id_str") or row.get("id") or ""),
        text=text,
        date=iso_date(stated),
        language=language if language and language not in _NO_LANGUAGE else None,
        status=status,
        parent=str(parent) if parent else None,
        to=str(to) if to else None,
        is_retold=is_retold,
        is_reply=bool(to or parent or row.get("in_reply_to_screen_name") or text.startswith("@")),
    )


def _threads(tweets: Mapping[str, _Tweet], *, own_id: str, handle: str) -> tuple[list[_Tweet], int, list[_Tweet]]:
    """The posts that begin something, with the posts that continue them; how many were shared only; and replies to others."""
    roots: dict[str, _Tweet] = {}  # of each post of one's own
    begun: list[_Tweet] = []
    replies: list[_Tweet] = []
    retold = 0
    for one in sorted(tweets.values(), key=lambda tweet: (len(tweet.id), tweet.id)):
        if one.is_retold:
            retold += 1
            continue
        before = tweets.get(one.parent or "")
        to_self = (
            one.to == own_id if one.to and own_id else one.text.lower().startswith(f"@{handle.lower()} ") if handle else False
        )
        if before is not None and before.id in roots and not (one.to and own_id and one.to != own_id):
            root = roots[before.id]
            if before.status == one.status == root.status:
                root.more.append(one)
                roots[one.id] = root
                continue
        roots[one.id] = one
        (replies if one.is_reply and before is None and not to_self else begun).append(one)
    return begun, retold, replies


def _with_notes(tweets: Mapping[str, _Tweet], notes: list[Mapping[str, Any]]) -> list[_Tweet]:
    """Long posts stand in a file of their own, their beginning among the others: each gets its whole text; those of which no
    beginning is there are returned."""
    alone = []
    for note in notes:
        core: Mapping[str, Any] = next(
            (note[key] for key in ("core", "noteTweetResults") if isinstance(note.get(key), Mapping)), {}
        )
        text = text_of(core.get("text"))
        known = next((one for one in tweets.values() if one.id == str(note.get("tweetId")) or _begins(one.text, text)), None)
        if known is not None:
            known.text = text
        elif text:
            stated = text_of(note.get("createdAt"))
            alone.append(_tweet({"id": note.get("noteTweetId"), "text": text, "created_at": stated}, "published"))
    return alone


def _begins(short: str, whole: str) -> bool:
    start = " ".join(_MENTIONS.sub("", _SHORT_LINK.sub("", unescape(short))).rstrip("… ").split())
    return len(start) >= 100 and " ".join(_MENTIONS.sub("", _SHORT_LINK.sub("", unescape(whole))).split()).startswith(start)


def _words(one: _Tweet) -> str:
    """What the person wrote: without the names of those replied to, short links, and the words of another that follow."""
    text = unescape(one.text)
    if one.is_reply:
        text = _MENTIONS.sub("", text)
    return _RETOLD.sub("", _SHORT_LINK.sub("", text)).strip()


CONTAINER = Container(
    name="twitter",
    title="an archive of an X (Twitter) account",
    taken="your posts, long ones whole, threads as one document each; your articles; with `--include replies` your replies to "
    "others",
    left_out="shared posts (RT), replies to others, deleted posts, direct messages, likes, contacts, short links, the names "
    "before a reply",
    folder=_claimed,
    entries=_entries,
)
