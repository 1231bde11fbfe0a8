"""A small kept index of passages: add, recall by a query, forget by age or by relevance.

A folder with one file, `passages.jsonl`, one passage a line. What ranks them is made from the texts when it is first asked for,
so nothing but the texts is kept. A change is on disk when its call returns, whole or not at all, whatever kills the process;
changes by several processes follow each other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
from filelock import FileLock

from tunesmith.core.errors import DatasetError
from tunesmith.core.files import collect_temporary, make_folders, replace_file, storage_errors
from tunesmith.core.records import digest, read_jsonl, to_json
from tunesmith.data.similar.ranking import Ranker, best, ranker_named

__all__ = ["Passage", "PassageIndex", "Recalled"]

_FILE = "passages.jsonl"
_LOCK = ".lock"


@dataclass(frozen=True, slots=True, kw_only=True)
class Passage:
    """A text with its source (a file, an address; may be empty) and the day on which it was last added, as YYYY-MM-DD."""

    text: str
    source: str = ""
    added: str = ""

    @property
    def id(self) -> str:
        """The hash of its text."""
        return digest("passage", self.text)[:16]


@dataclass(frozen=True, slots=True)
class Recalled:
    """A passage that fits a query, and its score: BM25 or a cosine, higher for a better fit."""

    passage: Passage
    score: float


class PassageIndex:
    """The passages in a folder, which the first `add` makes. `by`: `words` (BM25), `embeddings`, or an encoder's folder."""

    def __init__(self, folder: str | Path, *, by: str = "words") -> None:
        self.folder = Path(folder)
        self._by = by
        self._passages = self._read()
        self._ranker: Ranker | None = None

    @property
    def passages(self) -> tuple[Passage, ...]:
        """All of them, oldest first; of one day in the order in which they were added."""
        return self._passages

    def add(self, passages: Iterable[Passage | str], *, today: date | None = None) -> int:
        """Add passages; returns how many were new. One that is there already counts as added today. Blank ones are left out.

        Raises:
            StorageError: the folder cannot be written to.
        """
        day = _day(today)
        given = [Passage(text=one) if isinstance(one, str) else one for one in passages]
        fresh = {one.text: Passage(text=one.text, source=one.source, added=day) for one in given if one.text.strip()}
        if not fresh:
            return 0
        before = self._change(lambda kept: [*(one for one in kept if one.text not in fresh), *fresh.values()])
        return len(fresh.keys() - {one.text for one in before})

    def recall(self, query: str, most: int = 3) -> list[Recalled]:
        """The passages that fit a query best, best first; none for a query that shares nothing with any."""
        scores = self._scores_of(query)
        return [Recalled(self._passages[place], float(scores[place])) for place in best(scores, most)]

    def forget_added_before(self, day: date) -> list[Passage]:
        """Drop passages that were last added before that day; returns them."""
        return self._drop(lambda kept: {one.text for one in kept if one.added < _day(day)})

    def forget_all_but(self, most: int, *, queries: Sequence[str]) -> list[Passage]:
        """Keep the `most` passages that fit any of the queries best, and drop the others; returns those.

        Of passages that fit none, the ones added last stay. DatasetError without a query: nothing says what is relevant.
        """
        if not any(query.strip() for query in queries):
            raise DatasetError(
                "nothing says which passages are relevant",
                value=list(queries),
                expected="one question at least",
                hint="give questions that were really asked, or forget by age: forget_added_before",
            )

        def drop(kept: Sequence[Passage]) -> set[str]:
            scores_of = ranker_named(self._by, [one.text for one in kept])
            highest = np.max([scores_of(query) for query in queries], axis=0)
            order = sorted(range(len(kept)), key=lambda place: (-max(0.0, float(highest[place])), -place))
            return {kept[place].text for place in order[max(0, most) :]}

        return self._drop(drop)

    def _scores_of(self, query: str) -> np.ndarray:
        if self._ranker is None:
            self._ranker = ranker_named(self._by, [one.text for one in self._passages])
        return self._ranker(query)

    def _drop(self, which: Callable[[Sequence[Passage]], set[str]]) -> list[Passage]:
        if not (self.folder / _FILE).exists():
            return []
        before = self._change(lambda kept: [one for one in kept if one.text not in gone] if (gone := which(kept)) else kept)
        left = {one.text for one in self._passages}
        return [one for one in before if one.text not in left]

    def _change(self, change: Callable[[Sequence[Passage]], Sequence[Passage]]) -> Sequence[Passage]:
        """Read what is there now, change it, write it; returns what was there."""
        with storage_errors("writing the index of passages", self.folder, safe="what it held before is still there"):
            make_folders(self.folder)
            with FileLock(self.folder / _LOCK):
                collect_temporary(self.folder)
                before = self._read()
                after = tuple(change(before))
                if after != before:
                    replace_file(self.folder / _FILE, b"".join(to_json(one) + b"\n" for one in after))
        self._passages, self._ranker = after, None
        return before

    def _read(self) -> tuple[Passage, ...]:
        file = self.folder / _FILE
        return tuple(read_jsonl(file, Passage)) if file.exists() else ()


def _day(day: date | None) -> str:
    return (day or datetime.now(UTC).date()).isoformat()
