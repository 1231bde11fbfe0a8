"""The golden set: examples set apart for good. Frozen, versioned, hash-listed, and refused for training for ever.

`golden/0001`, `golden/0002` … beside the recipe: each version is a committed folder that holds what it added, and names the
seal of the version before it. Nothing in a version ever changes; a changed byte, a missing version or a broken chain is
found.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import orjson

from tunesmith.core.errors import ArtifactError, DatasetError
from tunesmith.core.files import collect_temporary, commit, damage, new_temporary, storage_errors, verify
from tunesmith.core.records import Document, Example, Message, canonical_json, digest, read_jsonl, to_json, write_jsonl

__all__ = ["FOLDER", "Golden", "GoldenVersion", "add_golden", "golden_damage", "golden_example", "read_golden"]

FOLDER = "golden"
_ITEMS = "items.jsonl"


@dataclass(frozen=True, slots=True)
class GoldenVersion:
    """One version: its number from 1, how many items it added, and its seal."""

    number: int
    added: int
    seal: str


@dataclass(frozen=True, slots=True)
class Golden:
    """All items of all versions, oldest first. `id` names this state of the set; empty for an empty set."""

    items: tuple[Example, ...]
    versions: tuple[GoldenVersion, ...]

    @property
    def id(self) -> str:
        return digest(*(version.seal for version in self.versions)) if self.versions else ""


def golden_example(document: Document) -> Example:
    """A document as an item: one turn of the assistant, without a question."""
    return Example(
        id=document.id,
        messages=(Message(role="assistant", content=document.text),),
        document_id=document.id,
        group=document.id,
        source=document.source,
        title=document.title,
        license=document.license,
    )


def add_golden(project: Path, rows: Sequence[Example]) -> tuple[Golden, int]:
    """Freeze rows as a new version; returns the set and how many were new. Rows that are there already add nothing.

    Killed at any moment, the version is there whole or not at all; the same call again gives the same bytes.

    Raises:
        ArtifactError: the set is damaged, and nothing is built on it.
        DatasetError: no row was given.
    """
    if not rows:
        raise DatasetError(
            "no rows to add to the golden set",
            value="no rows",
            expected="examples or documents",
            hint="tunesmith golden add questions.jsonl",
        )
    place = project / FOLDER
    collect_temporary(place)
    known = read_golden(project)
    hashes = {_hash(item) for item in known.items}
    fresh: dict[str, Example] = {}
    for row in rows:
        row = replace(row, meta=dict(sorted(row.meta.items())))
        if (mark := _hash(row)) not in hashes:
            fresh.setdefault(mark, row)
    if not fresh:
        return known, 0
    number = len(known.versions) + 1
    final = place / f"{number:04d}"
    manifest: dict[str, Any] = {
        "kind": "golden",
        "version": number,
        "parent": known.versions[-1].seal if known.versions else None,
        "hashes": list(fresh),
    }
    with storage_errors("freezing the golden set", final):
        temporary = new_temporary(final)
        try:
            write_jsonl(temporary / _ITEMS, fresh.values())
            commit(temporary, final, manifest)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    return read_golden(project), len(fresh)


def read_golden(project: Path) -> Golden:
    """The golden set of a project, verified; an empty one if there is none. ArtifactError if anything differs."""
    if faults := golden_damage(project):
        raise ArtifactError(
            "the golden set is not as it was frozen",
            value="; ".join(faults[:3]),
            expected="versions as they were written, none missing",
            hint="take the folder golden back from a copy; tunesmith golden verify names every fault",
        )
    items: list[Example] = []
    versions = []
    for folder in _folders(project):
        manifest = verify(folder)
        assert manifest is not None
        rows = list(read_jsonl(folder / _ITEMS, Example))
        items += rows
        versions.append(GoldenVersion(manifest["version"], len(rows), manifest["seal"]))
    return Golden(tuple(items), tuple(versions))


def golden_damage(project: Path) -> tuple[str, ...]:
    """Every fault of the golden set, in words: files changed, rows whose hash is not listed, versions missing or foreign."""
    faults: list[str] = []
    parent: str | None = None
    for expected, folder in enumerate(_folders(project), 1):
        if folder.name != f"{expected:04d}":
            faults.append(f"version {expected:04d} is missing before {folder.name}")
            break
        if told := damage(folder):
            faults.append(f"version {folder.name}: {told}")
            parent = None
            continue
        manifest = verify(folder) or {}
        if manifest.get("kind") != "golden" or manifest.get("version") != expected:
            faults.append(f"version {folder.name} is not a version of a golden set")
        elif expected > 1 and not faults and manifest.get("parent") != parent:
            faults.append(f"version {folder.name} does not follow on version {expected - 1:04d}: that one was replaced")
        elif [_hash(item) for item in read_jsonl(folder / _ITEMS, Example)] != manifest.get("hashes"):
            faults.append(f"version {folder.name}: a row does not have its listed hash")
        strangers = {path.name for path in folder.iterdir()} - {_ITEMS, "manifest.json"}
        faults += [f"version {folder.name}: {name} does not belong there" for name in sorted(strangers)]
        parent = manifest.get("seal")
    return tuple(faults)


def _folders(project: Path) -> list[Path]:
    place = project / FOLDER
    return sorted(path for path in place.iterdir() if not path.name.startswith(".")) if place.is_dir() else []


def _hash(item: Example) -> str:
    """The hash of everything that an item says and names."""
    return digest(canonical_json(orjson.loads(to_json(item))))
