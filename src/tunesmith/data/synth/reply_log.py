"""Replies kept in one file, a line each: for many short replies, where a file of its own for each costs more than the reply.

A line is written, whole, before anything is made of the reply: a kill loses at most the replies that were on their way. It is
synced to the disk twice a second and at the end, so a power cut loses at most half a second of them. A line that is torn or
damaged is skipped and asked again. Lines hold no prompt, no address and no key.
"""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import orjson

from tunesmith.core.files import make_folders, storage_errors
from tunesmith.core.records import from_dict, to_json
from tunesmith.data.synth.replies import check_of
from tunesmith.data.synth.request import Reply

__all__ = ["ReplyLog"]

_SYNC_S = 0.5


class ReplyLog:
    """The replies of one file. Safe to use from several threads; several processes may append to it, each line in one write."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._synced = 0.0
        self._kept = _read(path)
        with storage_errors("keeping replies", path):
            make_folders(path.parent)
            self._file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
            size = os.fstat(self._file).st_size
            if size and os.pread(self._file, 1, size - 1) != b"\n":
                os.write(self._file, b"\n")  # after a torn line

    def find(self, key: str) -> Reply | None:
        """The reply kept for this request; None if there is none."""
        return self._kept.get(key)

    def keep(self, key: str, reply: Reply) -> None:
        """Append a reply.

        Raises:
            StorageError: the disk is full or read-only; what was kept before is intact.
        """
        line = to_json({"key": key, "reply": reply, "check": check_of(key, reply)}) + b"\n"
        with self._lock, storage_errors("keeping a reply", self.path):
            if os.write(self._file, line) != len(line):
                raise OSError(28, "no space left for a whole line")
            self._kept[key] = reply
            if time.monotonic() - self._synced > _SYNC_S:
                os.fsync(self._file)
                self._synced = time.monotonic()

    def close(self) -> None:
        """Sync what was written and close the file."""
        with self._lock, storage_errors("keeping replies", self.path):
            os.fsync(self._file)
            os.close(self._file)


def _read(path: Path) -> dict[str, Reply]:
    if not path.is_file():
        return {}
    found = {}
    for line in path.read_bytes().split(b"\n"):
        try:
            row = orjson.loads(line)
            key, reply = row["key"], from_dict(Reply, row["reply"])
        except (orjson.JSONDecodeError, KeyError, TypeError):
            continue
        if row.get("check") == check_of(key, reply):
            found[key] = reply
    return found
