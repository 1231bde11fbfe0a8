"""The data that Discord sends of an account: only one's own messages, a folder for each channel."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from tunesmith.core.records import Status
from tunesmith.data.ingest.chat import Said, threads
from tunesmith.data.ingest.container import Broken, Container, Entry, LeftOut, Text
from tunesmith.data.ingest.item import Facts
from tunesmith.data.ingest.personal import as_fragment, json_in, json_or_none, objects, owner, text_of
from tunesmith.data.ingest.policy import Policy
from tunesmith.data.ingest.tree import Tree
from tunesmith.data.rows.table import table_rows
from tunesmith.data.text.decode import UnreadableError

__all__ = ["CONTAINER"]

# The folder is called as the language of the account calls it: messages, Nachrichten, …
_MESSAGES = re.compile(r"(?:[^/]+/)?c?\d{15,}/messages\.(?:csv|json)")
_BESIDE = re.compile(r"(?:[^/]+/)?(?:c?\d{15,}/channel\.json|index\.json)")
_REST = re.compile(r"(?:account|activit\w+|servers?|programs|ads|support_tickets)/.*|README\.txt", re.IGNORECASE)
_MARK = re.compile(r"<(?:@[!&]?|#|a?:\w+:|t:)[\d:A-Za-z]+>")
_PRIVATE = frozenset(["DM", "GROUP_DM", "1", "3"])


def _claimed(tree: Tree) -> Collection[str]:
    found = [name for name in tree.names if _MESSAGES.fullmatch(name) and _is_messages(tree, name)]
    if not found:
        return ()
    known = {name for name in tree.names if _MESSAGES.fullmatch(name) or _BESIDE.fullmatch(name)}
    is_whole = any(name.count("/") == 2 for name in found)
    return known | ({name for name in tree.names if _REST.fullmatch(name)} if is_whole else set())


def _is_messages(tree: Tree, name: str) -> bool:
    head = tree.head(name, 4000).lower()
    return b"timestamp" in head and b"contents" in head


def _entries(tree: Tree, policy: Policy) -> Iterator[Entry]:
    found = [name for name in tree.names if _MESSAGES.fullmatch(name)]
    yield LeftOut(reason="files of a Discord package that hold no messages left out", count=len(tree.names) - len(found))
    account = next((json_or_none(tree, name) for name in tree.names if name.endswith("user.json")), None)
    user = account if isinstance(account, Mapping) else {}
    author = owner(policy, *(text_of(user.get(key)) for key in ("global_name", "username", "email")))
    for name in found:
        folder = name.rpartition("/")[0]
        try:
            said = list(_said(tree, name))
        except UnreadableError as error:
            yield Broken(name=name, reason=str(error))
            continue
        channel = json_or_none(tree, f"{folder}/channel.json")
        kind = str(channel.get("type")) if isinstance(channel, Mapping) else ""
        status: Status = "private" if kind in _PRIVATE else "published"
        for number, part in enumerate(threads(said), 1):
            facts = Facts(title="", author=author, date=part[0].date, status=status, thread=folder.rpartition("/")[2])
            text = "\n\n".join(one.text for one in part if one.text)
            yield Text(name=f"{folder}/{number}", content=as_fragment(text), kind="fragment", facts=facts)


def _said(tree: Tree, name: str) -> Iterator[Said]:
    """One's own messages, the oldest first."""
    if name.endswith(".json"):
        rows = [{str(key).lower(): value for key, value in row.items()} for row in objects(json_in(tree.read(name)))]
    else:
        rows = [row for _, row, problem in table_rows(tree.read(name), name=name) if not problem]
    made = (_one(row) for row in rows)
    yield from sorted(made, key=lambda one: one.time or 0.0)


def _one(row: Mapping[str, Any]) -> Said:
    text = re.sub(r"[^\S\n]+", " ", _MARK.sub("", text_of(row.get("contents")))).strip()
    try:
        moment = datetime.fromisoformat(text_of(row.get("timestamp")))
    except ValueError:
        return Said("", text)
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return Said("", text, time=moment.timestamp(), date=moment.date().isoformat())


CONTAINER = Container(
    name="discord_package",
    title="the data package of a Discord account",
    taken="your own messages in channels of servers, as documents",
    left_out="direct messages (private; `publication` takes them), mentions, settings, activity",
    folder=_claimed,
    entries=_entries,
)
