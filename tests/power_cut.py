"""Every disk that a power cut can leave behind: the operations of a protocol are recorded, and all outcomes are built.

The model is pessimistic. What was not synced may be kept or lost one by one and in any order; the bytes of a file may also be
torn. Names live in their folder and are durable once the folder was synced; bytes are once the file was. A rename is one step.
"""

from __future__ import annotations

import errno
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from tunesmith.core.disk import Disk

__all__ = ["FullDisk", "Op", "Recorder", "Tree", "build", "outcomes", "read_tree"]

Tree = dict[str, "bytes | Tree"]
Kind = Literal["make_folder", "write", "append", "truncate", "sync", "rename", "remove", "remove_folder"]


@dataclass(frozen=True, slots=True)
class Op:
    """One operation on a path below the root; `data` was written, or `new` is the name given, or `size` is what was kept."""

    kind: Kind
    path: str
    data: bytes = b""
    new: str = ""
    size: int = 0


class Recorder(Disk):
    """The real disk, with a log of what was asked of it."""

    def __init__(self, root: Path) -> None:
        self.root, self.log = root, list[Op]()

    def _name(self, path: Path) -> str:
        return path.relative_to(self.root).as_posix()

    def make_folder(self, path: Path) -> None:
        super().make_folder(path)
        self.log.append(Op("make_folder", self._name(path)))

    def write(self, path: Path, data: bytes) -> None:
        super().write(path, data)
        self.log.append(Op("write", self._name(path), data))

    def append(self, path: Path, data: bytes) -> None:
        super().append(path, data)
        self.log.append(Op("append", self._name(path), data))

    def truncate(self, path: Path, size: int) -> None:
        super().truncate(path, size)
        self.log.append(Op("truncate", self._name(path), size=size))

    def sync(self, path: Path) -> None:
        super().sync(path)
        self.log.append(Op("sync", self._name(path)))

    def rename(self, old: Path, new: Path) -> None:
        super().rename(old, new)
        self.log.append(Op("rename", self._name(old), new=self._name(new)))

    def remove(self, path: Path) -> None:
        super().remove(path)
        self.log.append(Op("remove", self._name(path)))

    def remove_folder(self, path: Path) -> None:
        super().remove_folder(path)
        self.log.append(Op("remove_folder", self._name(path)))


class FullDisk(Disk):
    """The real disk until operation number `at`, which fails for want of space; a write leaves half of its bytes behind."""

    def __init__(self, at: int) -> None:
        self.count, self.at = 0, at

    def _tick(self) -> bool:
        self.count += 1
        return self.count == self.at

    def _full(self, path: Path) -> None:
        if self._tick():
            raise OSError(errno.ENOSPC, "No space left on device", str(path))

    def make_folder(self, path: Path) -> None:
        self._full(path)
        super().make_folder(path)

    def write(self, path: Path, data: bytes) -> None:
        if self._tick():
            super().write(path, data[: len(data) // 2])
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        super().write(path, data)

    def append(self, path: Path, data: bytes) -> None:
        if self._tick():
            super().append(path, data[: len(data) // 2])
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        super().append(path, data)

    def sync(self, path: Path) -> None:
        self._full(path)
        super().sync(path)

    def rename(self, old: Path, new: Path) -> None:
        self._full(new)
        super().rename(old, new)


# --- what a cut can leave -----------------------------------------------------------------------------------------------


@dataclass(eq=False, slots=True)
class _Node:
    """A file (with bytes) or a folder (with names), whatever it is called."""

    data: bytes | None = None
    names: dict[str, _Node] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Change:
    """One change of one node: `apply(0)` does all of it, 1 nothing, and what is beyond (bytes alone) a part."""

    node: _Node
    kind: Literal["names", "bytes"]
    apply: Callable[[int], None]
    outcomes: int


def read_tree(root: Path) -> Tree:
    """What lies in a folder, as names and bytes."""
    return {p.name: read_tree(p) if p.is_dir() else p.read_bytes() for p in sorted(root.iterdir())}


def build(tree: Tree, root: Path) -> Path:
    """Put a tree on the real disk."""
    root.mkdir()
    for name, what in tree.items():
        if isinstance(what, bytes):
            (root / name).write_bytes(what)
        else:
            build(what, root / name)
    return root


def outcomes(before: Tree, log: Sequence[Op]) -> Iterator[tuple[int, Tree]]:
    """All different trees that a cut after any number of operations can leave, with that number; the latest cut comes first."""
    seen: set[tuple[bool, object]] = set()
    for cut in range(len(log), -1, -1):
        root, changes, nodes = _replay(before, log[:cut])
        durable = [(node, node.data, dict(node.names)) for node in nodes]
        free = [1 if kept else change.outcomes for change, kept in changes]
        for choice in itertools.product(*(range(n) for n in reversed(free))):  # the earliest operation varies fastest
            for node, data, names in durable:
                node.data, node.names = data, dict(names)
            for (change, _), outcome in zip(changes, reversed(choice), strict=True):
                change.apply(outcome)
            tree = _plain(root)
            key = (cut == len(log), _key(tree))
            if key not in seen:
                seen.add(key)
                yield cut, tree


def _key(tree: Tree) -> object:
    return tuple((name, what if isinstance(what, bytes) else _key(what)) for name, what in tree.items())


def _plain(node: _Node) -> Tree:
    return {name: n.data if n.data is not None else _plain(n) for name, n in sorted(node.names.items())}


def _planted(tree: Tree) -> _Node:
    return _Node(names={n: _Node(data=w) if isinstance(w, bytes) else _planted(w) for n, w in tree.items()})


def _replay(before: Tree, log: Sequence[Op]) -> tuple[_Node, list[tuple[_Change, bool]], list[_Node]]:
    """The disk as it was before, the changes made since with whether each is durable by now, and all nodes there are.

    Names are looked up in a second tree, which shows what the living process saw; both share their nodes' identity.
    """
    disk, seen = _planted(before), _planted(before)
    twin: dict[int, _Node] = {}
    _pair(seen, disk, twin)
    changes: list[tuple[_Change, bool]] = []
    for op in log:
        folder, name = _find(seen, op.path)
        if op.kind == "sync":
            node = twin[id(folder.names[name] if name else folder)]
            changes = [(c, durable or c.node is node) for c, durable in changes]
            continue
        changes += [(c, False) for c in _changes(op, folder, name, seen, twin)]
    return disk, changes, list(twin.values())


def _pair(seen: _Node, disk: _Node, twin: dict[int, _Node]) -> None:
    twin[id(seen)] = disk
    for name, node in seen.names.items():
        _pair(node, disk.names[name], twin)


def _find(root: _Node, path: str) -> tuple[_Node, str]:
    """The folder that holds a path, and its last name (empty for the root itself)."""
    *above, last = [part for part in path.split("/") if part != "."] or [""]
    for part in above:
        root = root.names[part]
    return root, last


def _changes(op: Op, folder: _Node, name: str, seen: _Node, twin: dict[int, _Node]) -> Iterator[_Change]:
    """The changes of one operation, made in `seen` at once and to be made or not in its twin."""
    on_disk = twin[id(folder)]
    if op.kind in {"make_folder", "write"} and name not in folder.names:
        made = folder.names[name] = _Node(data=b"" if op.kind == "write" else None)
        real = twin[id(made)] = _Node(data=made.data)
        yield _Change(on_disk, "names", lambda out: _set(on_disk, name, real) if out == 0 else None, 2)
    if op.kind in {"write", "append", "truncate"}:
        real = twin[id(folder.names[name])]
        yield _Change(real, "bytes", lambda out: _put(real, op, out), 2 if op.kind == "truncate" else 4)
    if op.kind in {"remove", "remove_folder"}:
        del folder.names[name]
        yield _Change(on_disk, "names", lambda out: _drop(on_disk, name) if out == 0 else None, 2)
    if op.kind == "rename":
        target, new = _find(seen, op.new)
        assert target is folder, "the protocol renames within one folder"
        moved = folder.names[new] = folder.names.pop(name)
        real = twin[id(moved)]
        yield _Change(on_disk, "names", lambda out: _rename(on_disk, name, new, real) if out == 0 else None, 2)


def _set(folder: _Node, name: str, node: _Node) -> None:
    folder.names[name] = node


def _drop(folder: _Node, name: str) -> None:
    folder.names.pop(name, None)


def _rename(folder: _Node, old: str, new: str, node: _Node) -> None:
    if folder.names.get(old) is node:
        del folder.names[old]
    folder.names[new] = node


def _put(file: _Node, op: Op, outcome: int) -> None:
    data = file.data or b""
    if op.kind == "truncate":
        file.data = data[: op.size] if outcome == 0 else data
    elif op.kind == "append":
        file.data = data + _left(op.data, outcome)
    else:
        file.data = _left(op.data, outcome)


def _left(data: bytes, outcome: int) -> bytes:
    """All of what was written, nothing, its first half, or its length in zeros (blocks given out but never filled)."""
    return (data, b"", data[: len(data) // 2], bytes(len(data)))[outcome]
