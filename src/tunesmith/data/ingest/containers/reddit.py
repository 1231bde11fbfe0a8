"""The data that Reddit sends of an account: tables of one's own posts and comments; no message, no vote."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from html import unescape

from tunesmith.core.records import Status
from tunesmith.data.ingest.container import Broken, Container, Entry, LeftOut, Text
from tunesmith.data.ingest.item import Facts
from tunesmith.data.ingest.metadata import iso_date
from tunesmith.data.ingest.personal import owner
from tunesmith.data.ingest.policy import Policy
from tunesmith.data.ingest.tree import Tree
from tunesmith.data.rows.table import table_rows

__all__ = ["CONTAINER"]

_WRITING: dict[str, Status] = {
    "posts.csv": "published",
    "comments.csv": "published",
    "drafts.csv": "draft",
    "scheduled_posts.csv": "scheduled",
}
_OTHERS_TEXT = """
account_gender announcements approved_submitter_subreddits birthdate chat_history checkfile comment_headers comment_votes
friends gilded_content gold_received hidden_posts ip_logs linked_identities linked_phone_number message_headers messages
messages_archive moderated_subreddits multireddits payouts persona poll_votes post_headers post_votes purchases
reddit_gold_information saved_comments saved_posts sensitive_ads_preferences statistics stripe subscribed_subreddits
subreddit_rules twitter user_preferences
"""
_OTHERS = frozenset(f"{name}.csv" for name in _OTHERS_TEXT.split())
# Columns that tell these tables from others of the same name.
_COLUMNS = {
    "posts.csv": (b"permalink", b"subreddit"),
    "comments.csv": (b"permalink", b"subreddit"),
    "post_headers.csv": (b"permalink", b"subreddit"),
    "comment_headers.csv": (b"permalink", b"subreddit"),
    "messages.csv": (b"permalink", b"thread_id"),
    "messages_archive.csv": (b"permalink", b"thread_id"),
    "message_headers.csv": (b"permalink", b"thread_id"),
}
_GONE = frozenset(["[deleted]", "[removed]", "[removed by reddit]", "[ removed by reddit ]"])
_QUOTATION = re.compile(r"^[ \t]*>(?!!).*$", re.MULTILINE)
_SPOILER = re.compile(r">!(.*?)!<", re.DOTALL)
_THREAD = re.compile(r"/comments/(\w+)")


def _claimed(tree: Tree) -> Collection[str]:
    if not any(_is_table(tree, name) for name in _COLUMNS):
        return ()
    return [name for name in tree.files if name in _OTHERS or name in _WRITING]


def _is_table(tree: Tree, name: str) -> bool:
    if name not in tree:
        return False
    columns = [column.strip(b' "\xef\xbb\xbf') for column in tree.head(name, 1000).split(b"\n")[0].lower().split(b",")]
    return all(column in columns for column in _COLUMNS[name])


def _entries(tree: Tree, policy: Policy) -> Iterator[Entry]:
    author = owner(policy, _account(tree))
    yield LeftOut(
        reason="tables of a Reddit export that hold no posts left out (messages, votes, settings)",
        count=sum(name in _OTHERS for name in tree.names),
    )
    for name in tree.names:
        if name not in _WRITING:
            continue
        for place, row, problem in table_rows(tree.read(name), name=name):
            if problem:
                yield Broken(name=name, reason=f"{place}: {problem}")
            else:
                yield _entry(row, name.removesuffix(".csv"), _WRITING[name], author, policy)


def _entry(row: Mapping[str, str], folder: str, status: Status, author: str | None, policy: Policy) -> Entry:
    text = row.get("body", "")
    if text.strip().lower() in _GONE:
        return LeftOut(reason="deleted texts left out")
    text = unescape(text.replace("\r\n", "\n"))
    if "quotations" not in policy.extras:
        text = _QUOTATION.sub("", text)
    thread = _THREAD.search(row.get("permalink", "") or row.get("link", ""))
    facts = Facts(
        title=" ".join(unescape(row.get("title", "")).split()),
        url=row.get("permalink"),
        author=author,
        date=iso_date(row.get("date") or row.get("created")),
        status=status,
        thread=thread[1] if thread else None,
    )
    return Text(name=f"{folder}/{row.get('id', '')}", content=_SPOILER.sub(r"\1", text), kind="markdown", facts=facts)


def _account(tree: Tree) -> str | None:
    if "statistics.csv" not in tree:
        return None
    rows = (row for _, row, problem in table_rows(tree.read("statistics.csv"), name="statistics.csv") if not problem)
    return next((row.get("value") for row in rows if row.get("statistic", "").lower() == "account name"), None)


CONTAINER = Container(
    name="reddit",
    title="an export of a Reddit account",
    taken="your posts and comments, with address, date and thread",
    left_out="deleted texts, drafts, quoted lines, messages, chats, votes and saved posts",
    folder=_claimed,
    entries=_entries,
)
