"""Find what the sources hold: folders, files and web addresses become raw items, in a fixed order, with names and hashes."""

from __future__ import annotations

import difflib
import hashlib
import os
import re
import shlex
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from tunesmith.core.errors import SourceError
from tunesmith.core.files import sha256_file
from tunesmith.core.records import Failure
from tunesmith.core.reporter import Reporter, SilentReporter
from tunesmith.data.ingest.addresses import gather_address
from tunesmith.data.ingest.chat_json import is_chat_json
from tunesmith.data.ingest.exports import Passed, find_exports
from tunesmith.data.ingest.hub import fetch_from_hub, is_hub
from tunesmith.data.ingest.item import Gathered, Kind, RawItem
from tunesmith.data.ingest.kinds import guess_kind, is_asset, unpacked
from tunesmith.data.ingest.lines import is_lines
from tunesmith.data.ingest.parquet import is_parquet, needs_pyarrow
from tunesmith.data.ingest.policy import Policy
from tunesmith.data.ingest.readers.mail import is_mail
from tunesmith.data.ingest.tree import Tree
from tunesmith.data.ingest.unpack import items_in, unpack
from tunesmith.data.ingest.web import Web
from tunesmith.data.text.decode import UnreadableError

__all__ = ["gather", "refuse_missing"]

_MAX_FILE_BYTES = 256 * 1024 * 1024
_LARGE_BYTES = 16 * 1024 * 1024  # JSON lines beyond this are read piece by piece
_HEAD_BYTES = 200_000
_KINDS = (
    "Markdown, text, HTML, feeds, PDF, Word, EPUB, Org, LaTeX, mail, chats, exports of applications, CSV, Parquet, JSON "
    "or JSON lines"
)
_EXPECTED = "a folder, a file, or an http(s) address"
_HIDDEN = "hidden files skipped"
_LINKS = "links to folders, to missing files or to outside skipped"
_LONG_NAME = 200
_ADDRESS = re.compile(
    r"(?!.*\.(md|mdx|txt|html?|jsonl?|csv|pdf|docx|epub|zip|xml|mbox|eml|enex|ipynb|rtf|odt)$)"
    r"[\w-]+(\.[\w-]+)*\.[a-z]{2,}(/\S*)?",
    re.IGNORECASE,
)


def gather(
    sources: Sequence[str], *, policy: Policy | None = None, web: Web | None = None, reporter: Reporter | None = None
) -> Gathered:
    """Every item of every source, sorted within it, none twice. A source is a folder, a file, an http(s) address or a data
    set of a hub (`hf:OWNER/NAME`).

    Hidden files, links that leave a folder and assets are passed over and counted (hidden folders are not looked into at all);
    closed folders and files that should hold writing but cannot
    be read are failures. SourceError for a source that is missing, empty, or neither feed nor page. `web` is how addresses
    are asked for (without one: politely, public ones only, and nothing is kept). `policy` is kept for `extract`, and its
    patterns choose among the files of folders.
    """
    if not any(source.strip() for source in sources):
        raise SourceError("no source given", value="", expected=_EXPECTED, hint="name one, such as ./posts")
    web, policy = web or Web(), policy or Policy()
    items: dict[tuple[str, str], RawItem] = {}
    failures: list[Failure] = []
    notes: Counter[str] = Counter()
    for source in filter(str.strip, sources):
        if is_hub(source):
            found = list(_from_hub(source))
        elif source.lower().startswith(("http://", "https://")):
            addressed = gather_address(source, web=web, reporter=reporter or SilentReporter())
            found = addressed.items
            failures += addressed.failures
            notes.update(addressed.notes)
        else:
            found = _from_disk(source, policy, failures, notes)
        for item in _unpacked(found, policy, failures, notes):
            if items.setdefault((item.name, item.sha256), item) is not item:
                notes["files named twice"] += 1
    return Gathered(
        items=tuple(items.values()), failures=tuple(failures), notes=dict(notes), policy=policy, traffic=dict(web.counts)
    )


def refuse_missing(sources: Sequence[str]) -> None:
    """SourceError for a folder or file that is not there. Nothing is read, and no address is asked."""
    for source in filter(str.strip, sources):
        if is_hub(source) or source.lower().startswith(("http://", "https://")) or not _is_unicode(source):
            continue
        path = Path(source).expanduser()
        with suppress(OSError):  # reading it reports this error better
            if not path.exists():
                raise _missing(source, path)


def _unpacked(found: Sequence[RawItem], policy: Policy, failures: list[Failure], notes: Counter[str]) -> Iterator[RawItem]:
    """The items, with what lies in an archive in its place."""
    for item in found:
        if item.kind == "archive":
            yield from unpack(item, policy=policy, passed=Passed(failures, notes))
        else:
            yield item


def _from_disk(source: str, policy: Policy, failures: list[Failure], notes: Counter[str]) -> list[RawItem]:
    path = Path(source).expanduser()
    if not _is_unicode(source):
        shown = source.encode(errors="backslashreplace").decode()
        raise SourceError("this name is not valid UTF-8", value=shown, expected="a name that is", hint="rename it")
    try:
        is_file, is_dir = path.is_file(), path.is_dir()
        if is_dir:
            os.listdir(path)
    except OSError as error:
        raise SourceError(
            f"this source cannot be opened ({error.strerror or error})",
            value=source if len(source) <= _LONG_NAME else source[:_LONG_NAME] + "…",
            expected=_EXPECTED,
            hint=f"ls -ld {shlex.quote(str(path.parent))} shows its permissions"
            if isinstance(error, PermissionError)
            else "name a folder or file that is there",
        ) from error
    if is_file:
        try:
            return _file(path, source, policy, failures, notes)
        except UnreadableError as error:
            raise SourceError(
                f"cannot use this file: {error}",
                value=source,
                expected=_KINDS,
                hint="name a file or folder of writing",
            ) from error
    if is_dir:
        return _folder(path, source, policy, failures, notes)
    raise _missing(source, path)


def _file(path: Path, source: str, policy: Policy, failures: list[Failure], notes: Counter[str]) -> list[RawItem]:
    """One file named by itself; an export that is one file is read as such."""
    tree = Tree([path.name], lambda _, size: _content(path, size))
    if not find_exports(tree):
        return [_item(path, path.name, source, alone=True)]
    passed = Passed(failures, notes)
    return items_in(
        tree, source=source, policy=policy, read_file=lambda name: _item(path, name, source, alone=True), passed=passed
    )


def _folder(root: Path, source: str, policy: Policy, failures: list[Failure], notes: Counter[str]) -> list[RawItem]:
    passed = Passed([], Counter())
    paths: dict[str, Path] = {}
    hidden: set[str] = set()
    for path, name in _files(root, passed.failures, passed.notes, hidden):
        if _is_unicode(name):
            paths[name] = path
        elif not is_asset(name):
            shown = name.encode(errors="backslashreplace").decode()
            passed.failures.append(Failure(source=shown, reason="its name is not valid UTF-8; rename it"))
    tree = Tree(paths, lambda name, size: _content(paths[name], size), hidden=hidden)
    items = items_in(
        tree, source=source, policy=policy, read_file=lambda n: _item(paths[n], n, source, alone=False), passed=passed
    )
    if not items:
        raise _nothing_in(source, passed.failures, passed.notes)
    notes.update({what: count for what, count in passed.notes.items() if count})
    failures += passed.failures
    return sorted(items, key=lambda item: item.name)


def _content(path: Path, size: int | None) -> bytes:
    try:
        if size is not None:
            with path.open("rb") as file:
                return file.read(size)
        if path.stat().st_size > _MAX_FILE_BYTES:
            raise UnreadableError("it is larger than 256 MB")
        return path.read_bytes()
    except OSError as error:
        raise UnreadableError(f"it cannot be opened ({error.strerror or error})") from error


def _files(root: Path, bad: list[Failure], passed: Counter[str], hidden: set[str]) -> Iterator[tuple[Path, str]]:
    """(path, name below `root`) of every file; what is hidden (also named in `hidden`) or a link elsewhere is counted,
    a closed folder is `bad`."""
    inside = root.resolve()

    def closed(error: OSError) -> None:
        name = os.path.relpath(error.filename or root, root)
        bad.append(Failure(source=name, reason=f"this folder cannot be opened ({error.strerror or error})"))

    for folder, folders, names in os.walk(root, followlinks=False, onerror=closed):
        folders_before = tuple(folders)
        shown = [name for name in folders if not name.startswith(".") and name != "node_modules"]
        folders[:] = sorted(name for name in shown if not Path(folder, name).is_symlink())
        entries = sorted(name for name in names if not name.startswith("."))
        passed[_LINKS] += len(shown) - len(folders)
        passed[_HIDDEN] += len(names) - len(entries)
        hidden |= {
            Path(folder, name).relative_to(root).as_posix() for name in (*folders_before, *names) if name.startswith(".")
        }
        for path in (Path(folder, entry) for entry in entries):
            if path.is_symlink() and not (path.is_file() and path.resolve().is_relative_to(inside)):
                passed[_LINKS] += 1
            elif path.is_file():
                yield path, path.relative_to(root).as_posix()


def _is_unicode(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _item(path: Path, name: str, source: str, *, alone: bool) -> RawItem:
    try:
        size = path.stat().st_size
        if size > _LARGE_BYTES and (kind := _kind_in_pieces(path)):
            return RawItem(name=name, source=source, kind=kind, sha256=sha256_file(path), path=path)
        if size > _MAX_FILE_BYTES and is_mail(_head(path)):
            return RawItem(name=name, source=source, kind="mail", sha256=sha256_file(path), path=path)
        if size > _MAX_FILE_BYTES:
            raise UnreadableError("it is larger than 256 MB")
        data = path.read_bytes()
    except OSError as error:
        raise UnreadableError(f"it cannot be opened ({error.strerror or error})") from error
    kind = guess_kind(name, unpacked(data), alone=alone)
    return RawItem(name=name, source=source, kind=kind, sha256=hashlib.sha256(data).hexdigest(), path=path)


def _kind_in_pieces(path: Path) -> Kind | None:
    """The kind of a large file, if it is one that is read piece by piece."""
    head = _head(path)
    if is_parquet(head):
        if reason := needs_pyarrow():
            raise UnreadableError(reason)
        return "parquet"
    return "lines" if is_lines(head) and not is_chat_json(head) else None


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(_HEAD_BYTES)


def _from_hub(source: str) -> Iterator[RawItem]:
    for file in fetch_from_hub(source):
        try:
            item = _item(file.path, file.name, source, alone=True)
        except UnreadableError as error:
            raise SourceError(
                f"cannot use a file of this data set: {error}",
                value=file.name,
                expected="Parquet, JSON lines or CSV",
                hint="pip install 'tunesmith[tables]'" if "pyarrow" in str(error) else "choose another data set or split",
            ) from error
        yield replace(item, about={"license": file.license} if file.license else {})


def _missing(source: str, path: Path) -> SourceError:
    if path.is_symlink():
        return SourceError(
            "this link has no target",
            value=source,
            expected=_EXPECTED,
            hint=f"ls -l {shlex.quote(source)} shows where it leads",
        )
    expected, hint, instead = _EXPECTED, "name a folder or file that is there", ""
    if nearest := _nearest(source, path):
        kind = "folder" if Path(nearest).expanduser().is_dir() else "file"
        expected += f"; there is a {kind} named '{nearest}'"
        hint, instead = f"did you mean {shlex.quote(nearest)}?", nearest
    elif _ADDRESS.fullmatch(source):
        hint, instead = f"https://{source}, if it is an address", f"https://{source}"
    return SourceError("source not found", value=source, expected=expected, hint=hint, instead=instead)


def _nearest(source: str, path: Path) -> str:
    """The name most like the one that is missing, in its folder; written as the user wrote it."""
    parent = path.parent
    if not parent.is_dir():
        return ""
    names = {entry.name.lower(): entry.name for entry in parent.iterdir() if not entry.name.startswith(".")}
    close = difflib.get_close_matches(path.name.lower(), names, n=1, cutoff=0.6)
    if not close:
        return ""
    head = source.rstrip("/")
    return head[: len(head) - len(path.name)] + names[close[0]]


def _nothing_in(source: str, bad: Sequence[Failure], passed: Counter[str]) -> SourceError:
    if bad:
        what = "no file in this folder can be used"
        listed = "; ".join(f"{failure.source}: {failure.reason}" for failure in bad[:3])
        expected = f"{_KINDS} ({listed})"
    else:
        there = ", ".join(f"{count} {what}" for what, count in sorted(passed.items()) if count)
        what = "this folder contains no text" if there else "this folder is empty"
        expected = _KINDS + (f" (only {there})" if there else "")
    return SourceError(what, value=source, expected=expected, hint="name a folder that holds writing")
