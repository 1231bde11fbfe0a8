"""The search for copies: sketch every row, pair those that share a band, compare the pairs exactly, join them into clusters.

What comes out depends on the rows alone: not on their order, the pieces they were read in, or the workers.

Shapes: D rows, B bands, P pairs.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tunesmith.data.similar.engine import Engine, local_engine
from tunesmith.data.similar.minhash import band_keys, candidate_pairs, rows_for
from tunesmith.data.similar.row_pieces import Piece, RowId, read_at, read_piece
from tunesmith.data.similar.shingles import shingled

__all__ = [
    "Corpus",
    "Found",
    "Sketch",
    "SketchedPiece",
    "clusters_of",
    "find_copies",
    "jaccard",
    "sketch_texts",
    "sketches_of",
    "texts_of",
]

Pairs = NDArray[np.int64]
_JOB_BYTES, _JOB_PAIRS = 1 << 22, 20_000


@dataclass(frozen=True, slots=True)
class Sketch:
    """What is kept of D texts: 128-bit digests, band keys, number of words. A few hundred bytes a text."""

    digests_D2: NDArray[np.uint64]
    keys_DB: NDArray[np.uint32]
    num_words_D: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class SketchedPiece:
    """The rows of one piece: their sketch, ids, places, what is known of them; and what was wrong with the others.

    `ids`: None for rows without. `lines`: the number of each row's line in the piece, from 0. `num_lines`: of the piece.
    """

    sketch: Sketch
    ids: list[RowId | None]
    lines: NDArray[np.int64]
    places_D2: NDArray[np.int64]
    sources: list[str]
    known: NDArray[np.int64]
    dates: list[str]
    problems: list[tuple[int, str]]
    num_lines: int


@dataclass(frozen=True, slots=True)
class Corpus:
    """D texts and where to read them again: in memory (`texts`), or in files (`files_D`, `places_D2`: offset, length)."""

    sketch: Sketch
    texts: Sequence[str] | None = None
    paths: Sequence[str] = ()
    files_D: NDArray[np.int64] | None = None
    places_D2: NDArray[np.int64] | None = None

    def sizes(self) -> NDArray[np.int64]:
        """About how many bytes each text has."""
        if self.texts is not None:
            return np.fromiter(map(len, self.texts), np.int64, len(self.texts))
        assert self.places_D2 is not None
        return self.places_D2[:, 1]


@dataclass(frozen=True, slots=True)
class Found:
    """`num_pairs`: pairs of rows at or above the threshold, exact copies among them. `clusters`: rows joined by such pairs,
    each sorted, two or more. `cut_bands`: bands too crowded to pair all their rows; 0 means that none was skipped.
    `pairs_P2`: the near pairs, between first rows.
    """

    num_pairs: int
    clusters: tuple[tuple[int, ...], ...]
    cut_bands: int
    pairs_P2: Pairs


@dataclass(frozen=True, slots=True)
class _Job:
    """Pairs to compare, by their place among `texts` (or among the rows of the files named)."""

    pairs_P2: Pairs
    texts: tuple[str, ...]
    files: tuple[tuple[str, tuple[tuple[int, int], ...]], ...]


def sketch_texts(texts: Sequence[str], *, threshold: float) -> Sketch:
    """The sketch of each text: a pure function of the text and the threshold."""
    made = shingled(texts)
    return Sketch(made.digests_D2, band_keys(made, rows=rows_for(threshold)), made.num_words_D)


def sketches_of(pieces: Sequence[Piece], *, threshold: float, engine: Engine) -> Iterator[SketchedPiece]:
    """Read and sketch pieces of files, in order."""
    return engine(functools.partial(_sketch_piece, threshold=threshold), pieces)


def find_copies(corpus: Corpus, *, threshold: float, engine: Engine | None = None) -> Found:
    """All pairs with a Jaccard index of word 5-shingles ≥ `threshold` among texts that share a band, and their clusters.

    A text of under five words is one shingle, so only texts with the same words copy it. Texts without words (a smiley, a
    rule) are copies where they are the same but for blanks.
    """
    run = engine or local_engine()
    exact, counts = _exact_groups(corpus.sketch.digests_D2)
    worded = np.flatnonzero((exact == np.arange(len(exact))) & (corpus.sketch.num_words_D > 0))
    local, cut = candidate_pairs(corpus.sketch.keys_DB[worded])
    candidates = _by_component(worded[local], len(exact))
    parts = list(run(_compare, _Jobs(corpus, candidates)))
    pairs = candidates[np.concatenate([np.zeros(0), *parts]) >= threshold]
    pairs = pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]
    num_pairs = int((counts * (counts - 1) // 2).sum() + (counts[pairs[:, 0]] * counts[pairs[:, 1]]).sum())
    copies = np.flatnonzero(exact != np.arange(len(exact)))
    edges = np.concatenate([pairs, np.stack([exact[copies], copies], axis=1)])
    return Found(num_pairs, clusters_of(edges, len(exact)), cut, pairs)


def jaccard(first: NDArray[np.uint64], second: NDArray[np.uint64]) -> float:
    """Shared shingles over all shingles of two sets, each sorted and without repeats; 0 for two empty ones."""
    both = np.concatenate([first, second])
    both.sort()
    shared = int(np.count_nonzero(both[1:] == both[:-1]))
    return shared / (len(both) - shared) if len(both) else 0.0


def _sketch_piece(piece: Piece, *, threshold: float) -> SketchedPiece:
    rows, places, lines, problems = [], [], [], []
    number = -1
    for number, (offset, length, row) in enumerate(read_piece(piece)):
        if isinstance(row, str):
            if row:
                problems.append((number, row))
            continue
        rows.append(row)
        places.append((offset, length))
        lines.append(number)
    return SketchedPiece(
        sketch_texts([row.text for row in rows], threshold=threshold),
        [row.id for row in rows],
        np.array(lines, np.int64),
        np.array(places, np.int64).reshape(-1, 2),
        [row.source for row in rows],
        np.array([row.known for row in rows], np.int64),
        [row.date for row in rows],
        problems,
        number + 1,
    )


def _exact_groups(digests_D2: NDArray[np.uint64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """For each row the first row with its digest, and (at first rows) how many have it; 0 elsewhere."""
    count = len(digests_D2)
    order = np.lexsort((np.arange(count), digests_D2[:, 1], digests_D2[:, 0]))
    ordered = digests_D2[order]
    fresh = np.concatenate([np.ones(min(count, 1), np.bool_), (ordered[1:] != ordered[:-1]).any(axis=1)])
    firsts = order[fresh]
    group = np.cumsum(fresh) - 1
    exact = np.empty(count, np.int64)
    exact[order] = firsts[group]
    counts = np.zeros(count, np.int64)
    counts[firsts] = np.bincount(group, minlength=len(firsts))
    return exact, counts


def _by_component(pairs_P2: Pairs, count: int) -> Pairs:
    """The pairs ordered so that those that hang together stand together: each text is then read once or twice."""
    if not len(pairs_P2):
        return pairs_P2
    label = _components(pairs_P2, count)[pairs_P2[:, 0]]
    return pairs_P2[np.lexsort((pairs_P2[:, 1], pairs_P2[:, 0], label))]


def _components(pairs_P2: Pairs, count: int) -> NDArray[np.int64]:
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    graph = coo_matrix((np.ones(len(pairs_P2), np.int8), (pairs_P2[:, 0], pairs_P2[:, 1])), shape=(count, count))
    labels: NDArray[np.int64] = connected_components(graph, directed=False)[1]
    return labels


def clusters_of(edges: Pairs, count: int) -> tuple[tuple[int, ...], ...]:
    """The rows that pairs join, directly or through others: each cluster sorted, and the clusters by their first rows."""
    if not len(edges):
        return ()
    labels = _components(edges, count)
    members = np.unique(edges)
    members = members[np.argsort(labels[members], kind="stable")]
    borders = np.flatnonzero(np.diff(labels[members])) + 1
    found = [tuple(part.tolist()) for part in np.split(members, borders)]
    return tuple(sorted(found))


class _Jobs(Sequence[_Job]):
    """The comparisons in jobs of some megabytes of text; each is put together only when it is asked for."""

    def __init__(self, corpus: Corpus, pairs_P2: Pairs) -> None:
        self._corpus, self._pairs = corpus, pairs_P2
        weight = np.cumsum(corpus.sizes()[pairs_P2].sum(axis=1)) if len(pairs_P2) else np.zeros(0, np.int64)
        turns = np.maximum(weight // _JOB_BYTES, np.arange(len(pairs_P2)) // _JOB_PAIRS)
        self._borders = np.concatenate([[0], np.flatnonzero(np.diff(turns)) + 1, [len(pairs_P2)]]) if len(turns) else [0]

    def __len__(self) -> int:
        return len(self._borders) - 1

    def __getitem__(self, number: int) -> _Job:  # type: ignore[override]
        if not 0 <= number < len(self):
            raise IndexError(number)
        pairs = self._pairs[self._borders[number] : self._borders[number + 1]]
        rows, local = np.unique(pairs, return_inverse=True)
        if self._corpus.texts is not None:
            return _Job(local.reshape(-1, 2), tuple(texts_of(self._corpus, rows.tolist())), ())
        return _Job(local.reshape(-1, 2), (), _places(self._corpus, rows))


def texts_of(corpus: Corpus, rows: Sequence[int]) -> list[str]:
    """The texts of these rows, in this order, read again where they lie in files."""
    if corpus.texts is not None:
        return [corpus.texts[row] for row in rows]
    order = sorted(range(len(rows)), key=lambda place: rows[place])
    read = [text for path, places in _places(corpus, np.array(sorted(rows), np.int64)) for text in read_at(path, places)]
    texts = [""] * len(rows)
    for place, text in zip(order, read, strict=True):
        texts[place] = text
    return texts


def _places(corpus: Corpus, rows: NDArray[np.int64]) -> tuple[tuple[str, tuple[tuple[int, int], ...]], ...]:
    """Where rows, in rising order, lie: offsets and lengths by file."""
    assert corpus.files_D is not None and corpus.places_D2 is not None
    files = corpus.files_D[rows]
    places = corpus.places_D2[rows]
    return tuple((corpus.paths[file], tuple(map(tuple, places[files == file].tolist()))) for file in np.unique(files).tolist())


def _compare(job: _Job) -> NDArray[np.float64]:
    """The Jaccard index of each pair of a job."""
    texts = list(job.texts)
    for path, places in job.files:
        texts += read_at(path, places)
    made = shingled(texts)
    sets = [made.of(number) for number in range(len(texts))]
    return np.array([jaccard(sets[first], sets[second]) for first, second in job.pairs_P2.tolist()])
