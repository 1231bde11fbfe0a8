"""Trees of files and archives to raw items: exports as wholes, every other file by itself, under one limit for all."""

from __future__ import annotations

import hashlib
from contextlib import nullcontext

from tunesmith.core.records import Failure
from tunesmith.data.ingest.container import ASSETS
from tunesmith.data.ingest.exports import Passed, ReadFile, find_exports, items_of
from tunesmith.data.ingest.item import RawItem
from tunesmith.data.ingest.kinds import guess_kind, is_asset, unpacked
from tunesmith.data.ingest.limits import TooLarge
from tunesmith.data.ingest.package import Package, open_package
from tunesmith.data.ingest.policy import Policy
from tunesmith.data.ingest.tar_package import TarPackage, is_tar
from tunesmith.data.ingest.tree import Tree
from tunesmith.data.text.decode import UnreadableError

__all__ = ["items_in", "unpack"]

_PATTERNS = "files left out by the patterns of the recipe"


def items_in(
    tree: Tree, *, source: str, policy: Policy, read_file: ReadFile, passed: Passed, prefix: str = ""
) -> list[RawItem]:
    """Every item of a tree. Files that the patterns leave out, and assets, are counted; what cannot be read is a failure.

    `read_file` makes the item of one file; `prefix` stands before the names.
    """
    kept = [name for name in tree.names if policy.takes_file(prefix + name)]
    if len(kept) < len(tree.names):
        passed.notes[_PATTERNS] += len(tree.names) - len(kept)
        tree = tree.only(frozenset(kept))
    items: list[RawItem] = []
    claimed: set[str] = set()
    for export in find_exports(tree):
        items += items_of(export, tree, prefix=prefix, source=source, policy=policy, read_file=read_file, passed=passed)
        claimed |= export.names
    for name in tree.names:
        if name in claimed:
            continue
        if is_asset(name):
            passed.notes[ASSETS] += 1
            continue
        try:
            items.append(read_file(name))
        except UnreadableError as error:
            passed.failures.append(Failure(source=prefix + name, reason=str(error)))
            if isinstance(error, TooLarge):
                break
    return items


def unpack(item: RawItem, *, policy: Policy, passed: Passed, inside: bool = False) -> list[RawItem]:
    """What lies in a zip or tar archive, in the order of the names, as if it lay in a folder. Hidden files are passed over.

    An archive in it is opened too, but none in that one (`inside`). An archive that cannot be opened, or holds nothing to
    read, is a failure. Reading stops, with a failure, where the files unpack to more than 100 MB together.
    """
    try:
        data = unpacked(item.data if item.data is not None else _on_disk(item))
        with nullcontext(TarPackage(data)) if is_tar(data) else open_package(data) as package:
            return _members(package, item, policy=policy, passed=passed, inside=inside)
    except UnreadableError as error:
        passed.failures.append(Failure(source=item.name, reason=str(error)))
        return []


def _members(package: Package | TarPackage, item: RawItem, *, policy: Policy, passed: Passed, inside: bool) -> list[RawItem]:
    shown = [name for name in package.names if not _is_hidden(name)]
    tree = Tree(
        shown,
        lambda name, size: package.read(name) if size is None else package.head(name, size),
        hidden=frozenset(name for name in package.names if _is_hidden(name)),
    )
    before = len(passed.failures), passed.notes.total()

    def read_file(name: str) -> RawItem:
        data = package.read(name)
        full = f"{item.name}/{name}"
        kind = guess_kind(full, unpacked(data), alone=False)
        if kind == "archive" and inside:
            raise UnreadableError("an archive inside an archive inside an archive is not opened")
        return RawItem(name=full, source=item.source, kind=kind, sha256=hashlib.sha256(data).hexdigest(), data=data)

    found = items_in(tree, source=item.source, policy=policy, read_file=read_file, passed=passed, prefix=f"{item.name}/")
    opened: list[RawItem] = []
    for member in found:
        opened += unpack(member, policy=policy, passed=passed, inside=True) if member.kind == "archive" else [member]
    if not opened and before == (len(passed.failures), passed.notes.total()):
        raise UnreadableError("it contains no text")
    return opened


def _is_hidden(name: str) -> bool:
    return any(part.startswith((".", "__MACOSX")) for part in name.split("/"))


def _on_disk(item: RawItem) -> bytes:
    if item.path is None:
        raise AssertionError("an item has a path or data")
    try:
        return item.path.read_bytes()
    except OSError as error:
        raise UnreadableError(f"it cannot be opened ({error.strerror or error})") from error
