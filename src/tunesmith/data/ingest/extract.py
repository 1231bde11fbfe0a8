"""Turn gathered items into documents and ready pairs; a file that cannot be read is named, and the rest goes on."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, BinaryIO

from tunesmith.core.errors import DatasetError
from tunesmith.core.labelled import Labelled
from tunesmith.core.records import Document, Example, Failure, Preference, to_json, write_jsonl
from tunesmith.core.reporter import Reporter
from tunesmith.data.ingest.item import Extracted, Gathered, RawItem, Reading, with_facts
from tunesmith.data.ingest.parallel import read_in_order
from tunesmith.data.ingest.policy import OTHERS, SCHEDULED, Policy
from tunesmith.data.ingest.read_item import IN_PIECES, read_item, read_pieces
from tunesmith.data.rows.example import with_own_ids
from tunesmith.data.text.decode import PassingError, UnreadableError

__all__ = ["Tally", "extract", "extracted", "write_extracted"]


def extract(gathered: Gathered, *, reporter: Reporter, policy: Policy | None = None) -> Extracted:
    """Documents and pairs of all items, in their order; a text that comes twice is kept once.

    `policy` says whose words are taken, and which; without it, that of `gather` counts.
    Failures of gathering come first. DatasetError, with the first failures, if nothing at all could be used.
    """
    documents: list[Document] = []
    pairs: list[Example] = []
    preferences: list[Preference] = []
    labelled: list[Labelled] = []
    tally = Tally()
    for record in extracted(gathered, tally=tally, reporter=reporter, policy=policy):
        if isinstance(record, Document):
            documents.append(record)
        elif isinstance(record, Preference):
            preferences.append(record)
        elif isinstance(record, Labelled):
            labelled.append(record)
        else:
            pairs.append(record)
    return Extracted(
        documents=tuple(documents),
        pairs=tuple(pairs),
        preferences=tuple(preferences),
        labelled=tuple(labelled),
        failures=tuple(tally.failures),
        notes=tally.told(),
    )


def write_extracted(gathered: Gathered, folder: Path, *, reporter: Reporter, workers: int = 1) -> dict[str, Any]:
    """What `extract` gives, written as it comes to `documents.jsonl`, `pairs.jsonl`, `preferences.jsonl`, `labelled.jsonl`,
    `failures.jsonl` and, with the reason, `left_out.jsonl`.

    Returns the numbers of it: documents, pairs, preferences, labelled rows if there are any, words, notes, failures and how
    many of those may be gone another time (`passing`), texts dated in the future (`scheduled`). Memory does not grow with the
    size of the texts.
    """
    tally = Tally()
    count: Counter[str] = Counter(documents=0, pairs=0, preferences=0, words=0)
    with (
        (folder / "documents.jsonl").open("wb") as documents,
        (folder / "pairs.jsonl").open("wb") as pairs,
        (folder / "preferences.jsonl").open("wb") as preferences,
        (folder / "labelled.jsonl").open("wb") as labelled,
        (folder / "left_out.jsonl").open("wb") as left_out,
    ):
        tally.left_out = left_out
        for record in extracted(gathered, tally=tally, reporter=reporter, workers=workers):
            if isinstance(record, Document):
                documents.write(to_json(record) + b"\n")
                count.update(documents=1, words=len(record.text.split()))
            elif isinstance(record, Preference):
                preferences.write(to_json(record) + b"\n")
                count["preferences"] += 1
            elif isinstance(record, Labelled):
                labelled.write(to_json(record) + b"\n")
                count["labelled"] += 1
            else:
                pairs.write(to_json(record) + b"\n")
                count["pairs"] += 1
    write_jsonl(folder / "failures.jsonl", tally.failures)
    failures = [asdict(failure) for failure in tally.failures]
    return {
        **count,
        "notes": list(tally.told()),
        "failures": failures,
        "passing": tally.num_passing,
        "scheduled": tally.notes[SCHEDULED],
    }


@dataclass(slots=True)
class Tally:
    """What is counted while records pass: failures by name (of gathering too), how many of those of extracting may be gone
    another time, and what was left out on purpose.
    """

    failures: list[Failure] = field(default_factory=list)
    notes: Counter[str] = field(default_factory=Counter)
    num_passing: int = 0
    left_out: BinaryIO | None = None
    authors: Counter[str] = field(default_factory=Counter)

    def leave_out(self, document: Document, reason: str) -> None:
        """Count a document that the policy leaves out, and keep it in `left_out`, so that its author can look at it."""
        self.notes[reason] += 1
        if reason == OTHERS and document.author:
            self.authors[document.author] += 1
        if self.left_out is not None:
            self.left_out.write(to_json({**asdict(document), "reason": reason}) + b"\n")

    def told(self) -> tuple[str, ...]:
        """The notes in words, such as `4 drafts skipped`."""
        return tuple(f"{count} {what}" for what, count in sorted(self.notes.items()))


def extracted(
    gathered: Gathered, *, tally: Tally, reporter: Reporter, policy: Policy | None = None, workers: int = 1
) -> Iterator[Document | Example | Preference | Labelled]:
    """The records that `extract` collects, one by one; `tally` is complete when the last one has passed.

    With several `workers` files on disk are read by as many processes; the records and their order are the same.
    """
    tally.failures += gathered.failures
    tally.notes.update(gathered.notes)
    seen: set[bytes] = set()
    known: dict[str, bytes] = {}
    num_records = 0
    policy = policy or gathered.policy
    with reporter.progress("extract", total=len(gathered.items), unit="files") as progress:
        for item, reading, is_last in _readings(gathered.items, policy=policy, workers=workers):
            for document in reading.documents:
                if reason := policy.why_not(document):
                    tally.leave_out(document, reason)
                    continue
                mark = bytes.fromhex(document.sha256[:32])
                if mark in seen:
                    tally.notes["documents that are copies of another left out"] += 1
                    continue
                seen.add(mark)
                num_records += 1
                yield document
            num_records += len(reading.pairs) + len(reading.preferences) + len(reading.labelled)
            yield from with_own_ids(reading.pairs, known)
            yield from with_own_ids(reading.preferences, known)
            yield from with_own_ids(reading.labelled, known)
            tally.failures += reading.failures
            tally.num_passing += reading.num_passing
            tally.notes.update(reading.notes)
            progress.advance(1 if is_last else 0, item.name if is_last else f"{item.name}, record {num_records:,}")
    if not num_records:
        raise _nothing(tally)


def _readings(items: Sequence[RawItem], *, policy: Policy, workers: int) -> Iterator[tuple[RawItem, Reading, bool]]:
    """What the items hold, in their order, and whether that is all of it; why one cannot be read stands in its failures."""
    if workers > 1 and all(item.path is not None and item.kind not in {*IN_PIECES, "fragment"} for item in items):
        for item, found in read_in_order(items, policy=policy, workers=workers):
            yield item, _as_told(found, item) if isinstance(found, Reading) else _unreadable(item, found), True
        return
    for item in items:
        try:
            if item.kind in IN_PIECES:
                for piece in read_pieces(item):
                    yield item, _as_told(piece, item), False
                yield item, Reading(), True
            else:
                yield item, _as_told(read_item(item, policy=policy), item), True
        except UnreadableError as error:
            yield item, _unreadable(item, error), True


def _as_told(reading: Reading, item: RawItem) -> Reading:
    """What a feed says of a page counts more than what was found in the page; the licence of a data set is that of its rows."""
    about = item.about
    if about and len(reading.documents) == 1:
        return replace(reading, documents=(with_facts(reading.documents[0], about),))
    if "license" not in about:
        return reading
    return replace(
        reading,
        documents=tuple(replace(document, license=document.license or about["license"]) for document in reading.documents),
        pairs=tuple(replace(pair, license=pair.license or about["license"]) for pair in reading.pairs),
        preferences=tuple(replace(row, license=row.license or about["license"]) for row in reading.preferences),
        labelled=tuple(replace(row, license=row.license or about["license"]) for row in reading.labelled),
    )


def _unreadable(item: RawItem, error: UnreadableError) -> Reading:
    return Reading(
        failures=(Failure(source=item.name, reason=str(error)),), num_passing=1 if isinstance(error, PassingError) else 0
    )


def _nothing(tally: Tally) -> DatasetError:
    listed = "; ".join(f"{failure.source}: {failure.reason}" for failure in tally.failures[:3])
    left_out = ", ".join(f"{count} {what}" for what, count in sorted(tally.notes.items()) if what.endswith("left out"))
    why = listed or left_out or "the sources hold no words"
    hint = "tunesmith run --source FOLDER, with posts, pages, books, mails, chats or tables in it"
    if tally.authors:
        named = [name for name, _ in tally.authors.most_common(5)]
        hint = f"the texts are by {', '.join(named)}: --set 'authors={json.dumps(named[:1], ensure_ascii=False)}'"
    return DatasetError(
        "none of the sources could be used",
        value=f"{len(tally.failures)} failures" if tally.failures else "no documents",
        expected=f"at least one document or pair ({why})",
        hint=hint,
    )
