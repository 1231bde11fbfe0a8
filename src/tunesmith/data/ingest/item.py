"""What passes between gathering and extracting: raw items in, readings out."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypedDict, Unpack

from tunesmith.core.labelled import Labelled
from tunesmith.core.records import DateOrigin, Document, Example, Failure, Preference, Status, digest
from tunesmith.data.ingest.policy import Policy

__all__ = ["Extracted", "Facts", "Gathered", "Kind", "RawItem", "Reading", "joined", "make_document", "with_facts"]

Kind = str  # of a file: one that `kinds.py` knows, or that of a reader in `readers/`


class Facts(TypedDict, total=False):
    """What a source states about a text, apart from the text itself."""

    title: str | None
    url: str | None
    author: str | None
    date: str | None
    date_origin: DateOrigin | None
    license: str | None
    status: Status
    language: str | None
    thread: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RawItem:
    """One file or fetched body. `name` is relative to its source (POSIX), so ids do not depend on where the source lies.

    `about` is what a feed says of a page (title, author, date, license), which counts more than what is found in the page.
    `reading` is there where an export was read already. `without` holds the addresses of entries of a feed whose pages are
    items themselves.
    """

    name: str
    source: str
    kind: Kind
    sha256: str
    path: Path | None = None
    data: bytes | None = None
    url: str | None = None
    charset: str | None = None
    about: Facts = field(default_factory=Facts)
    reading: Reading | None = None
    without: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Gathered:
    """Every usable item of the sources, in a fixed order; what could not be used; and counts of what was passed over.

    `policy` is whose words are taken, and which. `traffic` counts what was fetched, unchanged and kept: it says how this
    came about, and is no part of what it is.
    """

    items: tuple[RawItem, ...]
    failures: tuple[Failure, ...] = ()
    notes: Mapping[str, int] = field(default_factory=dict)
    policy: Policy = field(default_factory=Policy)
    traffic: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What one item holds. `notes` counts what was left out on purpose (code blocks, drafts), by name.

    `preferences`: prompts with a chosen and a rejected answer; `labelled`: prompts with an answer marked as good or bad.
    `num_passing`: how many of the failures may be gone another time.
    """

    documents: tuple[Document, ...] = ()
    pairs: tuple[Example, ...] = ()
    preferences: tuple[Preference, ...] = ()
    labelled: tuple[Labelled, ...] = ()
    failures: tuple[Failure, ...] = ()
    notes: Mapping[str, int] = field(default_factory=dict)
    num_passing: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Extracted:
    """What all items hold, failures by name, and notes such as `4 drafts skipped` on what was left out."""

    documents: tuple[Document, ...]
    pairs: tuple[Example, ...]
    preferences: tuple[Preference, ...]
    labelled: tuple[Labelled, ...]
    failures: tuple[Failure, ...]
    notes: tuple[str, ...]


def joined(readings: Iterable[Reading]) -> Reading:
    """Several readings as one, in their order."""
    every = list(readings)
    notes: Counter[str] = Counter()
    for reading in every:
        notes.update(reading.notes)
    return Reading(
        documents=tuple(document for reading in every for document in reading.documents),
        pairs=tuple(pair for reading in every for pair in reading.pairs),
        preferences=tuple(row for reading in every for row in reading.preferences),
        labelled=tuple(row for reading in every for row in reading.labelled),
        failures=tuple(failure for reading in every for failure in reading.failures),
        notes=dict(notes),
        num_passing=sum(reading.num_passing for reading in every),
    )


def make_document(*, name: str, text: str, extraction: str, **facts: Unpack[Facts]) -> Document:
    """A document whose id depends on its name and text alone. Half characters, which no JSON can hold, become U+FFFD.

    A date without an origin comes from metadata.
    """
    text = _whole(text)
    document = Document(
        id=digest(name, text)[:16],
        text=text,
        source=name,
        sha256=hashlib.sha256(text.encode()).hexdigest(),
        extraction=extraction,
    )
    return with_facts(document, facts)


def with_facts(document: Document, facts: Facts) -> Document:
    """The document with these facts in place of its own; what is None or empty changes nothing, but an empty title says that
    it has none."""
    if facts.get("title") == "":
        document = replace(document, title=None)
    values: dict[str, Any] = {key: _whole(value) if isinstance(value, str) else value for key, value in facts.items() if value}
    if "date" in values:
        values.setdefault("date_origin", "metadata")
    elif not document.date:
        values.pop("date_origin", None)
    return replace(document, **{key: value for key, value in values.items() if value})


def _whole(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text
