"""The index of a store's runs: what each manifest says, so that a table of thousands need not read thousands of files.

An entry is good while its manifest has the same time (ns) and size. The index is only a shortcut: one that is missing, damaged,
or of another version is made again, and one that cannot be written is done without.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import orjson

from tunesmith import __version__
from tunesmith.core.errors import TunesmithError
from tunesmith.core.files import MANIFEST, replace_file, storage_errors
from tunesmith.ops.runs.facts import KINDS, Facts, facts_of

__all__ = ["INDEX", "read_store"]

INDEX = "runs-index.json"
_FORMAT = 1
_Entry = tuple[int, int, Facts]  # time in ns and size of the manifest, and what it says


def read_store(root: Path) -> tuple[dict[str, dict[str, Facts]], str]:
    """Facts by kind of folder and name of artifact, of the store at `root`; and, if the index was not written, why."""
    known = _load(root / INDEX)
    entries: dict[str, _Entry] = {}
    changed = False
    for name, stamp in _manifests(root):
        entry = known.get(name)
        if entry is None or (entry[0], entry[1]) != stamp:
            entry = (*stamp, facts_of(root / name))
            changed = True
        entries[name] = entry
    found: dict[str, dict[str, Facts]] = {kind: {} for kind in KINDS}
    for name, entry in entries.items():
        kind, _, own = name.partition("/")
        found[kind][own] = entry[2]
    note = _save(root / INDEX, entries) if changed or len(entries) != len(known) else ""
    return found, note


def _manifests(root: Path) -> Iterator[tuple[str, tuple[int, int]]]:
    """Name (`runs/0123…`) and stamp of every artifact's manifest; zeros for a folder without one."""
    for kind in KINDS:
        try:
            folders = sorted(entry.name for entry in os.scandir(root / kind) if entry.is_dir() and entry.name[0] != ".")
        except (FileNotFoundError, NotADirectoryError):
            continue
        for folder in folders:
            try:
                stat = os.stat(f"{root}/{kind}/{folder}/{MANIFEST}")
                stamp = (stat.st_mtime_ns, stat.st_size)
            except OSError:
                stamp = (0, 0)
            yield f"{kind}/{folder}", stamp


def _load(file: Path) -> dict[str, _Entry]:
    """The entries of an index that is whole and of this version; {} otherwise."""
    try:
        head, _, body = file.read_bytes().partition(b"\n")
        if orjson.loads(head) != _head(body):
            return {}
        return {name: (time, size, facts) for name, time, size, facts in orjson.loads(body)}
    except (OSError, ValueError, TypeError):
        return {}


def _head(body: bytes) -> dict[str, object]:
    return {"format": _FORMAT, "tunesmith": __version__, "sha256": hashlib.sha256(body).hexdigest()}


def _save(file: Path, entries: dict[str, _Entry]) -> str:
    body = orjson.dumps([[name, *entry] for name, entry in entries.items()])
    try:
        with storage_errors("writing the index of runs", file):
            replace_file(file, orjson.dumps(_head(body)) + b"\n" + body)
    except TunesmithError as error:
        return f"the index could not be written, so the next table is slow: {error.problems[0].what}"
    return ""
