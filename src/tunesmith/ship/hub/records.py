"""The records of a push: a file that leaves, one that stays here, something found in a text, and the whole list."""

from __future__ import annotations

import io
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, BinaryIO

__all__ = ["Kind", "LeftOut", "PushFile", "PushFinding", "PushList", "Pushed"]

_SMALL_BYTES = 1_000_000


class Kind(StrEnum):
    """What a push holds: it decides what must be there, and the type of the repository."""

    ADAPTER = "adapter"
    MODEL = "model"
    GGUF = "gguf"
    DATASET = "dataset"
    RELEASE = "release"


@dataclass(frozen=True, slots=True, kw_only=True)
class PushFile:
    """A file that leaves: its path in the repository, size in bytes and SHA-256. `content` replaces what is at `source`.

    `changed` says how `content` differs from the file; both are empty for a file that is sent as it is.
    """

    path: str
    size: int
    sha256: str
    source: Path
    content: bytes | None = None
    changed: str = ""

    def open(self) -> BinaryIO:
        """What leaves, to be read. A small file is held in memory, so that a thousand of them are not open at once."""
        if self.content is not None:
            return io.BytesIO(self.content)
        return self.source.open("rb") if self.size > _SMALL_BYTES else io.BytesIO(self.source.read_bytes())

    def as_dict(self) -> dict[str, Any]:
        """One entry of `files` in the JSON object."""
        changed = {"changed": self.changed} if self.changed else {}
        return {"path": self.path, "size": self.size, "sha256": self.sha256, **changed}


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """A file of the folder that is not sent, and why."""

    path: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PushFinding:
    """What a search found: its name (for `--allow`), how often, and the first places (`README.md:12`). Never the text found.

    `blocks`: whether it stops the push.
    """

    name: str
    text: str
    count: int
    places: tuple[str, ...]
    blocks: bool

    def as_dict(self) -> dict[str, Any]:
        """One entry of `findings` in the JSON object."""
        return {"name": self.name, "text": self.text, "count": self.count, "places": list(self.places), "blocks": self.blocks}


@dataclass(frozen=True, slots=True, kw_only=True)
class PushList:
    """All that would leave, and what would not. Nothing was sent yet.

    `origin`: the artifact or folder. `warnings`: what the sender should know. `allowed`: blocking findings that were allowed.
    """

    repository: str
    kind: Kind
    origin: str
    public: bool
    files: tuple[PushFile, ...]
    left_out: tuple[LeftOut, ...] = ()
    findings: tuple[PushFinding, ...] = ()
    allowed: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def repository_type(self) -> str:
        """What the hub calls the repository."""
        return "dataset" if self.kind is Kind.DATASET else "model"

    @property
    def num_bytes(self) -> int:
        """The size of all files."""
        return sum(file.size for file in self.files)

    def as_dict(self) -> dict[str, Any]:
        """The list as part of the JSON object."""
        return {
            "repository": self.repository,
            "repository_type": self.repository_type,
            "kind": self.kind.value,
            "origin": self.origin,
            "public": self.public,
            "bytes": self.num_bytes,
            "files": [file.as_dict() for file in self.files],
            "left_out": [{"path": one.path, "reason": one.reason} for one in self.left_out],
            "findings": [finding.as_dict() for finding in self.findings],
            "allowed": list(self.allowed),
            "warnings": list(self.warnings),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Pushed:
    """A finished push, or a dry run (`url` and `commit` are then empty). `listed` is what was shown before.

    Every file of the list was read back from the hub at `commit`, and its hash compared. `sent_bytes`: bytes of large files
    that travelled; none for a file that the hub had already. Small files travel inside of the commit. `remaining`: other files
    of the repository at `commit`.
    """

    listed: PushList
    url: str = ""
    commit: str = ""
    sent_bytes: int = 0
    remaining: tuple[str, ...] = ()

    @property
    def dry_run(self) -> bool:
        """Whether nothing was sent."""
        return not self.commit

    @property
    def files(self) -> dict[str, str]:
        """Path in the repository → SHA-256."""
        return {file.path: file.sha256 for file in self.listed.files}

    def as_dict(self) -> dict[str, Any]:
        """The object that `tunesmith push --json` prints."""
        return {
            "dry_run": self.dry_run,
            "url": self.url,
            "commit": self.commit,
            "sent_bytes": self.sent_bytes,
            "remaining": list(self.remaining),
            **self.listed.as_dict(),
        }
