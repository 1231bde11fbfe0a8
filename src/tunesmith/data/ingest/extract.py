"""Turn gathered items into documents and ready pairs; a file that cannot be read is named, and the rest goes on."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Protocol

from tunesmith.core.errors import DatasetError
from tunesmith.core.records import Document, Example, Failure
from tunesmith.core.reporter import Reporter
from tunesmith.data.ingest.archive import read_archive
from tunesmith.data.ingest.chat_json import read_chat_json
from tunesmith.data.ingest.chat_text import is_chat_text, read_chat_text
from tunesmith.data.ingest.decode import decode
from tunesmith.data.ingest.docx import read_docx
from tunesmith.data.ingest.epub import read_epub
from tunesmith.data.ingest.feed import read_feed
from tunesmith.data.ingest.html import read_html
from tunesmith.data.ingest.item import Extracted, Gathered, Kind, RawItem, Reading, UnreadableError
from tunesmith.data.ingest.kinds import unpacked
from tunesmith.data.ingest.mail import read_mail
from tunesmith.data.ingest.markdown import read_markdown, read_text
from tunesmith.data.ingest.pdf import read_pdf
from tunesmith.data.ingest.rows import read_rows
from tunesmith.data.ingest.subtitles import read_subtitles
from tunesmith.data.ingest.table import read_table

__all__ = ["extract"]


class _OfBytes(Protocol):
    def __call__(self, data: bytes, *, name: str) -> Reading: ...


class _OfText(Protocol):
    def __call__(self, text: str, *, name: str) -> Reading: ...


_OF_BYTES: Mapping[Kind, _OfBytes] = {
    "rows": read_rows,
    "pdf": read_pdf,
    "docx": read_docx,
    "epub": read_epub,
    "mail": read_mail,
    "table": read_table,
}
_OF_TEXT: Mapping[Kind, _OfText] = {"text": read_text, "subtitles": read_subtitles, "markdown": read_markdown}


def extract(gathered: Gathered, *, reporter: Reporter, me: str | None = None) -> Extracted:
    """Documents and pairs of all items, in their order; a text that comes twice is kept once.

    `me` says whose messages in chats are the writer's (a name, handle or id); without it, what `gather` was told counts.
    Failures of gathering come first. DatasetError, with the first failures, if nothing at all could be used.
    """
    documents: list[Document] = []
    pairs: list[Example] = []
    failures: list[Failure] = list(gathered.failures)
    notes: Counter[str] = Counter(gathered.notes)
    seen: set[str] = set()
    with reporter.progress("extract", total=len(gathered.items), unit="files") as progress:
        for item in gathered.items:
            try:
                reading = _read(item, me=me or gathered.me)
            except UnreadableError as error:
                failures.append(Failure(source=item.name, reason=str(error)))
                progress.advance(1, item.name)
                continue
            for document in reading.documents:
                if document.sha256 in seen:
                    notes["documents that are copies of another left out"] += 1
                    continue
                seen.add(document.sha256)
                documents.append(document)
            pairs += reading.pairs
            failures += reading.failures
            notes.update(reading.notes)
            progress.advance(1, item.name)
    if not documents and not pairs:
        raise _nothing(failures, notes)
    return Extracted(
        documents=tuple(documents),
        pairs=tuple(pairs),
        failures=tuple(failures),
        notes=tuple(f"{count} {what}" for what, count in sorted(notes.items())),
    )


def _read(item: RawItem, *, me: str | None) -> Reading:
    data = unpacked(_bytes(item))
    if item.kind == "archive":
        return read_archive(data, name=item.name, read=lambda member: _read(member, me=me))
    if item.kind == "feed":
        return read_feed(data, name=item.name, content_type=item.charset)
    if reader := _OF_BYTES.get(item.kind):
        return reader(data, name=item.name)
    text = decode(data, charset=_charset(item.charset))
    if item.kind == "chat":
        if is_chat_text(text[:8192]):
            return read_chat_text(text, name=item.name, me=me)
        return read_chat_json(data, name=item.name, me=me) or read_rows(data, name=item.name)
    if item.kind == "html":
        return read_html(text, name=item.name, url=item.url)
    return _OF_TEXT.get(item.kind, read_markdown)(text, name=item.name)


def _bytes(item: RawItem) -> bytes:
    if item.data is not None:
        return item.data
    if item.path is None:
        raise AssertionError("an item has a path or data")
    try:
        data = item.path.read_bytes()
    except OSError as error:
        raise UnreadableError(f"it cannot be opened ({error.strerror or error})") from error
    if hashlib.sha256(data).hexdigest() != item.sha256:
        raise UnreadableError("it changed while it was being read; run the command again")
    return data


def _charset(content_type: str | None) -> str | None:
    _, found, rest = (content_type or "").lower().partition("charset=")
    return rest.split(";")[0].strip(" \"'") if found else None


def _nothing(failures: Sequence[Failure], notes: Counter[str]) -> DatasetError:
    listed = "; ".join(f"{failure.source}: {failure.reason}" for failure in failures[:3])
    drafts = notes.get("drafts skipped", 0)
    why = listed or (f"all {drafts} files are drafts" if drafts else "the sources hold no words")
    return DatasetError(
        "nothing in the sources could be used",
        value=f"{len(failures)} failures" if failures else "no documents",
        expected=f"at least one document or pair ({why})",
        hint="tunesmith run --source FOLDER, with posts, pages, books, mails, chats or tables in it",
    )
