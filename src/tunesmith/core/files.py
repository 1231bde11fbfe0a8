"""Writing that survives a crash. Everything that Tunesmith keeps goes through `commit`.

Protocol: work in a temporary sibling → fsync every file → manifest with sizes and SHA-256 last → fsync it and the
directories → rename → fsync the parent. A reader takes a directory for real only if its manifest verifies, so a kill,
a torn write or a full disk leaves either the whole new artifact or none of it. The manifest carries a seal, the SHA-256
of its own content, so that damage to the manifest itself is seen as well.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import shutil
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson
import psutil

from tunesmith.core.disk import DISK, Disk
from tunesmith.core.errors import SourceError, StorageError, TunesmithError

__all__ = [
    "MANIFEST",
    "FileFact",
    "check_out",
    "checked_name",
    "collect_temporary",
    "commit",
    "damage",
    "file_facts",
    "make_folders",
    "new_temporary",
    "remove_tree",
    "replace_file",
    "seal_holds",
    "sha256_file",
    "storage_errors",
    "verify",
]

MANIFEST = "manifest.json"
_TEMPORARY = ".tmp-"
_SEAL = "seal"
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
    found = _examine(directory)
    return None if isinstance(found, str) else found


def damage(directory: Path) -> str:
    """What is wrong with a committed directory, in words; empty if every file matches its manifest."""
    found = _examine(directory)
    return found if isinstance(found, str) else ""


def _examine(directory: Path) -> dict[str, Any] | str:
    """The manifest if all is well, else what is not."""
    try:
        raw = (directory / MANIFEST).read_bytes()
        manifest: dict[str, Any] = orjson.loads(raw)
        seal = manifest.pop(_SEAL)
        if not seal_holds(raw):
            return f"{MANIFEST} does not match its seal"
        for fact in manifest["files"]:
            path = directory / checked_name(fact["path"])
            if path.stat().st_size != fact["size"] or sha256_file(path) != fact["sha256"]:
                return f"{fact['path']} is not as it was written"
    except OSError as error:
        return f"{Path(str(error.filename)).name if error.filename else directory.name} cannot be read ({error.strerror})"
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError, AttributeError):
        return f"{MANIFEST} cannot be understood"
    return {**manifest, _SEAL: seal}


def seal_holds(raw: bytes) -> bool:
    """Whether the bytes of a manifest are those that were written, by its own seal. ValueError if they are not JSON."""
    manifest = orjson.loads(raw)
    seal = manifest.pop(_SEAL)
    return hashlib.sha256(_dumped(manifest)).hexdigest() == seal and _dumped({**manifest, _SEAL: seal}) == raw


def _dumped(manifest: dict[str, Any]) -> bytes:
    return orjson.dumps(manifest, option=orjson.OPT_INDENT_2 | orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_APPEND_NEWLINE)


def checked_name(name: str) -> Path:
    """A relative path that stays below its directory. ValueError for anything that could leave it."""
    parts = name.split("/")
    if not name or "\\" in name or "\0" in name or name.startswith("/") or any(p in {"", ".", ".."} for p in parts):
        raise ValueError(f"not a plain relative path: {name!r}")
    return Path(*parts)


def make_folders(path: Path, *, disk: Disk = DISK) -> None:
    """Make a folder and those above it that are missing; each name is durable before anything is put inside."""
    if path.is_dir():
        return
    make_folders(path.parent, disk=disk)
    try:
        disk.make_folder(path)
    except FileExistsError:
        if not path.is_dir():
            raise
        return  # another process was faster
    disk.sync(path.parent)


def new_temporary(final: Path, *, disk: Disk = DISK) -> Path:
    """An empty temporary sibling of `final`, to be filled and committed."""
    try:
        make_folders(final.parent, disk=disk)
    except (FileNotFoundError, FileExistsError, NotADirectoryError) as error:
        raise StorageError(
            "cannot make the folder for artifacts",
            value=str(final.parent),
            expected="a place where folders can be made",
            hint="choose a writable folder with --project DIR",
        ) from error
    temporary = _sibling(final)
    disk.make_folder(temporary)
    return temporary


def _sibling(path: Path) -> Path:
    return path.parent / f"{_TEMPORARY}{path.name[:20]}-{os.getpid()}-{uuid.uuid4().hex[:8]}"


def commit(
    temporary: Path,
    final: Path,
    manifest: dict[str, Any],
    *,
    before_rename: Callable[[], None] = lambda: None,
    disk: Disk = DISK,
) -> dict[str, Any]:
    """Turn the filled directory `temporary` into `final`; returns the manifest written, with its `files` and `seal`.

    If `final` exists and verifies, it is kept and `temporary` is dropped (same id, same content); if it exists and does
    not verify, it is replaced. `before_rename` is called at the last moment when nothing is visible yet.
    """
    facts = file_facts(temporary)
    for fact in facts:
        disk.sync(temporary / fact["path"])
    whole = {**manifest, "files": facts}
    whole[_SEAL] = hashlib.sha256(_dumped(whole)).hexdigest()
    disk.write(temporary / MANIFEST, _dumped(whole))
    disk.sync(temporary / MANIFEST)
    for directory in sorted({temporary, *(p for p in temporary.rglob("*") if p.is_dir())}, reverse=True):
        disk.sync(directory)
    before_rename()
    if final.exists():
        if (kept := verify(final)) is not None:
            remove_tree(temporary, disk=disk)
            return kept
        remove_tree(final, disk=disk)
    disk.rename(temporary, final)
    disk.sync(final.parent)
    return whole


def check_out(out: Path, read: Sequence[Path], *, hint: str) -> None:
    """SourceError if `out`, a file to be written, is one of the files that are `read`, or a folder."""
    if out.is_dir():
        raise SourceError("--out is a folder", value=str(out), expected="a file to write to", hint=hint)
    if any(out.exists() and file.exists() and out.samefile(file) for file in read):
        raise SourceError("--out is the file that is read", value=str(out), expected="another file", hint=hint)


def replace_file(path: Path, data: bytes, *, disk: Disk = DISK) -> None:
    """Write a single small file so that a reader sees the old or the new content, never a part."""
    make_folders(path.parent, disk=disk)
    temporary = _sibling(path)
    try:
        disk.write(temporary, data)
        disk.sync(temporary)
        disk.rename(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    disk.sync(path.parent)


def remove_tree(path: Path, *, disk: Disk = DISK) -> None:
    """Remove a committed directory: renamed first, so that a kill half-way leaves no directory that looks damaged."""
    if not path.name.startswith(_TEMPORARY):
        going = _sibling(path)
        disk.rename(path, going)
        path = going
    for inner in sorted(path.rglob("*"), reverse=True):
        if inner.is_dir() and not inner.is_symlink():
            disk.remove_folder(inner)
        else:
            disk.remove(inner)
    disk.remove_folder(path)


def collect_temporary(directory: Path, *, alone: bool = False) -> int:
    """Remove what killed processes left half-written below `directory`; returns how many. Living processes keep theirs,
    unless the caller is `alone` here (it holds the lock): a process number may have been given out again.
    """
    count = 0
    for path in sorted(directory.glob(f"**/{_TEMPORARY}*")) if directory.is_dir() else []:
        fields = path.name.rsplit("-", 2)
        if not alone and len(fields) == 3 and fields[1].isdigit() and psutil.pid_exists(int(fields[1])):
            continue
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
        count += 1
    return count


_DISK_TROUBLES = {
    errno.ENOSPC: ("the disk is full", "free some space, then type the same command again: it resumes where it stopped"),
    errno.EDQUOT: ("the disk quota is used up", "free some space, then type the same command again"),
    errno.EROFS: ("the disk is read-only", "choose a place that can be written to"),
    errno.EACCES: ("no permission to write", "choose a place that you may write to, or change its permissions"),
    errno.EPERM: ("no permission to write", "choose a place that you may write to, or change its permissions"),
    errno.EISDIR: ("there is a folder of this name", "choose another name"),
    errno.ENOTDIR: ("a part of this path is a file", "choose a folder"),
    errno.EEXIST: ("a part of this path is a file", "choose a folder"),
    errno.ENAMETOOLONG: ("this name is too long", "choose a shorter one"),
    errno.EIO: ("the disk reports an input/output error", "check the disk, or choose another"),
}


def _disk_errno(error: Exception) -> int | None:
    """The error number, also of libraries that put it into words only (safetensors: `(os error 28)`)."""
    if isinstance(error, OSError):
        return error.errno
    told = re.search(r"\(os error (\d+)\)", str(error))
    return int(told.group(1)) if told else None


@contextmanager
def storage_errors(doing: str, where: Path, *, safe: str = "") -> Iterator[None]:
    """Turn a full, read-only or vanished disk into a StorageError that says what was being done, and what is `safe`."""
    try:
        yield
    except TunesmithError:
        raise
    except Exception as error:
        trouble = _DISK_TROUBLES.get(_disk_errno(error) or 0)
        if trouble is None:
            raise
        told = getattr(error, "filename", None)  # the user never named a temporary sibling
        name = where if told is None or _TEMPORARY in str(told) else told
        raise StorageError(
            f"{trouble[0]} while {doing}",
            value=str(name),
            expected=f"a place that takes the file{'; ' + safe if safe else ''}",
            hint=trouble[1],
        ) from error
