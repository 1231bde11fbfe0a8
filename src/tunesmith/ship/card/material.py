"""What a card is made from: a few files of each artifact, without the writing that the model learned from.

A release carries exactly these files, so that its card can be made again from the release alone. A file from which nothing had
to be taken out is the artifact's own, to the byte.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from tunesmith.core.errors import ArtifactError
from tunesmith.core.files import checked_name

__all__ = ["FACTS", "FOLDER", "Material", "Part", "found_at", "read_material"]

FACTS = "artifact.json"  # an artifact's manifest: in a release, `manifest.json` is that of the release
FOLDER = "provenance"


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One artifact as a card sees it: `files` maps names to contents (JSON, or JSON lines)."""

    kind: str
    id: str
    files: Mapping[str, bytes]
    _parsed: dict[str, Any] = field(default_factory=dict, compare=False, repr=False)

    def parsed(self, file: str) -> Any:
        """The content of a file; None if the part does not have it. JSON lines are a list."""
        if file not in self._parsed:
            self._parsed[file] = _parse(file, self.files[file]) if file in self.files else None
        return self._parsed[file]

    def at(self, file: str, *path: str | int) -> Any:
        """A value inside of a file, or None if it is not there."""
        return found_at(self.parsed(file), path)


def found_at(value: Any, path: tuple[str | int, ...]) -> Any:
    """The value behind a path of keys and positions, or None if there is none."""
    for step in path:
        if isinstance(value, Mapping) and isinstance(step, str):
            value = value.get(step)
        elif isinstance(value, list) and isinstance(step, int) and step < len(value):
            value = value[step]
        else:
            return None
    return value


@dataclass(frozen=True, slots=True, kw_only=True)
class Material:
    """The parts of a card by name: `run`, `dataset`, `eval`, …; an export is `export-FORM-QUANT`."""

    parts: Mapping[str, Part]

    def at(self, part: str, file: str, *path: str | int) -> Any:
        """A value inside of a file of a part, or None if any of it is missing."""
        return self.parts[part].at(file, *path) if part in self.parts else None

    @property
    def exports(self) -> list[str]:
        """The names of the parts that are exports, sorted."""
        return sorted(name for name, part in self.parts.items() if part.kind == "export")

    def files(self) -> Iterator[tuple[str, bytes]]:
        """Every file as a release holds it: path below the folder of the release, and content."""
        for name, part in sorted(self.parts.items()):
            for file, content in sorted(part.files.items()):
                yield f"{FOLDER}/{name}/{file}", content


def read_material(release: Path) -> Material:
    """The material of a release, from its folder. ArtifactError if it cannot be read."""
    parts = {}
    try:
        for folder in sorted(p for p in (release / FOLDER).iterdir() if p.is_dir()):
            files = {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.is_file()}
            facts = orjson.loads(files[FACTS])
            parts[checked_name(folder.name).name] = Part(kind=str(facts["kind"]), id=str(facts["id"]), files=files)
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise ArtifactError(
            "the provenance of this release cannot be read",
            value=str(release / FOLDER),
            expected=f"the files that the release was made with ({error})",
            hint="copy the release again from where it was made",
        ) from error
    return Material(parts=parts)


def _parse(file: str, content: bytes) -> Any:
    if file.endswith(".jsonl"):
        return [orjson.loads(line) for line in content.split(b"\n") if line.strip()]
    return orjson.loads(content)
