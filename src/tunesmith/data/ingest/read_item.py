"""Read one gathered item with the reader of its kind, whole or piece by piece; whatever goes wrong is a reason to name."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from mmap import ACCESS_READ, mmap
from pathlib import Path

from tunesmith.core.errors import Interrupted, TunesmithError
from tunesmith.core.files import sha256_file
from tunesmith.data.ingest.chat_json import read_chat_json
from tunesmith.data.ingest.chat_text import is_chat_text, read_chat_text
from tunesmith.data.ingest.feed import read_feed
from tunesmith.data.ingest.fragment import read_fragment
from tunesmith.data.ingest.front_matter import has_front_matter
from tunesmith.data.ingest.html import read_html
from tunesmith.data.ingest.item import Kind, RawItem, Reading, joined
from tunesmith.data.ingest.kinds import unpacked
from tunesmith.data.ingest.lines import read_lines
from tunesmith.data.ingest.markdown import read_markdown, read_text
from tunesmith.data.ingest.parquet import read_parquet
from tunesmith.data.ingest.policy import Policy
from tunesmith.data.ingest.reader import OfText
from tunesmith.data.ingest.readers import reader_of
from tunesmith.data.ingest.readers.mail import read_mail
from tunesmith.data.ingest.rows import read_rows
from tunesmith.data.text.decode import PassingError, UnreadableError, decode_noted

__all__ = ["IN_PIECES", "read_item", "read_pieces"]

IN_PIECES: frozenset[Kind] = frozenset(["lines", "parquet"])
_MAPPED_BYTES = 16 * 1024 * 1024  # a larger mailbox is not read into memory
_CHANGED = "it changed while it was being read; run the command again"
_OF_TEXT: Mapping[Kind, OfText] = {"text": read_text, "markdown": read_markdown}


def read_item(item: RawItem, *, policy: Policy) -> Reading:
    """What one item holds. UnreadableError says why it cannot be used; an error that no reader foresaw is such a reason too."""
    with _faults_named():
        return _whole(item, policy=policy)


def read_pieces(item: RawItem) -> Iterator[Reading]:
    """The same, piece by piece, of an item whose kind is in `IN_PIECES`."""
    with _faults_named():
        yield from _pieces(item)


@contextmanager
def _faults_named() -> Iterator[None]:
    """Whatever a reader stumbles over becomes the reason why this one file cannot be used: the rest of the batch goes on."""
    try:
        yield
    except (UnreadableError, TunesmithError, Interrupted):
        raise
    except Exception as error:
        said = " ".join(str(error).split())[:120]
        reason = PassingError if isinstance(error, MemoryError | OSError) else UnreadableError
        raise reason(f"its reader failed ({type(error).__name__}{': ' if said else ''}{said})") from error


def _whole(item: RawItem, *, policy: Policy) -> Reading:
    if item.reading is not None:
        return item.reading
    if item.kind == "mail" and item.path is not None and item.path.stat().st_size > _MAPPED_BYTES:
        return read_mail(_mapped(item.path, item.sha256), name=item.name, policy=policy)
    data = unpacked(_bytes(item))
    if item.kind == "parquet":  # in an archive: as small as its limits are
        return joined(read_parquet(data, name=item.name))
    if item.kind == "feed":
        return read_feed(data, name=item.name, content_type=item.charset, url=item.url, without=item.without)
    if item.kind == "rows":
        return read_rows(data, name=item.name)
    reader = reader_of(item.kind)
    if reader is not None and reader.read is not None:
        return reader.read(data, name=item.name)
    if reader is not None and reader.read_voices is not None:
        return reader.read_voices(data, name=item.name, policy=policy)
    text, guessed = decode_noted(data, charset=_charset(item.charset))
    reading = _of_text(text, data, item, policy=policy)
    if guessed is None:
        return reading
    note = f"files that are not UTF-8 taken as {guessed}"
    return replace(reading, notes={**reading.notes, note: 1})


def _of_text(text: str, data: bytes, item: RawItem, *, policy: Policy) -> Reading:
    reader = reader_of(item.kind)
    if item.kind == "chat":
        if is_chat_text(text[:8192]):
            return read_chat_text(text, name=item.name, policy=policy)
        return read_chat_json(data, name=item.name, policy=policy) or read_rows(data, name=item.name)
    if item.kind == "fragment":
        return read_fragment(text, name=item.name, title=item.about.get("title"))
    if item.kind == "html" and text.startswith(("---", "+++")) and has_front_matter(text.replace("\r\n", "\n")):
        return read_markdown(text, name=item.name)  # a post of a site generator: HTML below front matter
    if item.kind == "html":
        return read_html(text, name=item.name, url=item.url)
    if reader is not None and reader.read_chat is not None:
        return reader.read_chat(text, name=item.name, policy=policy)
    if reader is not None and reader.read_text is not None:
        return reader.read_text(text, name=item.name)
    return _OF_TEXT.get(item.kind, read_markdown)(text, name=item.name)


def _pieces(item: RawItem) -> Iterator[Reading]:
    if item.kind == "lines" and item.path is not None:
        return read_lines(item.path, name=item.name, sha256=item.sha256)
    if item.path is not None and sha256_file(item.path) != item.sha256:
        raise PassingError(_CHANGED)
    return read_parquet(item.path or _bytes(item), name=item.name)


def _bytes(item: RawItem) -> bytes:
    if item.data is not None:
        return item.data
    if item.path is None:
        raise AssertionError("an item has a path or data")
    try:
        data = item.path.read_bytes()
    except OSError as error:
        raise PassingError(f"it cannot be opened ({error.strerror or error})") from error
    if hashlib.sha256(data).hexdigest() != item.sha256:
        raise PassingError(_CHANGED)
    return data


def _mapped(path: Path, sha256: str) -> mmap:
    """A file whose pages the system brings in as they are read, and drops again."""
    if sha256_file(path) != sha256:
        raise PassingError(_CHANGED)
    with path.open("rb") as file:
        return mmap(file.fileno(), 0, access=ACCESS_READ)


def _charset(content_type: str | None) -> str | None:
    _, found, rest = (content_type or "").lower().partition("charset=")
    return rest.split(";")[0].strip(" \"'") if found else None
