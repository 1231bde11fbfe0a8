"""The export of a Slack workspace: its list of members names who wrote what in the days of its channels."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

import orjson

from tunesmith.data.ingest.container import Container, Entry, File, LeftOut, Text
from tunesmith.data.ingest.policy import Policy
from tunesmith.data.ingest.tree import Tree

__all__ = ["CONTAINER"]

# Files of an export that list members and channels and hold no message.
_LISTS = frozenset(
    f"{name}.json"
    for name in ("users", "channels", "groups", "dms", "mpims", "integration_logs", "canvases", "lists", "org_users")
)
_NAMES = ("real_name", "display_name", "name")


def _claimed(tree: Tree) -> Collection[str]:
    if "users.json" not in tree or not _members(tree.read("users.json")):
        return ()
    return [name for name in tree.names if name.endswith(".json")]


def _entries(tree: Tree, policy: Policy) -> Iterator[Entry]:
    members = _members(tree.read("users.json"))
    for name in tree.names:
        if name in _LISTS:
            yield LeftOut(reason="lists of members and channels left out")
            continue
        data = tree.read(name)
        named = _with_profiles(data, members)
        yield File(name=name) if named is None else Text(name=name, content=named, kind="chat")


def _members(data: bytes) -> dict[str, dict[str, str]]:
    """The names of each member by id; nothing if it is another file of that name."""
    try:
        rows = orjson.loads(data)
    except orjson.JSONDecodeError:
        return {}
    members: dict[str, dict[str, str]] = {}
    for row in rows if isinstance(rows, list) else []:
        profile = row.get("profile") if isinstance(row, Mapping) else None
        if not isinstance(profile, Mapping) or not isinstance(row.get("id"), str):
            return {}
        stated = {key: profile.get(key) or row.get(key) for key in _NAMES}
        members[row["id"]] = {key: value for key, value in stated.items() if isinstance(value, str) and value}
    return members


def _with_profiles(data: bytes, members: Mapping[str, Mapping[str, str]]) -> bytes | None:
    """A day of a channel in which every message carries the names of its author; None for any other file."""
    try:
        messages = orjson.loads(data)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(messages, list) or not all(isinstance(message, dict) for message in messages):
        return None
    return orjson.dumps([_named(message, members) for message in messages])


def _named(message: dict[str, Any], members: Mapping[str, Mapping[str, str]]) -> dict[str, Any]:
    known, own = members.get(str(message.get("user"))), message.get("user_profile")
    if known is None or message.get("type") != "message":
        return message
    return {**message, "user_profile": {**known, **(own if isinstance(own, Mapping) else {})}}


CONTAINER = Container(
    name="slack",
    title="an export of a Slack workspace",
    taken="channels, a chat each; with `me` your answers",
    left_out="lists of members and channels, names of people",
    folder=_claimed,
    entries=_entries,
)
