"""Which copies of a file's rows go and which one stays, counted by source and across files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tunesmith.core.errors import DatasetError
from tunesmith.core.records import Failure
from tunesmith.data.similar.engine import Engine, local_engine
from tunesmith.data.similar.row_pieces import RowId, id_rank, pieces_of
from tunesmith.data.similar.search import (
    Corpus,
    Found,
    Sketch,
    SketchedPiece,
    clusters_of,
    find_copies,
    sketches_of,
    texts_of,
)
from tunesmith.data.similar.semantic import Similarity, similar_pairs

__all__ = ["MANY_COPIES", "Deduplicated", "Rows", "dedup_files", "read_rows_of", "removed_rows"]

MANY_COPIES = 0.3  # share of rows that go, above which it is said aloud
_MATTERS = {"golden": 3, "test": 2, "val": 1}  # a copy stays in the file that matters most


@dataclass(frozen=True, slots=True)
class Rows:
    """D rows of files: what is known of each without its text. `ids`: as in the file, or `line N` where no row has an id."""

    ids: Sequence[RowId]
    corpus: Corpus
    sources: Sequence[str]
    known_D: NDArray[np.int64]
    dates: Sequence[str]
    failed: tuple[Failure, ...]

    @property
    def names(self) -> Sequence[str]:
        """The files, by their names without folder and ending; by their paths where two share a name."""
        stems = [Path(path).stem for path in self.corpus.paths]
        return stems if len(set(stems)) == len(stems) else list(self.corpus.paths)

    @property
    def files(self) -> NDArray[np.int64]:
        """The file of each row."""
        assert self.corpus.files_D is not None
        return self.corpus.files_D


@dataclass(frozen=True, slots=True)
class Deduplicated:
    """`clusters`: rows that copy each other, by number. `reworded`: pairs of them found by their vectors alone.

    `removed`: (row, the row that stays in its place), in rising order. `by_source`: rows and removed ones. `across`: clusters
    that lie in two files, by the names of the two.
    """

    rows: Rows
    found: Found
    clusters: tuple[tuple[int, ...], ...]
    reworded: int
    removed: tuple[tuple[int, int], ...]
    by_source: Mapping[str, tuple[int, int]]
    across: Mapping[tuple[str, str], int]

    @property
    def share(self) -> float:
        """The part of the rows that goes."""
        return len(self.removed) / max(1, len(self.rows.ids))


def dedup_files(
    paths: Sequence[Path], *, threshold: float, engine: Engine | None = None, similarity: Similarity | None = None
) -> Deduplicated:
    """Copies and near copies among the rows of JSON-lines files, taken together.

    Rows hold `id` and `text`, or are examples or documents in any form that ingest reads. Of a cluster one row stays, the
    first by: its file (golden, test, val, then all others); more words; more of title, url, author, date and licence known;
    earlier date; smaller id. With `similarity`, rows that say the same by it are copies too. Broken rows are named in
    `failed`.

    Raises:
        DatasetError: an id that comes twice in a file, or no row that can be used.
        SourceError: a file that cannot be read.
    """
    run = engine or local_engine()
    rows = read_rows_of(paths, threshold=threshold, engine=run)
    found = find_copies(rows.corpus, threshold=threshold, engine=run)
    clusters, reworded = (
        (found.clusters, 0) if similarity is None else _with_rewordings(rows.corpus, found.clusters, similarity)
    )
    removed = removed_rows(rows, clusters)
    gone = Counter(rows.sources[row] for row, _ in removed)
    by_source = {source: (count, gone[source]) for source, count in sorted(Counter(rows.sources).items())}
    across: Counter[tuple[str, str]] = Counter()
    for cluster in clusters:
        touched = sorted({int(rows.files[row]) for row in cluster})
        across.update((rows.names[a], rows.names[b]) for i, a in enumerate(touched) for b in touched[i + 1 :])
    return Deduplicated(rows, found, clusters, reworded, removed, by_source, dict(across))


def read_rows_of(paths: Sequence[Path], *, threshold: float, engine: Engine) -> Rows:
    """Read and sketch the rows of files; errors as `dedup_files`."""
    parts: list[tuple[int, SketchedPiece]] = []
    failed: list[Failure] = []
    lines: list[NDArray[np.int64]] = []
    for number, path in enumerate(paths):
        before = 0
        for part in sketches_of(pieces_of(path), threshold=threshold, engine=engine):
            parts.append((number, part))
            lines.append(part.lines + before + 1)
            failed += [Failure(source=f"{path.name} line {before + at + 1}", reason=why) for at, why in part.problems]
            before += part.num_lines
    files = np.concatenate([np.zeros(0, np.int64), *(np.full(len(part.ids), number) for number, part in parts)])
    if not len(files):
        raise DatasetError(
            "no row in this file can be used",
            value=", ".join(map(str, paths)),
            expected="a JSON object a line with id and text" + (f"; {failed[0].source}: {failed[0].reason}" if failed else ""),
            hint='{"id": "a1", "text": "…"} is a good line',
        )
    corpus = Corpus(
        Sketch(
            np.concatenate([part.sketch.digests_D2 for _, part in parts]),
            np.concatenate([part.sketch.keys_DB for _, part in parts]),
            np.concatenate([part.sketch.num_words_D for _, part in parts]),
        ),
        paths=[str(path) for path in paths],
        files_D=files,
        places_D2=np.concatenate([part.places_D2 for _, part in parts]),
    )
    ids = [id for _, part in parts for id in part.ids]
    whole = Rows(
        _named(ids, files, np.concatenate(lines), paths),
        corpus,
        [source for _, part in parts for source in part.sources],
        np.concatenate([part.known for _, part in parts]),
        [date for _, part in parts for date in part.dates],
        tuple(failed),
    )
    _refuse_twins(whole)
    return whole


def removed_rows(rows: Rows, clusters: Sequence[Sequence[int]]) -> tuple[tuple[int, int], ...]:
    """(row, the row that stays) for every row but the best one of each cluster, in rising order."""
    names = rows.names
    ranks = [_MATTERS.get(name, 0) for name in names]

    def worth(row: int) -> tuple[int, int, int, str, tuple[bool, int, str], str]:
        return (
            -ranks[rows.files[row]],
            -int(rows.corpus.sketch.num_words_D[row]),
            -int(rows.known_D[row]),
            rows.dates[row] or "~",  # after every date
            id_rank(rows.ids[row]),
            names[rows.files[row]],
        )

    removed = []
    for cluster in clusters:
        best = min(cluster, key=worth)
        removed += [(row, best) for row in cluster if row != best]
    return tuple(sorted(removed))


def _with_rewordings(
    corpus: Corpus, clusters: tuple[tuple[int, ...], ...], similarity: Similarity
) -> tuple[tuple[tuple[int, ...], ...], int]:
    """The clusters joined by pairs of rows that say the same in other words; one row of each cluster stands for it.

    All texts that are left are in memory at once. They are taken in the order of their hashes, whatever order they came in.
    """
    digests = corpus.sketch.digests_D2
    copies = {row for cluster in clusters for row in cluster[1:]}
    rows = [row for row in np.lexsort((digests[:, 1], digests[:, 0])).tolist() if row not in copies]
    pairs = similar_pairs(similarity.vectors(texts_of(corpus, rows)), threshold=similarity.same)
    if not pairs:
        return clusters, 0
    edges = [(rows[a], rows[b]) for a, b, _ in pairs] + [(c[0], other) for c in clusters for other in c[1:]]
    return clusters_of(np.array(edges), len(digests)), len(pairs)


def _named(
    ids: Sequence[RowId | None], files: NDArray[np.int64], lines: NDArray[np.int64], paths: Sequence[Path]
) -> list[RowId]:
    """The ids, or line numbers for a file in which no row has one. DatasetError for a file in which some have one."""
    given = np.fromiter((id is not None for id in ids), np.bool_, len(ids))
    named: list[RowId] = []
    for number, path in enumerate(paths):
        of_file = files == number
        if not given[of_file].any():
            named += [f"line {line}" for line in lines[of_file].tolist()]
            continue
        if not given[of_file].all():
            bare = lines[of_file][~given[of_file]]
            raise DatasetError(
                f"{len(bare)} rows of {path.name} have no id",
                value=f"line {', '.join(map(str, bare[:5].tolist()))}",
                expected="an id on every row, or on none (rows are then named by their lines)",
                hint='add "id": "…" to these rows',
            )
        named += [id for id, keep in zip(ids, of_file.tolist(), strict=True) if keep and id is not None]
    return named


def _refuse_twins(rows: Rows) -> None:
    files = rows.files.tolist()
    counts = Counter(zip(files, rows.ids, strict=True))
    if len(counts) == len(files):
        return
    twins = sorted(((str(id), count) for (_, id), count in counts.items() if count > 1))
    raise DatasetError(
        f"{len(twins)} ids come more than once",
        value=", ".join(f"{id} ({count} times)" for id, count in twins[:5]),
        expected="a unique id for every row, so that clusters of ids are unambiguous",
        hint="give the rows new ids, or remove their ids: rows without ids are named by line",
    )
