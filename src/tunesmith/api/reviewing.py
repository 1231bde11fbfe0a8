"""`review`: a page with a sample of rows or documents to review, and applying its decisions."""

from __future__ import annotations

import shlex
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import orjson

from tunesmith.api.row_files import write_rows
from tunesmith.core.artifacts import Artifact
from tunesmith.core.errors import DatasetError, SourceError
from tunesmith.core.files import check_out, replace_file, storage_errors
from tunesmith.core.records import Document, from_dict, read_jsonl
from tunesmith.data.checks.run import check_examples
from tunesmith.data.dataset.load import load_examples
from tunesmith.data.dataset.review import Applied, apply_decisions, choose_rows, read_decisions, review_page
from tunesmith.data.dataset.review_documents import Shown, choose_documents, documents_page, keep_decisions
from tunesmith.data.ingest.decisions import DocumentDecisions
from tunesmith.data.ingest.row_file import holds_rows

__all__ = ["ReviewApplied", "ReviewPage", "apply_review", "decide_documents", "review", "review_documents"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewPage:
    """The page that was written, with `rows` of `total` rows; `unreadable` more rows cannot be read or trained on."""

    page: Path
    rows: int
    total: int
    unreadable: int

    def as_dict(self) -> dict[str, Any]:
        """The object that `tunesmith review FILE --json` prints."""
        return {"page": str(self.page), "rows": self.rows, "of": self.total, "unreadable": self.unreadable}


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewApplied:
    """The rows after the decisions, what was done, and the file they were written to."""

    applied: Applied
    out: Path

    def as_dict(self) -> dict[str, Any]:
        """The object that `tunesmith review FILE --apply DECISIONS --out FILE --json` prints: figures, without the rows."""
        told = {key: value for key, value in asdict(self.applied).items() if key != "rows"}
        return {"written": len(self.applied.rows), **told, "out": str(self.out)}


def review(file: str | Path, *, rows: int = 50, out: str | Path | None = None) -> ReviewPage:
    """Write a page with at most `rows` rows to review to `out`, by default `FILE.review.html` in the current folder.

    Raises:
        DatasetError: a file without examples.
        SourceError: a file that holds no rows, or `out` is that file or a folder.
        StorageError: `out` cannot be written.
    """
    path = Path(file)
    _must_hold_rows(path)
    page = Path(out) if out is not None else Path(f"{path.stem}.review.html")
    check_out(page, [path], hint=f"{shlex.join(['tunesmith', 'review', str(path)])} --out page.html")
    loaded = load_examples(path)
    chosen = choose_rows(loaded.examples, rows)
    findings = [*loaded.findings, *check_examples(loaded.examples)]
    unreadable = sum(finding.count for finding in loaded.findings if finding.name == "unreadable")
    html = review_page(path, chosen, total=len(loaded.examples), places=loaded.places, findings=findings)
    with storage_errors("writing the page", page):
        replace_file(page, html.encode())
    return ReviewPage(page=page, rows=len(chosen), total=len(loaded.examples), unreadable=unreadable)


def apply_review(file: str | Path, decisions: str | Path, *, out: str | Path | None) -> ReviewApplied:
    """Apply the decisions that the page saved to `file`, and write the rows that remain to `out`.

    Raises:
        DatasetError: an invalid file of decisions, or one made for another file.
        SourceError: a file that holds no rows, or no file to write to.
        StorageError: `out` cannot be written.
    """
    path, decided = Path(file), Path(decisions)
    _must_hold_rows(path)
    again = f"{shlex.join(['tunesmith', 'review', str(path), '--apply', str(decided)])} --out reviewed.jsonl"
    if out is None:
        raise SourceError("no place to write the reviewed rows to", value="", expected="--out FILE", hint=again)
    check_out(Path(out), [path, decided], hint=again)
    applied = apply_decisions(path, read_decisions(decided, path))
    write_rows(applied.rows, Path(out), what="reviewed")
    return ReviewApplied(applied=applied, out=Path(out))


def review_documents(
    documents: Artifact, *, most: int = 200, out: str | Path = "documents.review.html", project: str | Path = "."
) -> ReviewPage:
    """Write a page with at most `most` documents, taken and left out: is this yours, and may it be taken?

    `documents`: what `ingest` made. `project`: the folder that the decisions are for.

    Raises:
        DatasetError: sources without documents.
        StorageError: `out` cannot be written.
    """
    shown = _documents(documents)
    if not shown:
        raise DatasetError(
            "the sources hold no documents to review",
            value=f"{documents.numbers['pairs']:,} pairs",
            expected="posts, pages, mails or other texts",
            hint="tunesmith review FILE reviews the rows of a file",
        )
    chosen = choose_documents(shown, most)
    at = [] if Path(project) == Path(".") else ["--project", str(project)]
    command = shlex.join(["tunesmith", "review", *at, "--apply", "decisions.json"])
    html = documents_page(chosen, total=len(shown), mark=documents.id, command=command)
    with storage_errors("writing the page", Path(out)):
        replace_file(Path(out), html.encode())
    return ReviewPage(page=Path(out), rows=len(chosen), total=len(shown), unreadable=len(documents.numbers["failures"]))


def decide_documents(decisions: str | Path, documents: Artifact, *, project: str | Path = ".") -> DocumentDecisions:
    """Keep what the page of `review_documents` saved in the project; every later build takes and leaves documents so.

    Raises:
        DatasetError: an invalid file of decisions, or a decision about a document that the sources do not hold.
        StorageError: the project cannot be written to.
    """
    known = frozenset(one.document.id for one in _documents(documents))
    return keep_decisions(Path(decisions), Path(project), known=known)


def _documents(artifact: Artifact) -> list[Shown]:
    """Every document of the sources by its name, with the reason if it is left out."""
    shown = [Shown(document=one) for one in read_jsonl(artifact.path / "documents.jsonl", Document)]
    with (artifact.path / "left_out.jsonl").open("rb") as lines:
        rows = [orjson.loads(line) for line in lines]
    shown += [Shown(document=from_dict(Document, row), reason=row["reason"]) for row in rows]
    return sorted(shown, key=lambda one: one.document.source)


def _must_hold_rows(path: Path) -> None:
    if not holds_rows(path):
        raise SourceError(
            "only files of rows can be reviewed",
            value=str(path),
            expected="JSON, JSON lines, CSV or TSV",
            hint="tunesmith build --source … makes a dataset, whose train.jsonl can",
        )
