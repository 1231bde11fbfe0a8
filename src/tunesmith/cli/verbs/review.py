"""Make a page to review a sample of rows, or apply your decisions. Example: tunesmith review train.jsonl"""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tunesmith.cli.options import Json

if TYPE_CHECKING:
    from tunesmith.api.reviewing import ReviewApplied, ReviewPage

__all__ = ["command"]


def command(
    file: Annotated[Path, typer.Argument(help="A file of examples: JSON, JSON lines, CSV or TSV.")],
    rows: Annotated[int, typer.Option("--rows", min=1, max=1000, help="Maximum number of rows to review.")] = 50,
    apply: Annotated[Path | None, typer.Option("--apply", help="Apply the decisions saved by the page.")] = None,
    out: Annotated[Path | None, typer.Option("--out", help="The page; with --apply, the reviewed file.")] = None,
    json: Json = False,
) -> None:
    """Without `--apply`, write the page; with it, the file as decided."""
    from tunesmith.api.reviewing import apply_review, review
    from tunesmith.cli.render import print_json

    if apply is None:
        page = review(file, rows=rows, out=out)
        if json:
            print_json(page.as_dict())
        else:
            _print_page(file, page)
    else:
        applied = apply_review(file, apply, out=out)
        if json:
            print_json(applied.as_dict())
        else:
            _print_applied(applied)


def _print_page(file: Path, page: ReviewPage) -> None:
    from tunesmith.cli.render import console

    out = console()
    out.print(f"  {page.rows} of {page.total:,} rows in {page.page}")
    if page.unreadable:
        out.print(f"  {page.unreadable:,} more rows cannot be read or learned; tunesmith check names them")
    out.print("  open it in a browser, read, and save the decisions; then:")
    out.print(f"  {shlex.join(['tunesmith', 'review', str(file)])} --apply decisions.json --out reviewed.jsonl")


def _print_applied(found: ReviewApplied) -> None:
    from tunesmith.cli.render import console

    out, applied = console(), found.applied
    read = applied.accepted + applied.fixed + applied.dropped
    out.print(
        f"  {applied.accepted} accepted · {applied.fixed} fixed · {applied.dropped} dropped · {applied.unread:,} not read"
    )
    if applied.unreadable:
        out.print(f"  {applied.unreadable:,} rows that are not JSON were left out")
    out.print(f"  {len(applied.rows):,} rows in {found.out}")
    if read:
        share = f"{(applied.fixed + applied.dropped) / read:.0%}"
        out.print(f"  {share} of the rows read needed work; of the whole file {applied.low:.0%} to {applied.high:.0%} (95 %)")
