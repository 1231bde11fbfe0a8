"""Replies kept on disk, one file a request, named by the request's hash: what was paid once is never paid again.

A reply is on disk, synced and whole, before anything is made of it. A kill loses at most the replies that were on their
way at that moment. Files hold no prompt, no address and no key.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import orjson

from tunesmith.core.files import replace_file, storage_errors
from tunesmith.core.records import canonical_json, digest, from_dict, to_json
from tunesmith.data.synth.request import Reply

__all__ = ["Replies", "RepliesInMemory", "check_of"]


class Replies:
    """The replies below one folder. Safe to use from several threads and processes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, key: str) -> Path:
        """Where the reply to the request of this hash stands or will stand."""
        return self.folder / key[:2] / f"{key}.json"

    def find(self, key: str) -> Reply | None:
        """The reply kept for this request; None if there is none, or if its file was damaged."""
        path = self.path(key)
        if not path.is_file():
            return None
        try:
            row = orjson.loads(path.read_bytes())
            reply = from_dict(Reply, row["reply"])
        except (orjson.JSONDecodeError, KeyError, TypeError):
            return None
        return reply if row.get("check") == check_of(key, reply) else None

    def keep(self, key: str, reply: Reply) -> None:
        """Write a reply durably.

        Raises:
            StorageError: the disk is full or read-only; what was kept before is intact.
        """
        with storage_errors("keeping a reply of the generator", self.folder):
            replace_file(self.path(key), to_json({"reply": reply, "check": check_of(key, reply)}) + b"\n")


class RepliesInMemory:
    """The replies of this process, for work that is part of something that can itself be resumed."""

    def __init__(self) -> None:
        self._kept: dict[str, Reply] = {}

    def find(self, key: str) -> Reply | None:
        """The reply kept for this request; None if there is none."""
        return self._kept.get(key)

    def keep(self, key: str, reply: Reply) -> None:
        """Keep a reply until the process ends."""
        self._kept[key] = reply


def check_of(key: str, reply: Reply) -> str:
    """SHA-256 (hex) of a reply under its key, by which damage is seen."""
    found = asdict(reply)
    for name in ("logprobs", "model", "fingerprint"):  # as in replies that were kept before there were any
        if not found[name]:
            del found[name]
    return digest(key, canonical_json(found))
