"""The golden set of a project: frozen examples that no training may see. Adding, listing, verifying."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tunesmith.core.errors import ArtifactError
from tunesmith.core.records import Example, Failure
from tunesmith.core.reporter import SilentReporter
from tunesmith.data.dataset.golden import FOLDER, Golden, add_golden, golden_damage, golden_example, read_golden
from tunesmith.data.ingest.extract import extract
from tunesmith.data.ingest.gather import gather

__all__ = ["GoldenAdded", "GoldenList", "GoldenState", "golden_add", "golden_list", "golden_verify"]


@dataclass(frozen=True, slots=True, kw_only=True)
class GoldenAdded:
    """`added` items are new in `version`, `known` were already in the set, `items` are in it now. `id` names the current set.

    `failed`: rows and files that could not be read. `folder`: where the set is stored.
    """

    added: int
    known: int
    items: int
    version: int
    id: str
    failed: tuple[Failure, ...]
    folder: Path

    def as_dict(self) -> dict[str, Any]:
        """The object that `tunesmith golden add --json` prints."""
        failed = [asdict(failure) for failure in self.failed]
        return {"added": self.added, "items": self.items, "version": self.version, "id": self.id, "failed": failed}


@dataclass(frozen=True, slots=True, kw_only=True)
class GoldenList:
    """The current set: its items and its versions, oldest first."""

    golden: Golden

    def as_dict(self) -> dict[str, Any]:
        """The object that `tunesmith golden list --json` prints; answers are cut after 200 characters."""
        items = [{"id": item.id, "source": item.source, "answer": item.answer[:200]} for item in self.golden.items]
        versions = [{"version": v.number, "added": v.added, "seal": v.seal} for v in self.golden.versions]
        return {"id": self.golden.id, "versions": versions, "items": items}


@dataclass(frozen=True, slots=True, kw_only=True)
class GoldenState:
    """`ok`: whether every byte is unchanged, or None if there is no golden set. `items`: number of items if intact."""

    ok: bool | None
    items: int
    faults: tuple[str, ...]
    folder: Path

    def as_dict(self) -> dict[str, Any]:
        """The object that `tunesmith golden verify --json` prints."""
        return {"ok": self.ok, "items": self.items, "faults": list(self.faults)}


def golden_add(*files: str | Path, project: str | Path = ".") -> GoldenAdded:
    """Freeze the examples of `files` as a new version. Rows that are already in the set are skipped; a document is one item.

    Raises:
        ArtifactError: the set is damaged, so nothing is added.
        DatasetError: no row was given.
        SourceError: a file that cannot be read.
    """
    rows: list[Example] = []
    failed: tuple[Failure, ...] = ()
    if files:
        found = extract(gather([str(file) for file in files]), reporter=SilentReporter())
        rows, failed = [*found.pairs, *map(golden_example, found.documents)], tuple(found.failures)
    kept, added = add_golden(Path(project), rows)
    return GoldenAdded(
        added=added,
        known=len(rows) - added,
        items=len(kept.items),
        version=len(kept.versions),
        id=kept.id,
        failed=failed,
        folder=Path(project) / FOLDER,
    )


def golden_list(*, project: str | Path = ".") -> GoldenList:
    """The golden set of a project; empty if there is none. ArtifactError for a damaged one."""
    return GoldenList(golden=read_golden(Path(project)))


def golden_verify(*, project: str | Path = ".") -> GoldenState:
    """Whether every byte of the golden set is unchanged. ArtifactError for a project that does not exist."""
    root = Path(project)
    if not root.is_dir():
        raise ArtifactError(
            "the project does not exist", value=str(root), expected="a folder", hint="tunesmith golden verify --project DIR"
        )
    faults = tuple(golden_damage(root))
    items = 0 if faults else len(read_golden(root).items)
    return GoldenState(ok=not faults if items or faults else None, items=items, faults=faults, folder=root / FOLDER)
