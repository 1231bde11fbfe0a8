"""`dedup`: copies and near copies in files of rows, and the same files without them."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from tunesmith.cli.render import console, print_json, table
from tunesmith.core.errors import DatasetError
from tunesmith.data.dedup.report import MANY_COPIES, Deduplicated, Rows, dedup_files
from tunesmith.data.dedup.rows import RowId, id_rank
from tunesmith.data.dedup.semantic import similarity_named
from tunesmith.data.dedup.write import write_kept
from tunesmith.data.engine import engine_named

__all__ = ["dedup"]

_NUM_SHOWN = 10


def dedup(
    files: list[Path], *, threshold: float, semantic: str, out: Path | None, engine: str, workers: int, json: bool
) -> None:
    """Find copies among the rows of all files together; with `out`, write the files without them.

    `semantic`: empty, `words`, `embeddings` or a folder with an encoder: rows that say the same in other words are copies too.
    With `json`, `{"n", "clusters": [[ids…]…], "pairs", "seconds", …}` goes to stdout.
    """
    if not 0.2 <= threshold <= 1:
        raise DatasetError(
            "this threshold finds nothing useful",
            value=threshold,
            expected="a share of common word 5-shingles from 0.2 to 1",
            hint="--threshold 0.8",
        )
    begin = time.perf_counter()
    similarity = similarity_named(semantic) if semantic else None
    result = dedup_files(files, threshold=threshold, engine=engine_named(engine, workers=workers), similarity=similarity)
    if out is not None:
        write_kept(result, out, settings={"threshold": threshold, "semantic": similarity.name if similarity else ""})
    seconds = time.perf_counter() - begin
    if json:
        print_json(_as_json(result, seconds, out))
    else:
        _show(result, seconds, out)


def _shown_id(rows: Rows, row: int) -> RowId:
    """The id as it stands in the file; with the file's name before it where there are several files."""
    return rows.ids[row] if len(rows.names) == 1 else f"{rows.names[rows.files[row]]}:{rows.ids[row]}"


def _clusters(result: Deduplicated) -> list[list[RowId]]:
    found = [sorted((_shown_id(result.rows, row) for row in cluster), key=id_rank) for cluster in result.clusters]
    return sorted(found, key=lambda cluster: [id_rank(id) for id in cluster])


def _as_json(result: Deduplicated, seconds: float, out: Path | None) -> dict[str, Any]:
    rows = result.rows
    return {
        "n": len(rows.ids),
        "clusters": _clusters(result),
        "pairs": result.found.num_pairs,
        "reworded": result.reworded,
        "seconds": seconds,
        "removed": [_shown_id(rows, row) for row, _ in result.removed],
        "share": result.share,
        "by_source": {source or "unknown": {"n": n, "removed": gone} for source, (n, gone) in result.by_source.items()},
        "across": [{"files": list(names), "clusters": count} for names, count in sorted(result.across.items())],
        "failed": [{"source": failure.source, "reason": failure.reason} for failure in rows.failed],
        "cut_bands": result.found.cut_bands,
        "out": str(out) if out is not None else None,
    }


def _show(result: Deduplicated, seconds: float, out: Path | None) -> None:
    told = console()
    rows = result.rows
    total = len(rows.ids)
    told.print(
        f"  {total:,} rows · {len(result.clusters):,} clusters of copies · {len(result.removed):,} rows could go"
        f" ({result.share:.1%}) · {total / max(seconds, 1e-9):,.0f} rows/s"
    )
    for cluster in _clusters(result)[:_NUM_SHOWN]:
        told.print("    " + " ~ ".join(map(str, cluster[:6])) + (", …" if len(cluster) > 6 else ""))
    if len(result.clusters) > _NUM_SHOWN:
        told.print("    … all with --json")
    for (first, second), count in sorted(result.across.items()):
        told.print(f"  ! {count:,} clusters lie in both {first} and {second}")
    if result.reworded:
        told.print(f"  {result.reworded:,} pairs say the same in other words or another order")
    if result.share > MANY_COPIES:
        told.print(f"  ! more than {MANY_COPIES:.0%} of the rows are copies: look at how they were collected")
    if result.found.cut_bands:
        told.print(f"  ! {result.found.cut_bands} crowded bands were not paired in full; clusters may be split")
    for failure in rows.failed[:_NUM_SHOWN]:
        told.print(f"  ! {failure.source}: {failure.reason}")
    if len(rows.failed) > _NUM_SHOWN:
        told.print(f"  ! and {len(rows.failed) - _NUM_SHOWN:,} more rows that could not be read")
    if len(result.by_source) > 1:
        listed = sorted(result.by_source.items(), key=lambda item: (-item[1][1], item[0]))[:_NUM_SHOWN]
        cells = [[source or "unknown", f"{n:,}", f"{gone:,}", f"{gone / n:.1%}"] for source, (n, gone) in listed]
        table("", ["source", "rows", "copies", "share"], cells)
    told.print(f"  written to {out}" if out is not None else "  hint: --out FOLDER writes the files without the copies")
