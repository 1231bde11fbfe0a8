"""Rows that must outlast a kill: one JSON line each, under the hash of what was asked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import orjson

from tunesmith.core.disk import DISK, Disk
from tunesmith.core.files import make_folders, storage_errors
from tunesmith.core.records import digest, to_json

__all__ = ["KeptRows"]


class KeptRows:
    """The rows of one system. `fingerprint` hashes all that decides them but what was asked; `fields`: what a row holds,
    its key `asked` first.

    A line carries a hash of its own content. What does not match it (a line torn by a kill, a damaged one) is ignored, so that
    it is asked again; nothing is ever changed in place.
    """

    def __init__(self, folder: Path, fingerprint: str, fields: tuple[str, ...], *, disk: Disk = DISK) -> None:
        self._path = folder / f"{digest(fingerprint)[:32]}.jsonl"
        self._fingerprint = fingerprint
        self._fields = fields
        self._disk = disk

    def read(self) -> dict[str, dict[str, Any]]:
        """Every whole row by its key. The latest counts."""
        if not self._path.is_file():
            return {}
        found: dict[str, dict[str, Any]] = {}
        for line in self._path.read_bytes().split(b"\n"):
            try:
                row = orjson.loads(line)
            except orjson.JSONDecodeError:
                continue  # torn: asked again
            if isinstance(row, dict) and set(row) == {*self._fields, "check"} and row["check"] == self._check(row):
                found[row["asked"]] = row
        return found

    def add(self, rows: Iterable[Mapping[str, object]]) -> None:
        """Append rows and wait until they are on the disk."""
        lines = b"".join(to_json({**row, "check": self._check(row)}) + b"\n" for row in rows)
        with storage_errors("saving answers", self._path):
            is_new = not self._path.exists()
            make_folders(self._path.parent, disk=self._disk)
            if is_new:
                self._disk.write(self._path, lines)
            else:
                self._disk.append(self._path, b"\n" + lines)  # a torn last line must not swallow the next
            self._disk.sync(self._path)
            if is_new:
                self._disk.sync(self._path.parent)

    def _check(self, row: Mapping[str, object]) -> str:
        return digest(self._fingerprint, *(str(row[name]) for name in self._fields))[:16]
