"""Answers that were made before: a repeated run asks nothing, an interrupted one continues."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from tunesmith.core.disk import DISK, Disk
from tunesmith.eval.kept_rows import KeptRows
from tunesmith.models.generation.requests import Completion

__all__ = ["AnswerStore"]

_FIELDS = ("asked", "text", "finish_reason", "num_tokens")
_MORE = ("prompt_tokens", "seconds", "ids", "end_id")


class AnswerStore:
    """Answers of one system, by what was asked. `fingerprint` hashes weights, adapter, template and sampling.

    `whole`: with token ids and what they took, where those are known. Torn and damaged lines count as not asked (`KeptRows`).
    """

    def __init__(self, folder: Path, fingerprint: str, *, whole: bool = False, disk: Disk = DISK) -> None:
        self._fields = (*_FIELDS, *_MORE) if whole else _FIELDS
        self._rows = KeptRows(folder, fingerprint, self._fields, disk=disk)

    def read(self) -> Mapping[str, Completion]:
        """Every whole answer, by the hash of its question. The latest counts."""
        found = {}
        for asked, row in self._rows.read().items():
            ids = row.get("ids")
            more = {name: row.get(name) for name in ("prompt_tokens", "seconds", "end_id")}
            found[asked] = Completion(
                row["text"], row["finish_reason"], row["num_tokens"], **more, ids=None if ids is None else tuple(ids)
            )
        return found

    def add(self, answers: Iterable[tuple[str, Completion]]) -> None:
        """Append answers and wait until they are on the disk."""
        self._rows.add(self._row(asked, answer) for asked, answer in answers)

    def _row(self, asked: str, answer: Completion) -> dict[str, object]:
        ids = None if answer.ids is None else list(answer.ids)
        return {name: asked if name == "asked" else ids if name == "ids" else getattr(answer, name) for name in self._fields}
