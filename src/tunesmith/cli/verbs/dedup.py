"""Find copies and near copies. Example: tunesmith dedup rows.jsonl --threshold 0.8 --json"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tunesmith.cli.options import Json

if TYPE_CHECKING:
    from tunesmith.api.deduplication import DedupResult

__all__ = ["command"]

_NUM_SHOWN = 10


def command(
    files: Annotated[
        list[Path], typer.Argument(help="JSON Lines with id and text, or examples; several files are searched together.")
    ],
    threshold: Annotated[float, typer.Option(help="Share of common five-word sequences from which two rows are copies.")] = 0.8,
    semantic: Annotated[
        str,
        typer.Option(help="Also count paraphrases as copies: words, embeddings, or the folder of a sentence encoder."),
    ] = "",
    out: Annotated[Path | None, typer.Option("--out", help="New folder for the files without the copies.")] = None,
    engine: Annotated[str, typer.Option(help="local, or ray for more than one machine.")] = "local",
    workers: Annotated[int, typer.Option(min=0, help="Threads of the local engine; 0: one per core.")] = 0,
    json: Json = False,
) -> None:
    """The JSON object is a contract (docs/reference/scripting.md)."""
    from tunesmith.api.deduplication import dedup
    from tunesmith.cli.render import print_json

    result = dedup(*files, threshold=threshold, semantic=semantic, out=out, engine=engine, workers=workers)
    if json:
        print_json(result.as_dict())
    else:
        _show(result)


def _show(result: DedupResult) -> None:
    from tunesmith.api.deduplication import MANY_COPIES
    from tunesmith.cli.render import console, table

    out = console()
    out.print(
        f"  {result.n:,} rows · {len(result.clusters):,} clusters of copies · {len(result.removed):,} rows could go"
        f" ({result.share:.1%}) · {result.n / max(result.seconds, 1e-9):,.0f} rows/s"
    )
    for cluster in result.clusters[:_NUM_SHOWN]:
        out.print("    " + " ~ ".join(map(str, cluster[:6])) + (", …" if len(cluster) > 6 else ""))
    if len(result.clusters) > _NUM_SHOWN:
        out.print("    … all with --json")
    for (first, second), count in sorted(result.across.items()):
        out.print(f"  ! {count:,} clusters occur in both {first} and {second}")
    if result.reworded:
        out.print(f"  {result.reworded:,} pairs say the same in other words or another order")
    if result.share > MANY_COPIES:
        out.print(f"  ! more than {MANY_COPIES:.0%} of the rows are copies; check how they were collected")
    if result.cut_bands:
        out.print(f"  ! {result.cut_bands} crowded bands were not paired in full; clusters may be split")
    for failure in result.failed[:_NUM_SHOWN]:
        out.print(f"  ! {failure.source}: {failure.reason}")
    if len(result.failed) > _NUM_SHOWN:
        out.print(f"  ! and {len(result.failed) - _NUM_SHOWN:,} more rows that could not be read")
    if len(result.by_source) > 1:
        listed = sorted(result.by_source.items(), key=lambda item: (-item[1][1], item[0]))[:_NUM_SHOWN]
        cells = [[source or "unknown", f"{n:,}", f"{gone:,}", f"{gone / n:.1%}"] for source, (n, gone) in listed]
        table("", ["source", "rows", "copies", "share"], cells)
    out.print(
        f"  written to {result.out}" if result.out is not None else "  hint: --out FOLDER writes the files without the copies"
    )
