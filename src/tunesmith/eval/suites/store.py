"""Answers that were made before, one JSON line each: a repeated run asks nothing, an interrupted one continues."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import orjson

from tunesmith.core.disk import DISK, Disk
from tunesmith.core.files import make_folders, storage_errors
from tunesmith.core.records import digest, to_json
from tunesmith.models.generation.requests import Completion

__all__ = ["AnswerStore"]

_FIELDS = {"asked", "text", "finish_reason", "num_tokens", "check"}


class AnswerStore:
    """Answers of one system, by what was asked. `fingerprint` hashes weights, adapter, template and sampling.

    A line carries a hash of its own content. What does not match it (a line torn by a kill, a damaged one) is ignored, and the
    question is asked again; nothing is ever changed in place.
    """

    def __init__(self, folder: Path, fingerprint: str, *, disk: Disk = DISK) -> None:
        self._path = folder / f"{digest(fingerprint)[:32]}.jsonl"
        self._fingerprint = fingerprint
        self._disk = disk

    def read(self) -> Mapping[str, Completion]:
        """Every whole answer, by the hash of its question. The latest counts."""
        if not self._path.is_file():
            return {}
        found: dict[str, Completion] = {}
        for line in self._path.read_bytes().split(b"\n"):
            try:
                row = orjson.loads(line)
            except orjson.JSONDecodeError:
                continue  # torn: asked again
            if isinstance(row, dict) and set(row) == _FIELDS and row["check"] == self._check(row):
                found[row["asked"]] = Completion(row["text"], row["finish_reason"], row["num_tokens"])
        return found

    def add(self, answers: Iterable[tuple[str, Completion]]) -> None:
        """Append answers and wait until they are on the disk."""
        lines = b"".join(self._line(asked, answer) for asked, answer in answers)
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

    def _line(self, asked: str, answer: Completion) -> bytes:
        row = {"asked": asked, "text": answer.text, "finish_reason": answer.finish_reason, "num_tokens": answer.num_tokens}
        return to_json({**row, "check": self._check(row)}) + b"\n"

    def _check(self, row: Mapping[str, object]) -> str:
        parts = (str(row[name]) for name in ("asked", "text", "finish_reason", "num_tokens"))
        return digest(self._fingerprint, *parts)[:16]
