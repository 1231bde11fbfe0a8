"""Artifacts: immutable directories named by what went into them, kept in a project's `.tunesmith/` folder.

The id of an artifact is the hash of its kind, inputs, settings and the version of Tunesmith: same inputs and settings,
same id, nothing to do again. What its files hold is guarded by the SHA-256 of each in the manifest.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from tunesmith import __version__
from tunesmith.core.errors import ArtifactError, StorageError
from tunesmith.core.files import MANIFEST, collect_temporary, commit, new_temporary, replace_file, storage_errors, verify
from tunesmith.core.records import canonical_json, digest

__all__ = ["Artifact", "Draft", "Store", "folder_of"]

_LATEST = "latest"
_BESIDE = ("arena",)  # kinds that lie next to the store: what is in it can be made again, the votes of people cannot
_NAME = re.compile(r"[a-z][a-z0-9_-]*")  # of a stage of a chain
_LIBRARIES = (
    "torch",
    "transformers",
    "tokenizers",
    "peft",
    "safetensors",
    "numpy",
    "scipy",
    "rouge-score",
    "trafilatura",
    "feedparser",
)


def folder_of(kind: str) -> str:
    """The folder, below the store's root, that takes artifacts of a kind: `runs` for `run`."""
    return kind if kind.endswith("s") else f"{kind}s"


@dataclass(frozen=True, slots=True)
class Artifact:
    """A committed directory and its manifest."""

    path: Path
    manifest: Mapping[str, Any]

    @property
    def id(self) -> str:
        """The hash of its kind, inputs and settings."""
        return str(self.manifest["id"])

    @property
    def kind(self) -> str:
        """The stage that made it, such as `dataset` or `run`."""
        return str(self.manifest["kind"])

    @property
    def numbers(self) -> Mapping[str, Any]:
        """The figures that the stage reports."""
        numbers: Mapping[str, Any] = self.manifest["numbers"]
        return numbers

    def as_dict(self) -> dict[str, Any]:
        """The object that a command which makes one artifact prints with `--json`: folder, id, figures."""
        return {"artifact": str(self.path), "id": self.id, "numbers": dict(self.numbers)}

    def reference(self) -> dict[str, str]:
        """How another artifact names this one among its inputs."""
        return {"kind": self.kind, "id": self.id}


@dataclass(slots=True)
class Draft:
    """An artifact being made: write files below `path`, put the figures worth reporting into `numbers`."""

    path: Path
    id: str
    numbers: dict[str, Any] = field(default_factory=dict)
    machine: dict[str, Any] = field(default_factory=dict)


class Store:
    """The artifacts of one project. Nothing is written until the first artifact is. `marks`: whether what is made or found
    becomes the latest of its kind. `stage`: the stage of a chain that it is made for, whose latest it becomes as well.
    Arenas are in the folder around `root`, since votes cannot be made again."""

    def __init__(self, root: Path, *, marks: bool = True, stage: str = "") -> None:
        self.root = root
        self._marks = [_LATEST, *([f"{_LATEST}.{stage}"] if stage else [])] if marks else []

    def identify(self, kind: str, inputs: Sequence[Mapping[str, str]], settings: Mapping[str, Any]) -> str:
        """The id that an artifact of these inputs and settings has: 64 hex digits."""
        return digest(canonical_json({"kind": kind, "inputs": list(inputs), "settings": settings, "version": __version__}))

    def directory(self, kind: str, id: str) -> Path:
        """The folder of an artifact, existing or future, named by the first 16 digits of its id."""
        return self._folder(kind) / id[:16]

    def _folder(self, kind: str) -> Path:
        return (self.root.parent if kind in _BESIDE else self.root) / folder_of(kind)

    def workspace(self, id: str) -> Path:
        """Where a long stage keeps what it needs to resume, until its artifact is committed."""
        return self.root / "work" / id[:16]

    def clear_workspace(self, id: str) -> None:
        """Remove what a stage kept to resume, once its artifact is committed."""
        shutil.rmtree(self.workspace(id), ignore_errors=True)

    def find(self, kind: str, id: str) -> Artifact | None:
        """The artifact, if it is there and every file matches its manifest."""
        path = self.directory(kind, id)
        manifest = verify(path)
        return Artifact(path, manifest) if manifest is not None and manifest.get("id") == id else None

    def mark_latest(self, artifact: Artifact) -> Artifact:
        """Remember an artifact as its kind's latest: the one that a command last made, or came to and found made."""
        for mark in self._marks:
            file = self._folder(artifact.kind) / mark
            if self._marked(artifact.kind, mark) != artifact.id:
                with storage_errors(f"noting the {artifact.kind} {artifact.id[:8]} as the latest", file):
                    replace_file(file, artifact.id.encode())
        return artifact

    def _marked(self, kind: str, mark: str) -> str:
        with suppress(OSError, UnicodeDecodeError):
            return (self._folder(kind) / mark).read_text(encoding="utf-8")
        return ""

    def place_of(self, base: str) -> str:
        """What opens a base by the name that a run keeps: the folder of a merged model of this store (`model-` and the digits
        of its folder), else the name itself."""
        found = re.fullmatch(r"model-([0-9a-f]{16})", base)
        return str(self.root / folder_of("model") / found[1]) if found else base

    @contextmanager
    def create(self, kind: str, *, inputs: Sequence[Mapping[str, str]], settings: Mapping[str, Any]) -> Iterator[Draft]:
        """Make an artifact: yields a Draft to fill; commits it when the block ends, leaves nothing if it raises."""
        id = self.identify(kind, inputs, settings)
        final = self.directory(kind, id)
        with storage_errors(f"writing the {kind} {id[:8]}", final):
            collect_temporary(final.parent)
            temporary = new_temporary(final)
            draft = Draft(temporary, id)
            try:
                yield draft
                manifest = {
                    "kind": kind,
                    "id": id,
                    "inputs": list(inputs),
                    "settings": dict(settings),
                    "version": __version__,
                    "libraries": _versions(),
                    "machine": {
                        "system": platform.system(),
                        "processor": platform.machine(),
                        "cores": os.cpu_count(),
                        **draft.machine,
                    },
                    "created": datetime.now(UTC).isoformat(timespec="microseconds"),
                    "numbers": draft.numbers,
                }
                commit(temporary, final, manifest)
            finally:
                _discard(temporary)

    def obtain(
        self, kind: str, inputs: Sequence[Mapping[str, str]], settings: Mapping[str, Any], fill: Callable[[Draft], None]
    ) -> Artifact:
        """The artifact of these inputs and settings: found if it is there, else made by `fill`."""
        id = self.identify(kind, inputs, settings)
        if (found := self.find(kind, id)) is not None:
            return self.mark_latest(found)
        with self.create(kind, inputs=inputs, settings=settings) as draft:
            fill(draft)
        if (made := self.find(kind, id)) is None:
            raise StorageError(
                f"the {kind} just written does not read back",
                value=str(self.directory(kind, id)),
                expected="a healthy disk",
                hint="check the disk, then type the same command again",
            )
        return self.mark_latest(made)

    def all(self) -> list[Artifact]:
        """Every artifact with a readable manifest, oldest first. Files are not hashed: use `find` before relying on one."""
        found = []
        beside = [path for kind in _BESIDE for path in self._folder(kind).glob(f"[!.]*/{MANIFEST}")]
        for path in sorted([*self.root.glob(f"*/[!.]*/{MANIFEST}"), *beside]):
            try:
                manifest = orjson.loads(path.read_bytes())
            except (orjson.JSONDecodeError, OSError):
                continue  # damaged: the stage that needs it makes it again
            whole = isinstance(manifest, dict) and {"kind", "id", "created", "files"} <= manifest.keys()
            named = whole and isinstance(manifest["kind"], str) and isinstance(manifest["id"], str)
            if named and folder_of(manifest["kind"]) == path.parent.parent.name:
                found.append(Artifact(path.parent, manifest))
        return sorted(found, key=lambda artifact: str(artifact.manifest.get("created", "")))

    def resolve(self, prefix: str) -> Artifact:
        """The one artifact whose id begins with `prefix` or `kind:prefix`, verified; or the one that is named `kind:latest`, or
        `kind:NAME` after the stage of a chain that it was made for."""
        everything = self.all()
        kind, _, latest = prefix.partition(":")
        of_kind = [a for a in everything if a.kind == kind]
        if latest == _LATEST:
            marked = [a for a in of_kind if a.id == self._marked(a.kind, _LATEST)]
            matches = (marked or of_kind)[-1:]  # without a mark, or with one of an artifact that is gone, the newest
        elif _NAME.fullmatch(latest) and (id := self._marked(kind, f"{_LATEST}.{latest}")):
            matches = [a for a in of_kind if a.id == id]
        else:
            matches = [a for a in (of_kind if latest else everything) if prefix and a.id.startswith((latest or prefix).lower())]
        if len(matches) != 1:
            known = ", ".join(f"{a.kind} {a.id[:8]}" for a in everything[-6:]) or f"none yet in {self.root}"
            raise ArtifactError(
                "no such artifact" if not matches else f"{len(matches)} artifacts begin with that",
                value=prefix,
                expected=f"the first digits of one id, KIND:DIGITS, KIND:latest, or KIND:STAGE of a chain; there are: {known}",
                hint="tunesmith run" if latest == _LATEST else "tunesmith show",
            )
        if verify(matches[0].path) is None:
            raise ArtifactError(
                "this artifact is damaged: a file does not match its manifest",
                value=str(matches[0].path),
                expected="files as they were written",
                hint="delete the folder and run the command that made it again",
            )
        return matches[0]


def _discard(temporary: Path) -> None:
    """Remove a temporary directory of this process, if it is still there."""
    shutil.rmtree(temporary, ignore_errors=True)


def _versions() -> dict[str, str]:
    found = {}
    for name in _LIBRARIES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
