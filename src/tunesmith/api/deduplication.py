"""`dedup`: copies and near copies in files of rows, and the same files without them."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tunesmith.core.errors import DatasetError
from tunesmith.core.records import Failure
from tunesmith.data.similar.engine import engine_named
from tunesmith.data.similar.files import MANY_COPIES, Deduplicated, Rows, dedup_files
from tunesmith.data.similar.row_pieces import RowId, id_rank
from tunesmith.data.similar.semantic import similarity_named
from tunesmith.data.similar.write import write_kept

__all__ = ["MANY_COPIES", "DedupResult", "dedup"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DedupResult:
    """Ids are those of the file (`file:id` if several were read), or `line N` if its rows have no ids.

    `n` rows were compared. `clusters`: ids of rows that copy each other, each cluster sorted. `pairs`: how many pairs are
    at or above the threshold; `reworded`: how many more are paraphrases. `removed`: ids that would be removed;
    `share` of all rows (0 to 1). `by_source`: rows and removed rows of each source, empty for an unknown one. `across`:
    clusters that occur in two files, by the names of both. `failed`: rows that could not be read. `cut_bands`: above 0,
    clusters may be split. `out`: the folder written, if any.
    """

    n: int
    clusters: tuple[tuple[RowId, ...], ...]
    pairs: int
    reworded: int
    seconds: float
    removed: tuple[RowId, ...]
    share: float
    by_source: Mapping[str, tuple[int, int]]
    across: Mapping[tuple[str, str], int]
    failed: tuple[Failure, ...]
    cut_bands: int
    out: Path | None

    def as_dict(self) -> dict[str, Any]:
        """The object that `tunesmith dedup --json` prints."""
        return {
            "n": self.n,
            "clusters": self.clusters,
            "pairs": self.pairs,
            "reworded": self.reworded,
            "seconds": self.seconds,
            "removed": self.removed,
            "share": self.share,
            "by_source": {source or "unknown": {"n": n, "removed": gone} for source, (n, gone) in self.by_source.items()},
            "across": [{"files": list(names), "clusters": count} for names, count in sorted(self.across.items())],
            "failed": [asdict(failure) for failure in self.failed],
            "cut_bands": self.cut_bands,
            "out": str(self.out) if self.out is not None else None,
        }


def dedup(
    file: str | Path,
    *more: str | Path,
    threshold: float = 0.8,
    semantic: str = "",
    out: str | Path | None = None,
    engine: str = "local",
    workers: int = 0,
) -> DedupResult:
    """Find copies among the rows of all files together; with `out`, write the files without them into that new folder.

    `threshold`: the share of common word 5-shingles (0.2 to 1) from which two rows are copies. `semantic`: empty, `words`,
    `embeddings` or a folder with an encoder: paraphrases are copies too. `engine`: `local` with
    `workers` threads (0: one per core), or `ray`.

    Raises:
        DatasetError: a threshold out of range, an id that occurs twice in a file, or no row that can be used.
        SourceError: a file that cannot be read.
        StorageError: `out` already exists with other contents, or cannot be written.
    """
    if not 0.2 <= threshold <= 1:
        raise DatasetError(
            "this threshold is outside the useful range",
            value=threshold,
            expected="a share of common word 5-shingles from 0.2 to 1",
            hint="--threshold 0.8",
        )
    begin = time.perf_counter()
    files, folder = [Path(name) for name in (file, *more)], Path(out) if out is not None else None
    similarity = similarity_named(semantic) if semantic else None
    found = dedup_files(files, threshold=threshold, engine=engine_named(engine, workers=workers), similarity=similarity)
    if folder is not None:
        write_kept(found, folder, settings={"threshold": threshold, "semantic": similarity.name if similarity else ""})
    rows = found.rows
    return DedupResult(
        n=len(rows.ids),
        clusters=_clusters(found),
        pairs=found.found.num_pairs,
        reworded=found.reworded,
        seconds=time.perf_counter() - begin,
        removed=tuple(_shown_id(rows, row) for row, _ in found.removed),
        share=found.share,
        by_source=found.by_source,
        across=found.across,
        failed=rows.failed,
        cut_bands=found.found.cut_bands,
        out=folder,
    )


def _shown_id(rows: Rows, row: int) -> RowId:
    """The id in the file, with the file's name before it if there are several files."""
    return rows.ids[row] if len(rows.names) == 1 else f"{rows.names[rows.files[row]]}:{rows.ids[row]}"


def _clusters(found: Deduplicated) -> tuple[tuple[RowId, ...], ...]:
    clusters = [tuple(sorted((_shown_id(found.rows, row) for row in cluster), key=id_rank)) for cluster in found.clusters]
    return tuple(sorted(clusters, key=lambda cluster: [id_rank(id) for id in cluster]))
