"""`export_feedback`, `forget_feedback`: what people said of served answers, to learn from or to erase."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tunesmith.core.errors import StorageError

if TYPE_CHECKING:
    from tunesmith.serve.feedback.database import Database

__all__ = ["ExportedFeedback", "ForgottenFeedback", "export_feedback", "forget_feedback"]


@dataclass(frozen=True, slots=True)
class ExportedFeedback:
    """A written file. `left_out`: feedbacks that could not become a row, by reason."""

    out: Path
    rows: int
    left_out: dict[str, int]

    def as_dict(self) -> dict[str, Any]:
        """For scripts."""
        return {"out": str(self.out), "rows": self.rows, "left_out": self.left_out}


@dataclass(frozen=True, slots=True)
class ForgottenFeedback:
    """How many answers and feedbacks were erased."""

    answers: int
    feedback: int

    def as_dict(self) -> dict[str, Any]:
        """For scripts."""
        return {"answers": self.answers, "feedback": self.feedback}


def export_feedback(
    form: Literal["sft", "preference", "labels", "shadows"],
    out: str | Path,
    *,
    project: str | Path = ".",
    database: str | Path = "",
    since: str = "",
) -> ExportedFeedback:
    """Write feedback as JSON lines.

    `sft`: prompts with corrections as answers. `preference`: corrections over what they correct, and the better valued of the
    answers of two models to the same prompt over the other. `labels`: the same pairs for `calibrate_judge`. `shadows`:
    answers that were shown with those of the shadow, unlabelled. `since`: a date or
    time in ISO 8601, of the feedback. Only answers given with `capture` have texts; others are counted in `left_out`.

    Raises:
        StorageError: a database or file that cannot be used.
    """
    import orjson

    from tunesmith.core.files import replace_file, storage_errors
    from tunesmith.serve.feedback.rows import rows_of

    opened = _open(project, database)
    try:
        found = rows_of(opened, form, since=_time(since))
    finally:
        opened.close()
    file = Path(out)
    with storage_errors("writing feedback", file):
        replace_file(file, b"".join(orjson.dumps(row) + b"\n" for row in found.rows))
    return ExportedFeedback(file, len(found.rows), dict(found.left_out))


def forget_feedback(
    *, user: str = "", since: str = "", project: str | Path = ".", database: str | Path = ""
) -> ForgottenFeedback:
    """Erase what was kept of a user, or since a date or time in ISO 8601, or of a user since then; also while the server runs.

    With SQLite no byte of it is left in the database's files; of PostgreSQL the tables are rewritten.

    Raises:
        StorageError: a database that cannot be used, or bytes that could not be erased because another program reads it.
    """
    from tunesmith.serve.feedback.forgetting import forget

    opened = _open(project, database)
    try:
        erased = forget(opened, user=user, since=_time(since))
    finally:
        opened.close()
    return ForgottenFeedback(erased.answers, erased.feedback)


def _open(project: str | Path, database: str | Path) -> Database:
    from tunesmith.serve.feedback.database import open_database

    return open_database(database or Path(project) / ".tunesmith" / "serve.db", make=False)


def _time(text: str) -> float | None:
    """Seconds since 1970; a time without a zone is in UTC."""
    if not text:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise StorageError(
            "this is not a date or time",
            value=text,
            expected="such as 2026-11-29 or 2026-11-29T08:00Z",
            hint="--since 2026-11-29",
        ) from error
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
