"""Writing what deduplication leaves: the kept lines byte for byte, and what went and why. All of it, or nothing."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tunesmith.core.errors import StorageError
from tunesmith.core.files import MANIFEST, collect_temporary, commit, new_temporary, sha256_file, storage_errors, verify
from tunesmith.core.records import canonical_json, digest, to_json
from tunesmith.data.similar.files import Deduplicated

__all__ = ["write_kept", "write_new_folder"]


def write_kept(result: Deduplicated, folder: Path, *, settings: Mapping[str, Any]) -> None:
    """Write each file's kept lines under its own name, `removed.jsonl` (id, kept id, file) and a manifest into a new folder.

    StorageError if the folder is there already and holds anything else.
    """
    rows = result.rows
    inputs = [{"name": Path(path).name, "sha256": sha256_file(Path(path))} for path in rows.corpus.paths]

    def fill(place: Path) -> dict[str, Any]:
        gone = {row for row, _ in result.removed}
        assert rows.corpus.places_D2 is not None
        for number, path in enumerate(rows.corpus.paths):
            with Path(path).open("rb") as source, (place / _own_name(rows.corpus.paths, number)).open("wb") as target:
                for row in (rows.files == number).nonzero()[0].tolist():
                    if row not in gone:
                        offset, length = rows.corpus.places_D2[row].tolist()
                        source.seek(offset)
                        target.write(source.read(length) + b"\n")
        with (place / "removed.jsonl").open("wb") as target:
            for row, kept in result.removed:
                names = {"file": rows.names[rows.files[row]], "kept_file": rows.names[rows.files[kept]]}
                target.write(to_json({"id": rows.ids[row], "kept": rows.ids[kept], **names}) + b"\n")
        return {"rows": len(rows.ids), "removed": len(result.removed)}

    write_new_folder(folder, kind="deduplicated", settings={**settings, "inputs": inputs}, fill=fill)


def write_new_folder(
    folder: Path, *, kind: str, settings: Mapping[str, Any], fill: Callable[[Path], Mapping[str, Any]]
) -> bool:
    """Fill a new folder and commit it with a manifest; False if it was there already with this id. `fill` returns numbers.

    The id is the hash of kind and settings, so that the same work twice is done once. A process that is killed leaves nothing
    that looks finished; the next one sweeps its remains.
    """
    folder = folder.absolute()
    id = digest(canonical_json({"kind": kind, "settings": settings}))
    with storage_errors(f"writing {folder.name}", folder):
        collect_temporary(folder.parent)
        known = verify(folder)
        if known is not None and known.get("id") == id:
            return False
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise StorageError(
                "this folder holds something else already" if folder.is_dir() else "this is a file",
                value=str(folder),
                expected="a folder that is not there yet, or one that the same command wrote",
                hint="choose another --out",
            )
        temporary = new_temporary(folder)
        try:
            numbers = fill(temporary)
            commit(temporary, folder, {"kind": kind, "id": id, "settings": dict(settings), "numbers": dict(numbers)})
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    return True


def _own_name(paths: Any, number: int) -> str:
    """The file's own name; with its number where two files share a name."""
    names = [Path(path).name for path in paths]
    if names[number] == MANIFEST or names.count(names[number]) > 1:
        return f"{number + 1}-{names[number]}"
    return names[number]
