"""Find what the sources hold: folders, files and web addresses become raw items, in a fixed order, with names and hashes."""

from __future__ import annotations

import difflib
import hashlib
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from tunesmith.core.errors import SourceError
from tunesmith.core.records import Failure
from tunesmith.data.ingest.extract import extract
from tunesmith.data.ingest.fetch import fetch
from tunesmith.data.ingest.item import Extracted, Gathered, RawItem, UnreadableError
from tunesmith.data.ingest.kinds import guess_kind, is_asset, unpacked

__all__ = ["Extracted", "Gathered", "RawItem", "extract", "gather"]

_MAX_FILE_BYTES = 256 * 1024 * 1024
_KINDS = "Markdown, text, HTML, feeds, PDF, Word, EPUB, subtitles, mail, chats, CSV, JSON or JSON lines"
_ASSETS = "images, styles, code and other assets skipped"


def gather(sources: Sequence[str], *, allow_private: bool = False, me: str | None = None) -> Gathered:
    """Every item of every source, sorted within it, none twice. A source is a folder, a file, or an http(s) address.

    Hidden files and links that leave a folder are passed over; assets are counted; files that should hold writing but cannot
    be read are failures. SourceError for a source that is missing, empty, or neither feed nor page. `allow_private` lets
    addresses on this machine and its network through. `me` is kept for `extract`: whose messages in chats are the writer's.
    """
    if not sources:
        raise SourceError(
            "no source given",
            value="",
            expected="a folder, a file, or an http(s) address",
            hint="tunesmith run --source ./posts",
        )
    items: dict[tuple[str, str], RawItem] = {}
    failures: list[Failure] = []
    notes: Counter[str] = Counter()
    for source in sources:
        if source.lower().startswith(("http://", "https://")):
            found = [_fetched(source, allow_private=allow_private)]
        else:
            found = _from_disk(source, failures, notes)
        for item in found:
            if items.setdefault((item.name, item.sha256), item) is not item:
                notes["files named twice"] += 1
    return Gathered(items=tuple(items.values()), failures=tuple(failures), notes=dict(notes), me=me)


def _from_disk(source: str, failures: list[Failure], notes: Counter[str]) -> list[RawItem]:
    path = Path(source).expanduser()
    if path.is_file():
        try:
            return [_item(path, path.name, source, alone=True)]
        except UnreadableError as error:
            raise SourceError(
                f"cannot use this file: {error}",
                value=source,
                expected=_KINDS,
                hint="tunesmith run --source ./posts",
            ) from error
    if path.is_dir():
        return _folder(path, source, failures, notes)
    raise _missing(source, path)


def _folder(root: Path, source: str, failures: list[Failure], notes: Counter[str]) -> list[RawItem]:
    items: list[RawItem] = []
    bad: list[Failure] = []
    assets = 0
    inside = root.resolve()
    for folder, folders, names in os.walk(root, followlinks=False):
        folders[:] = sorted(name for name in folders if not name.startswith(".") and name != "node_modules")
        for entry in sorted(names):
            path = Path(folder, entry)
            name = path.relative_to(root).as_posix()
            if entry.startswith(".") or (path.is_symlink() and not path.resolve().is_relative_to(inside)) or not path.is_file():
                continue
            if is_asset(name):
                assets += 1
                continue
            try:
                items.append(_item(path, name, source, alone=False))
            except UnreadableError as error:
                bad.append(Failure(source=name, reason=str(error)))
    if not items:
        raise _nothing_in(source, bad, assets)
    if assets:
        notes[_ASSETS] += assets
    failures += bad
    return sorted(items, key=lambda item: item.name)


def _item(path: Path, name: str, source: str, *, alone: bool) -> RawItem:
    try:
        if path.stat().st_size > _MAX_FILE_BYTES:
            raise UnreadableError("it is larger than 256 MB")
        data = path.read_bytes()
    except OSError as error:
        raise UnreadableError(f"it cannot be opened ({error.strerror or error})") from error
    kind = guess_kind(name, unpacked(data), alone=alone)
    return RawItem(name=name, source=source, kind=kind, sha256=hashlib.sha256(data).hexdigest(), path=path)


def _fetched(source: str, *, allow_private: bool) -> RawItem:
    answer = fetch(source, allow_private=allow_private)
    parts = urlsplit(answer.url)
    name = f"{parts.netloc}{parts.path}" + (f"?{parts.query}" if parts.query else "")
    try:
        data = unpacked(answer.body)
        kind = guess_kind(PurePosixPath(parts.path or "/").name, data, alone=True, content_type=answer.content_type or "none")
    except UnreadableError as error:
        raise SourceError(
            f"there is no feed and no page at this address: {error}",
            value=source,
            expected="a feed (RSS, Atom, JSON Feed) or a web page",
            hint="open the blog in a browser and look for its RSS or Atom link",
        ) from error
    return RawItem(
        name=name,
        source=source,
        kind=kind,
        sha256=hashlib.sha256(data).hexdigest(),
        data=data,
        url=answer.url,
        charset=answer.content_type,
    )


def _missing(source: str, path: Path) -> SourceError:
    expected = "a folder, a file, or an http(s) address"
    hint = "tunesmith run --source ./posts"
    if nearest := _nearest(source, path):
        kind = "folder" if Path(nearest).expanduser().is_dir() else "file"
        expected += f"; there is a {kind} named '{nearest}'"
        hint = f"tunesmith run --source {nearest}"
    elif "." in source.split("/")[0] and not source.startswith((".", "/", "~")) and "://" not in source:
        hint = f"tunesmith run --source https://{source}"
    return SourceError("source not found", value=source, expected=expected, hint=hint)


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


def _nothing_in(source: str, bad: Sequence[Failure], assets: int) -> SourceError:
    if bad:
        what = "nothing in this folder can be used"
        listed = "; ".join(f"{failure.source}: {failure.reason}" for failure in bad[:3])
        expected = f"{_KINDS} ({listed})"
    else:
        what = "there is no writing in this folder" if assets else "this folder is empty"
        expected = _KINDS + (f" (only {assets} images, styles, code or the like)" if assets else "")
    return SourceError(what, value=source, expected=expected, hint="tunesmith run --source ./posts")
