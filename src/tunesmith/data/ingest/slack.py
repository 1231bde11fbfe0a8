"""The archive of a Slack workspace: who its members are, so that the days of its channels know their names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

__all__ = ["LISTS", "members_of", "with_profiles"]

# What stands beside the channels in an export: lists without a message.
LISTS = frozenset(
    f"{name}.json"
    for name in ("users", "channels", "groups", "dms", "mpims", "integration_logs", "canvases", "lists", "org_users")
)
_NAMES = ("real_name", "display_name", "name")


def members_of(data: bytes) -> dict[str, dict[str, str]]:
    """The names of each member by id, out of the export's `users.json`; nothing if it is another file of that name."""
    try:
        rows = orjson.loads(data)
    except orjson.JSONDecodeError:
        return {}
    members: dict[str, dict[str, str]] = {}
    for row in rows if isinstance(rows, list) else []:
        profile = row.get("profile") if isinstance(row, Mapping) else None
        if not isinstance(profile, Mapping) or not isinstance(row.get("id"), str):
            return {}
        said = {key: profile.get(key) or row.get(key) for key in _NAMES}
        members[row["id"]] = {key: value for key, value in said.items() if isinstance(value, str) and value}
    return members


def with_profiles(data: bytes, members: Mapping[str, Mapping[str, str]]) -> bytes:
    """A day of a channel in which every message carries the names of its author; other files stay as they are."""
    try:
        messages = orjson.loads(data)
    except orjson.JSONDecodeError:
        return data
    if not isinstance(messages, list) or not all(isinstance(message, dict) for message in messages):
        return data
    return orjson.dumps([_named(message, members) for message in messages])


def _named(message: dict[str, Any], members: Mapping[str, Mapping[str, str]]) -> dict[str, Any]:
    known, own = members.get(str(message.get("user"))), message.get("user_profile")
    if known is None or message.get("type") != "message":
        return message
    return {**message, "user_profile": {**known, **(own if isinstance(own, Mapping) else {})}}
