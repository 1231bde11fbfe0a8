"""`review`: a page with a sample of rows to read, and the decisions made on it applied to the file."""

from __future__ import annotations

import shlex
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tunesmith.cli.render import console, print_json
from tunesmith.core.errors import SourceError
from tunesmith.core.files import check_out, replace_file, storage_errors
from tunesmith.core.records import to_json
from tunesmith.data.checks.load import load_examples
from tunesmith.data.checks.run import check_examples
from tunesmith.data.formats.convert import holds_rows
from tunesmith.data.review import Applied, apply_decisions, choose_rows, read_decisions, review_page

__all__ = ["review"]


def review(file: Path, *, rows: int, decisions: Path | None, out: Path | None, json: bool) -> None:
    """Without `decisions`, write the page of at most `rows` rows to `out`. With them, write the file as decided to `out`.

    Raises:
        SourceError: a file that holds no rows, or no place to write to.
        DatasetError: decisions that are none, or that were made on another file.
    """
    if not holds_rows(file):
        raise SourceError(
            "only files of rows can be reviewed",
            value=str(file),
            expected="JSON, JSON lines, CSV or TSV",
            hint="tunesmith build --source … makes a dataset, whose train.jsonl can",
        )
    if decisions is None:
        page = out or Path(f"{file.stem}.review.html")
        check_out(page, [file], hint=f"{shlex.join(['tunesmith', 'review', str(file)])} --out page.html")
        _page(file, rows, page, json=json)
        return
    again = f"{shlex.join(['tunesmith', 'review', str(file), '--apply', str(decisions)])} --out reviewed.jsonl"
    if out is None:
        raise SourceError("no place to write the reviewed rows to", value="", expected="--out FILE", hint=again)
    check_out(out, [file, decisions], hint=again)
    applied = apply_decisions(file, read_decisions(decisions, file))
    lines = [to_json(row) for row in applied.rows]
    whole = b"[\n" + b",\n".join(lines) + b"\n]\n" if out.suffix == ".json" else b"".join(line + b"\n" for line in lines)
    with storage_errors("writing the reviewed rows", out):
        replace_file(out, whole)
    _tell(applied, out, json=json)


def _page(file: Path, most: int, out: Path, *, json: bool) -> None:
    loaded = load_examples(file)
    chosen = choose_rows(loaded.examples, most)
    findings = [*loaded.findings, *check_examples(loaded.examples)]
    unread = sum(finding.count for finding in loaded.findings if finding.name == "unreadable")
    html = review_page(file, chosen, total=len(loaded.examples), places=loaded.places, findings=findings)
    with storage_errors("writing the page", out):
        replace_file(out, html.encode())
    if json:
        print_json({"page": str(out), "rows": len(chosen), "of": len(loaded.examples), "unreadable": unread})
        return
    said = console()
    said.print(f"  {len(chosen)} of {len(loaded.examples):,} rows in {out}")
    if unread:
        said.print(f"  {unread:,} more rows cannot be read or learned; tunesmith check names them")
    said.print("  open it in a browser, read, and save the decisions; then:")
    said.print(f"  {shlex.join(['tunesmith', 'review', str(file)])} --apply decisions.json --out reviewed.jsonl")


def _tell(applied: Applied, out: Path, *, json: bool) -> None:
    told: dict[str, Any] = {key: value for key, value in asdict(applied).items() if key != "rows"}
    if json:
        print_json({"written": len(applied.rows), **told, "out": str(out)})
        return
    said = console()
    read = applied.accepted + applied.fixed + applied.dropped
    said.print(
        f"  {applied.accepted} accepted · {applied.fixed} fixed · {applied.dropped} dropped · {applied.unread:,} not read"
    )
    if applied.unreadable:
        said.print(f"  {applied.unreadable:,} rows that are no JSON were left out")
    said.print(f"  {len(applied.rows):,} rows in {out}")
    if read:
        share = f"{(applied.fixed + applied.dropped) / read:.0%}"
        said.print(f"  {share} of the rows read needed work; of the whole file {applied.low:.0%} to {applied.high:.0%} (95 %)")
