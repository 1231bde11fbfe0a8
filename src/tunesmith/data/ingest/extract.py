"""Turn gathered items into documents and ready pairs; a file that cannot be read is named, and the rest goes on."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from tunesmith.core.errors import DatasetError, Interrupted, TunesmithError
from tunesmith.core.files import sha256_file
from tunesmith.core.records import Document, Example, Failure, Preference, to_json, write_jsonl
from tunesmith.core.reporter import Reporter
from tunesmith.data.ingest.archive import read_archive
from tunesmith.data.ingest.chat_json import read_chat_json
from tunesmith.data.ingest.chat_text import is_chat_text, read_chat_text
from tunesmith.data.ingest.decode import decode
from tunesmith.data.ingest.feed import read_feed
from tunesmith.data.ingest.html import read_html
from tunesmith.data.ingest.item import Extracted, Gathered, Kind, PassingError, RawItem, Reading, UnreadableError
from tunesmith.data.ingest.kinds import unpacked
from tunesmith.data.ingest.lines import read_lines
from tunesmith.data.ingest.markdown import read_markdown, read_text
from tunesmith.data.ingest.parallel import read_in_order
from tunesmith.data.ingest.parquet import read_parquet
from tunesmith.data.ingest.reader import OfText
from tunesmith.data.ingest.readers import reader_of
from tunesmith.data.ingest.rows import read_rows, with_own_ids

__all__ = ["Tally", "extract", "extracted", "read_whole", "write_extracted"]


_CHANGED = "it changed while it was being read; run the command again"
_IN_PIECES: frozenset[Kind] = frozenset(["lines", "parquet"])
_OF_TEXT: Mapping[Kind, OfText] = {"text": read_text, "markdown": read_markdown}


def extract(gathered: Gathered, *, reporter: Reporter, me: str | None = None) -> Extracted:
    """Documents and pairs of all items, in their order; a text that comes twice is kept once.

    `me` says whose messages in chats are the writer's (a name, handle or id); without it, what `gather` was told counts.
    Failures of gathering come first. DatasetError, with the first failures, if nothing at all could be used.
    """
    documents: list[Document] = []
    pairs: list[Example] = []
    preferences: list[Preference] = []
    tally = Tally()
    for record in extracted(gathered, tally=tally, reporter=reporter, me=me):
        if isinstance(record, Document):
            documents.append(record)
        elif isinstance(record, Preference):
            preferences.append(record)
        else:
            pairs.append(record)
    return Extracted(
        documents=tuple(documents),
        pairs=tuple(pairs),
        preferences=tuple(preferences),
        failures=tuple(tally.failures),
        notes=tally.told(),
    )


def write_extracted(gathered: Gathered, folder: Path, *, reporter: Reporter, workers: int = 1) -> dict[str, Any]:
    """What `extract` gives, written as it comes to `documents.jsonl`, `pairs.jsonl`, `preferences.jsonl`, `failures.jsonl`.

    Returns the numbers of it: documents, pairs, preferences, words, notes, failures and how many of those may be gone another
    time (`passing`). Memory does not grow with the size of the texts.
    """
    tally = Tally()
    count: Counter[str] = Counter(documents=0, pairs=0, preferences=0, words=0)
    with (
        (folder / "documents.jsonl").open("wb") as documents,
        (folder / "pairs.jsonl").open("wb") as pairs,
        (folder / "preferences.jsonl").open("wb") as preferences,
    ):
        for record in extracted(gathered, tally=tally, reporter=reporter, workers=workers):
            if isinstance(record, Document):
                documents.write(to_json(record) + b"\n")
                count.update(documents=1, words=len(record.text.split()))
            elif isinstance(record, Preference):
                preferences.write(to_json(record) + b"\n")
                count["preferences"] += 1
            else:
                pairs.write(to_json(record) + b"\n")
                count["pairs"] += 1
    write_jsonl(folder / "failures.jsonl", tally.failures)
    failures = [asdict(failure) for failure in tally.failures]
    return {**count, "notes": list(tally.told()), "failures": failures, "passing": tally.num_passing}


@dataclass(slots=True)
class Tally:
    """What is counted while records pass: failures by name (of gathering too), how many of those of extracting may be gone
    another time, and what was left out on purpose.
    """

    failures: list[Failure] = field(default_factory=list)
    notes: Counter[str] = field(default_factory=Counter)
    num_passing: int = 0

    def told(self) -> tuple[str, ...]:
        """The notes in words, such as `4 drafts skipped`."""
        return tuple(f"{count} {what}" for what, count in sorted(self.notes.items()))


def extracted(
    gathered: Gathered, *, tally: Tally, reporter: Reporter, me: str | None = None, workers: int = 1
) -> Iterator[Document | Example | Preference]:
    """The records that `extract` collects, one by one; `tally` is complete when the last one has passed.

    With several `workers` files on disk are read by as many processes; the records and their order are the same.
    """
    tally.failures += gathered.failures
    tally.notes.update(gathered.notes)
    seen: set[bytes] = set()
    known: dict[str, bytes] = {}
    num_records = 0
    with reporter.progress("extract", total=len(gathered.items), unit="files") as progress:
        for item, reading, is_last in _readings(gathered.items, me=me or gathered.me, workers=workers):
            for document in reading.documents:
                mark = bytes.fromhex(document.sha256[:32])
                if mark in seen:
                    tally.notes["documents that are copies of another left out"] += 1
                    continue
                seen.add(mark)
                num_records += 1
                yield document
            num_records += len(reading.pairs) + len(reading.preferences)
            yield from with_own_ids(reading.pairs, known)
            yield from with_own_ids(reading.preferences, known)
            tally.failures += reading.failures
            tally.num_passing += reading.num_passing
            tally.notes.update(reading.notes)
            progress.advance(1 if is_last else 0, item.name if is_last else f"{item.name}, record {num_records:,}")
    if not num_records:
        raise _nothing(tally.failures, tally.notes)


def _readings(items: Sequence[RawItem], *, me: str | None, workers: int) -> Iterator[tuple[RawItem, Reading, bool]]:
    """What the items hold, in their order, and whether that is all of it; why one cannot be read stands in its failures."""
    if workers > 1 and all(item.path is not None and item.kind not in _IN_PIECES and not item.about for item in items):
        for item, found in read_in_order(items, me=me, workers=workers):
            yield item, found if isinstance(found, Reading) else _unreadable(item, found), True
        return
    for item in items:
        try:
            if item.kind in _IN_PIECES:
                with _faults_named():
                    for piece in _pieces(item):
                        yield item, _as_told(piece, item), False
                yield item, Reading(), True
            else:
                yield item, _as_told(read_whole(item, me=me), item), True
        except UnreadableError as error:
            yield item, _unreadable(item, error), True


def _pieces(item: RawItem) -> Iterator[Reading]:
    if item.kind == "lines" and item.path is not None:
        return read_lines(item.path, name=item.name, sha256=item.sha256)
    if item.path is not None and sha256_file(item.path) != item.sha256:
        raise PassingError(_CHANGED)
    return read_parquet(item.path or _bytes(item), name=item.name)


def _as_told(reading: Reading, item: RawItem) -> Reading:
    """What a feed says of a page counts more than what was found in the page; the licence of a data set is that of its rows."""
    about = item.about
    if item.url is not None and about and len(reading.documents) == 1:
        return replace(reading, documents=(replace(reading.documents[0], **about),))
    if item.url is not None or "license" not in about:
        return reading
    return replace(
        reading,
        documents=tuple(replace(document, license=document.license or about["license"]) for document in reading.documents),
        pairs=tuple(replace(pair, license=pair.license or about["license"]) for pair in reading.pairs),
        preferences=tuple(replace(row, license=row.license or about["license"]) for row in reading.preferences),
    )


def _joined(pieces: Iterator[Reading]) -> Reading:
    every = list(pieces)
    return Reading(
        documents=tuple(document for piece in every for document in piece.documents),
        pairs=tuple(pair for piece in every for pair in piece.pairs),
        preferences=tuple(row for piece in every for row in piece.preferences),
        failures=every[-1].failures,
        notes=every[-1].notes,
    )


def _unreadable(item: RawItem, error: UnreadableError) -> Reading:
    return Reading(
        failures=(Failure(source=item.name, reason=str(error)),), num_passing=1 if isinstance(error, PassingError) else 0
    )


def read_whole(item: RawItem, *, me: str | None) -> Reading:
    """What one item holds. UnreadableError says why it cannot be used; an error that no reader foresaw is such a reason too."""
    with _faults_named():
        return _read_whole(item, me=me)


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


def _read_whole(item: RawItem, *, me: str | None) -> Reading:
    data = unpacked(_bytes(item))
    if item.kind == "parquet":  # in an archive: as small as its limits are
        return _joined(read_parquet(data, name=item.name))
    if item.kind == "archive":
        return read_archive(data, name=item.name, read=lambda member: read_whole(member, me=me))
    if item.kind == "feed":
        return read_feed(data, name=item.name, content_type=item.charset, url=item.url, without=item.without)
    if item.kind == "rows":
        return read_rows(data, name=item.name)
    reader = reader_of(item.kind)
    if reader is not None and reader.read is not None:
        return reader.read(data, name=item.name)
    text = decode(data, charset=_charset(item.charset))
    if item.kind == "chat":
        if is_chat_text(text[:8192]):
            return read_chat_text(text, name=item.name, me=me)
        return read_chat_json(data, name=item.name, me=me) or read_rows(data, name=item.name)
    if item.kind == "html":
        return read_html(text, name=item.name, url=item.url)
    if reader is not None and reader.read_text is not None:
        return reader.read_text(text, name=item.name)
    return _OF_TEXT.get(item.kind, read_markdown)(text, name=item.name)


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
