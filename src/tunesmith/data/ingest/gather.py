"""Find what the sources hold: folders, files and web addresses become raw items, in a fixed order, with names and hashes."""

from __future__ import annotations

import difflib
import hashlib
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from tunesmith.core.errors import SourceError
from tunesmith.core.files import sha256_file
from tunesmith.core.records import Failure
from tunesmith.core.reporter import Reporter, SilentReporter
from tunesmith.data.ingest.addresses import gather_address
from tunesmith.data.ingest.chat_json import is_chat_json
from tunesmith.data.ingest.extract import extract
from tunesmith.data.ingest.hub import fetch_from_hub, is_hub
from tunesmith.data.ingest.item import Extracted, Gathered, Kind, RawItem, UnreadableError
from tunesmith.data.ingest.kinds import guess_kind, is_asset, unpacked
from tunesmith.data.ingest.lines import is_lines
from tunesmith.data.ingest.parquet import is_parquet, needs_pyarrow
from tunesmith.data.ingest.web import Web

__all__ = ["Extracted", "Gathered", "RawItem", "extract", "gather"]

_MAX_FILE_BYTES = 256 * 1024 * 1024
_LARGE_BYTES = 16 * 1024 * 1024  # JSON lines beyond this are read piece by piece
_HEAD_BYTES = 200_000
_KINDS = "Markdown, text, HTML, feeds, PDF, Word, EPUB, subtitles, mail, chats, CSV, Parquet, JSON or JSON lines"
_ASSETS = "images, styles, code and other assets skipped"


def gather(
    sources: Sequence[str], *, me: str | None = None, web: Web | None = None, reporter: Reporter | None = None
) -> Gathered:
    """Every item of every source, sorted within it, none twice. A source is a folder, a file, an http(s) address or a data
    set of a hub (`hf:OWNER/NAME`).

    Hidden files and links that leave a folder are passed over; assets are counted; files that should hold writing but cannot
    be read are failures. SourceError for a source that is missing, empty, or neither feed nor page. `web` is how addresses
    are asked for (without one: politely, public ones only, and nothing is kept). `me` is kept for `extract`: whose messages in
    chats are the writer's.
    """
    if not sources:
        raise SourceError(
            "no source given",
            value="",
            expected="a folder, a file, or an http(s) address",
            hint="tunesmith ingest ./posts",
        )
    web = web or Web()
    items: dict[tuple[str, str], RawItem] = {}
    failures: list[Failure] = []
    notes: Counter[str] = Counter()
    for source in sources:
        if is_hub(source):
            found = list(_from_hub(source))
        elif source.lower().startswith(("http://", "https://")):
            addressed = gather_address(source, web=web, reporter=reporter or SilentReporter())
            found = addressed.items
            failures += addressed.failures
            notes.update(addressed.notes)
        else:
            found = _from_disk(source, failures, notes)
        for item in found:
            if items.setdefault((item.name, item.sha256), item) is not item:
                notes["files named twice"] += 1
    return Gathered(items=tuple(items.values()), failures=tuple(failures), notes=dict(notes), me=me, traffic=dict(web.counts))


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
            if not _is_unicode(name):
                shown = name.encode(errors="backslashreplace").decode()
                bad.append(Failure(source=shown, reason="its name is not valid UTF-8; rename it"))
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
        if size > _MAX_FILE_BYTES:
            raise UnreadableError("it is larger than 256 MB")
        data = path.read_bytes()
    except OSError as error:
        raise UnreadableError(f"it cannot be opened ({error.strerror or error})") from error
    kind = guess_kind(name, unpacked(data), alone=alone)
    return RawItem(name=name, source=source, kind=kind, sha256=hashlib.sha256(data).hexdigest(), path=path)


def _kind_in_pieces(path: Path) -> Kind | None:
    """The kind of a large file, if it is one that is read piece by piece."""
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    if is_parquet(head):
        if reason := needs_pyarrow():
            raise UnreadableError(reason)
        return "parquet"
    return "lines" if is_lines(head) and not is_chat_json(head) else None


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
