"""Review documents or rows on a page, or apply your decisions. Example: tunesmith review train.jsonl"""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tunesmith.cli.options import Json, ProjectDir, RecipeFile, Settings, Sources

if TYPE_CHECKING:
    from tunesmith.api.reviewing import ReviewApplied, ReviewPage
    from tunesmith.cli.run import Choice

__all__ = ["command"]


def command(  # noqa: PLR0913 (every option of the verb)
    file: Annotated[
        Path | None, typer.Argument(help="A file of examples: JSON, JSON lines, CSV or TSV. None: documents of the sources.")
    ] = None,
    rows: Annotated[int, typer.Option("--rows", min=1, max=1000, help="Maximum number of rows or documents to review.")] = 50,
    apply: Annotated[Path | None, typer.Option("--apply", help="Apply the decisions saved by the page.")] = None,
    out: Annotated[Path | None, typer.Option("--out", help="The page; with --apply, the reviewed file.")] = None,
    project: ProjectDir = Path("."),
    recipe: RecipeFile = None,
    source: Sources = None,
    set_: Settings = None,
    json: Json = False,
) -> None:
    """Without `--apply`, write the page; with it, the file as decided. Without a file, documents of the sources are reviewed
    before training, and the decisions are kept in the project."""
    from tunesmith.cli.run import Choice

    if file is None:
        _documents(Choice(project, recipe, source or [], None, set_ or [], [], False), rows, apply=apply, out=out, json=json)
    else:
        _rows(file, rows, apply=apply, out=out, json=json)


def _rows(file: Path, rows: int, *, apply: Path | None, out: Path | None, json: bool) -> None:
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


def _documents(choice: Choice, rows: int, *, apply: Path | None, out: Path | None, json: bool) -> None:
    from tunesmith.cli.render import ConsoleReporter, console, print_json
    from tunesmith.cli.run import open_recipe
    from tunesmith.core.artifacts import Store

    wanted, screen = open_recipe(choice), console()
    from tunesmith.api.reading import read_sources  # the readers of all formats: not needed to say what is wrong above
    from tunesmith.api.reviewing import decide_documents, review_documents

    reporter = ConsoleReporter(screen)
    found = read_sources(wanted, Store(choice.project / ".tunesmith"), reporter=reporter).artifact
    if apply is not None:
        kept = decide_documents(apply, found, project=choice.project)
        if json:
            print_json({"taken": len(kept.taken), "dropped": len(kept.dropped), "project": str(choice.project)})
            return
        screen.print(f"  {len(kept.taken):,} documents taken, {len(kept.dropped):,} dropped by your decision in this project")
        screen.print(f"  next: {choice.then('build')}")
        return
    page = review_documents(found, project=choice.project, most=rows, out=out or "documents.review.html")
    if json:
        print_json(page.as_dict())
        return
    screen.print(f"  {page.rows} of {page.total:,} documents in {page.page}")
    screen.print("  open it in a browser, read, and save the decisions; then:")
    screen.print(f"  {choice.then('review')} --apply decisions.json")


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
