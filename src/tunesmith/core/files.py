"""Writing that survives a crash. Everything that Tunesmith keeps goes through `commit`.

Protocol: work in a temporary sibling → fsync every file → manifest with sizes and SHA-256 last → fsync it and the
directories → rename → fsync the parent. A reader takes a directory for real only if its manifest verifies, so a kill,
a torn write or a full disk leaves either the whole new artifact or none of it.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson

from tunesmith.core.errors import StorageError, TunesmithError

__all__ = [
    "MANIFEST",
    "FileFact",
    "checked_name",
    "collect_temporary",
    "commit",
    "file_facts",
    "new_temporary",
    "replace_file",
    "sha256_file",
    "storage_errors",
    "sync_path",
    "verify",
]

MANIFEST = "manifest.json"
_TEMPORARY = ".tmp-"
FileFact = dict[str, Any]  # {"path": str, "size": int, "sha256": str}


def sha256_file(path: Path) -> str:
    """SHA-256 (hex) of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def file_facts(directory: Path) -> list[FileFact]:
    """Path (relative, POSIX), size in bytes and SHA-256 of every file below `directory`, sorted; the manifest left out."""
    found = sorted(p for p in directory.rglob("*") if p.is_file() and p.name != MANIFEST)
    return [{"path": p.relative_to(directory).as_posix(), "size": p.stat().st_size, "sha256": sha256_file(p)} for p in found]


def verify(directory: Path) -> dict[str, Any] | None:
    """The manifest of a committed directory, or None if it is absent, unreadable or any file differs from it."""
    try:
        manifest: dict[str, Any] = orjson.loads((directory / MANIFEST).read_bytes())
        facts = manifest["files"]
        for fact in facts:
            path = directory / checked_name(fact["path"])
            if path.stat().st_size != fact["size"] or sha256_file(path) != fact["sha256"]:
                return None
    except (OSError, orjson.JSONDecodeError, KeyError, TypeError, ValueError):
        return None
    return manifest


def checked_name(name: str) -> Path:
    """A relative path that stays below its directory. ValueError for anything that could leave it."""
    parts = name.split("/")
    if not name or "\\" in name or "\0" in name or name.startswith("/") or any(p in {"", ".", ".."} for p in parts):
        raise ValueError(f"not a plain relative path: {name!r}")
    return Path(*parts)


def new_temporary(final: Path) -> Path:
    """An empty temporary sibling of `final`, to be filled and committed."""
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
    except (FileNotFoundError, FileExistsError, NotADirectoryError) as error:
        raise StorageError(
            "cannot make the folder for artifacts",
            value=str(final.parent),
            expected="a place where folders can be made",
            hint="choose a writable folder with --project DIR",
        ) from error
    temporary = final.parent / f"{_TEMPORARY}{final.name[:20]}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
    temporary.mkdir()
    return temporary


def sync_path(path: Path) -> None:
    """Make a file's content, or the names in a directory, survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write_durably(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def commit(
    temporary: Path,
    final: Path,
    manifest: dict[str, Any],
    *,
    before_rename: Callable[[], None] = lambda: None,
) -> dict[str, Any]:
    """Turn the filled directory `temporary` into `final`; returns the manifest written, with its `files`.

    If `final` exists and verifies, it is kept and `temporary` is dropped (same id, same content); if it exists and does
    not verify, it is replaced. `before_rename` is called at the last moment when nothing is visible yet.
    """
    facts = file_facts(temporary)
    for fact in facts:
        sync_path(temporary / fact["path"])
    whole = {**manifest, "files": facts}
    _write_durably(temporary / MANIFEST, orjson.dumps(whole, option=orjson.OPT_INDENT_2 | orjson.OPT_SERIALIZE_NUMPY) + b"\n")
    for directory in sorted({temporary, *(p for p in temporary.rglob("*") if p.is_dir())}, reverse=True):
        sync_path(directory)
    before_rename()
    if final.exists():
        if (kept := verify(final)) is not None:
            shutil.rmtree(temporary)
            return kept
        shutil.rmtree(final)
    temporary.rename(final)
    sync_path(final.parent)
    return whole


def replace_file(path: Path, data: bytes) -> None:
    """Write a single small file so that a reader sees the old or the new content, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.parent / f"{_TEMPORARY}{path.name}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
    try:
        _write_durably(temporary, data)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_path(path.parent)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def collect_temporary(directory: Path) -> int:
    """Remove what killed processes left half-written below `directory`; returns how many. Living processes keep theirs."""
    count = 0
    for path in sorted(directory.glob(f"**/{_TEMPORARY}*")) if directory.is_dir() else []:
        fields = path.name.rsplit("-", 2)
        if len(fields) == 3 and fields[1].isdigit() and _alive(int(fields[1])):
            continue
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
        count += 1
    return count


_DISK_TROUBLES = {
    errno.ENOSPC: ("the disk is full", "free some space, then type the same command again: it goes on where it stopped"),
    errno.EDQUOT: ("the disk quota is used up", "free some space, then type the same command again"),
    errno.EROFS: ("the disk is read-only", "choose a writable folder with --project DIR"),
    errno.EACCES: ("no permission to write", "choose a writable folder with --project DIR"),
    errno.EPERM: ("no permission to write", "choose a writable folder with --project DIR"),
    errno.EIO: ("the disk reports an input/output error", "check the disk, or choose another with --project DIR"),
}


def _disk_errno(error: Exception) -> int | None:
    """The error number, also of libraries that put it into words only (safetensors: `(os error 28)`)."""
    if isinstance(error, OSError):
        return error.errno
    told = re.search(r"\(os error (\d+)\)", str(error))
    return int(told.group(1)) if told else None


@contextmanager
def storage_errors(doing: str, where: Path) -> Iterator[None]:
    """Turn a full, read-only or vanished disk into a StorageError that says what was being done."""
    try:
        yield
    except TunesmithError:
        raise
    except Exception as error:
        trouble = _DISK_TROUBLES.get(_disk_errno(error) or 0)
        if trouble is None:
            raise
        name = getattr(error, "filename", None) or where
        raise StorageError(
            f"{trouble[0]} while {doing}", value=str(name), expected="a disk that takes the file", hint=trouble[1]
        ) from error
