"""Find the exports in a tree of files before any file is read by itself, and turn what they hold into raw items."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import NamedTuple

from tunesmith.core.records import Document, Failure, digest, to_json
from tunesmith.data.ingest.container import Broken, Container, Entry, File, LeftOut, Ready, Text
from tunesmith.data.ingest.containers import all_containers
from tunesmith.data.ingest.item import RawItem, Reading
from tunesmith.data.ingest.policy import Policy
from tunesmith.data.ingest.tree import HEAD_BYTES, Tree
from tunesmith.data.text.decode import UnreadableError
from tunesmith.data.text.words import num_words

__all__ = ["Export", "Passed", "ReadFile", "find_exports", "is_export_file", "items_of"]

_MAX_LISTED = 20
_TAG = re.compile(r"<[^<>]*>")
ReadFile = Callable[[str], RawItem]


class Export(NamedTuple):
    """A container, where in the tree it begins (empty: at the root), and the names of the tree that are part of it."""

    container: Container
    root: str
    names: frozenset[str]


@dataclass(slots=True)
class Passed:
    """What is counted and named while exports are read."""

    failures: list[Failure]
    notes: Counter[str]


def find_exports(tree: Tree) -> list[Export]:
    """Every export in the tree, none inside of another: folders from the root down, then single files."""
    found: list[Export] = []
    left = set(tree.names)
    of_folders = [(one, one.folder) for one in all_containers() if one.folder is not None]
    for root in tree.folders:
        if not left:
            break
        below = tree.below(root)
        start = f"{root}/" if root else ""
        if not any(start + name in left for name in below.names):
            continue
        for container, folder in of_folders:
            if (claimed := _claimed(folder, below)) and (names := frozenset(start + name for name in claimed) & left):
                found.append(Export(container, root, names))
                left -= names
    for name in sorted(left):
        if (alone := _of_file(tree, name)) is not None:
            found.append(Export(alone, str(PurePosixPath(name).parent).removeprefix("."), frozenset([name])))
    return found


def _claimed(folder: Callable[[Tree], Collection[str]], below: Tree) -> Collection[str]:
    try:
        return folder(below)
    except UnreadableError:
        return ()  # the file by which it would be known is named when it is read by itself


def is_export_file(name: str, head: bytes) -> Container | None:
    """The container of which one file alone is such an export, by its name and its first 64 KB."""
    suffix = PurePosixPath(name.lower()).suffix
    return next(
        (one for one in all_containers() if one.file and suffix in one.suffixes and one.file(name, head[:HEAD_BYTES])), None
    )


def items_of(
    export: Export, tree: Tree, *, prefix: str, source: str, policy: Policy, read_file: ReadFile, passed: Passed
) -> list[RawItem]:
    """What an export holds as raw items; `prefix` stands before its names, `read_file` reads a file of the tree by itself.

    Broken parts are failures, twenty of them named; what is left out on purpose is counted. An export that is recognised and
    not read is a failure that says what to do.
    """
    container, root, names = export
    start = f"{root}/" if root else ""
    whole = prefix + (root or (next(iter(names)) if len(names) == 1 else "")).rstrip("/")
    if container.entries is None:
        reason = f"this is {container.title}, not read yet; {container.instead}"
        passed.failures.append(Failure(source=whole or source, reason=reason))
        return []
    inside = tree.only(names).below(root)
    file = next(iter(names)) if len(names) == 1 else ""
    label = prefix + (f"{file}/" if file else start)

    def placed(name: str) -> str:
        return prefix + file if file and start + name == file else label + name

    items: list[RawItem] = []
    broken: list[Failure] = []
    try:
        for entry in container.entries(inside, policy):
            try:
                made = _item(entry, placed=placed, start=start, source=source, read_file=read_file, passed=passed)
                items += [made] if made else []
            except UnreadableError as error:
                broken.append(Failure(source=placed(getattr(entry, "name", "")), reason=str(error)))
    except UnreadableError as error:
        broken.append(Failure(source=whole or source, reason=f"{container.title}: {error}"))
    if len(broken) > _MAX_LISTED:
        more = f"and {len(broken) - _MAX_LISTED} more parts that cannot be read"
        broken = [*broken[:_MAX_LISTED], Failure(source=whole or source, reason=more)]
    passed.failures += broken
    return items


def _item(
    entry: Entry, *, placed: Callable[[str], str], start: str, source: str, read_file: ReadFile, passed: Passed
) -> RawItem | None:
    match entry:
        case LeftOut():
            if entry.count:
                passed.notes[entry.reason] += entry.count
            return None
        case Broken():
            raise UnreadableError(entry.reason)
        case Ready():
            reading = _placed(entry.reading, placed)
            sha256 = hashlib.sha256(to_json(reading)).hexdigest()
            return RawItem(name=placed(entry.name), source=source, kind="ready", sha256=sha256, reading=reading)
        case File():
            item = read_file(start + entry.name)
            if not entry.facts and entry.kind in {None, item.kind}:
                return item
            return replace(item, about={**item.about, **entry.facts}, kind=entry.kind or item.kind)
        case Text():
            return _text(entry, name=placed(entry.name), source=source, passed=passed)


def _text(entry: Text, *, name: str, source: str, passed: Passed) -> RawItem | None:
    data = entry.content.encode(errors="replace") if isinstance(entry.content, str) else entry.content
    if isinstance(entry.content, str) and not num_words(_TAG.sub(" ", entry.content)):
        passed.notes["texts without words left out"] += 1
        return None
    return RawItem(
        name=name,
        source=source,
        kind=entry.kind,
        sha256=hashlib.sha256(data).hexdigest(),
        data=data,
        charset="text/plain; charset=utf-8" if isinstance(entry.content, str) else None,
        about=entry.facts,
    )


def _placed(reading: Reading, placed: Callable[[str], str]) -> Reading:
    """The reading with names as they are seen from the source, and not from within the export."""

    def document(one: Document) -> Document:
        name = placed(one.source)
        return replace(one, source=name, id=digest(name, one.text)[:16])

    return replace(
        reading,
        documents=tuple(map(document, reading.documents)),
        pairs=tuple(replace(pair, source=placed(pair.source)) for pair in reading.pairs),
        failures=tuple(replace(failure, source=placed(failure.source)) for failure in reading.failures),
    )


def _of_file(tree: Tree, name: str) -> Container | None:
    suffix = PurePosixPath(name.lower()).suffix
    if not any(one.file and suffix in one.suffixes for one in all_containers()):
        return None
    try:
        return is_export_file(name, tree.head(name))
    except UnreadableError:
        return None  # it is named when it is read by itself
