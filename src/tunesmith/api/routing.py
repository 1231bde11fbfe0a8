"""`train_router`: a small classifier that sends what is unlike the training texts to the base, with its measured accuracy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tunesmith.core.errors import EvaluationError
from tunesmith.core.records import MIXED

__all__ = ["RouterResult", "train_router"]

_EXAMPLES = Path(__file__).parent.parent / "examples"


@dataclass(frozen=True, slots=True)
class RouterResult:
    """A router's file, and what was measured on texts held out by document."""

    out: Path
    figures: dict[str, Any]

    def as_dict(self) -> dict[str, Any]:
        """The object that `tunesmith route train --json` prints."""
        return {"out": str(self.out), **self.figures}


def train_router(
    inside: str | Path, out: str | Path, *, outside: Sequence[str | Path] = (), project: str | Path = "."
) -> RouterResult:
    """Fit a router, measure it on held-out texts, and write it.

    `inside`, `outside`: JSON Lines (the last user message of `messages`, else `prompt`, `question` or `text`), or a dataset
    such as `dataset:latest`. Without `outside`, the packaged general questions and suites. `group` or `document_id` of a row
    keeps rows together; so does the column by which a dataset was split. The base's own answers, mixed into a dataset against
    forgetting, are not of its domain and are left out.

    Raises:
        EvaluationError: a file that cannot be read, or too few texts.
        ArtifactError: no such dataset.
    """
    from tunesmith.core.files import storage_errors
    from tunesmith.serve.traffic.domain import fit_router

    default = [_EXAMPLES / "general.jsonl", *sorted((_EXAMPLES / "suites").glob("*/*.jsonl"))]
    others = [pair for one in (outside or default) for pair in _texts(one, Path(project))]
    if not outside:
        lines = (_EXAMPLES / "general_questions.txt").read_text(encoding="utf-8").splitlines()
        others += [(line, line) for line in lines]
    router = fit_router(_texts(inside, Path(project)), others)
    with storage_errors("writing the router", Path(out)):
        router.save(Path(out))
    return RouterResult(Path(out), router.figures)


def _texts(where: str | Path, project: Path) -> list[tuple[str, str]]:
    """Texts with their groups."""
    import orjson

    files, column = [Path(where)], ""
    if not files[0].is_file() and str(where).startswith("dataset:"):
        from tunesmith.core.artifacts import Store

        dataset = Store(project / ".tunesmith").resolve(str(where))
        split = dataset.manifest["settings"].get("split", {})
        column = str(split.get("group", "")) if split.get("by") == "group" else ""
        files = [file for name in ("train", "val", "test") if (file := dataset.path / f"{name}.jsonl").is_file()]
    found = []
    for file in files:
        try:
            rows = [orjson.loads(line) for line in file.read_bytes().splitlines() if line.strip()]
        except (OSError, orjson.JSONDecodeError) as error:
            raise _unreadable(file, str(error)[:200]) from error
        for number, row in enumerate(rows, 1):
            text = _text(row) if isinstance(row, dict) else ""
            if not text:
                raise _unreadable(file, f"line {number} has no text of a user")
            origin, meta = _object(row, "origin"), _object(row, "meta")
            if origin.get("kind") != "own_answers" and MIXED not in meta:
                together = meta.get(column) if column else ""
                found.append((text, str(together or row.get("group") or row.get("document_id") or row.get("id") or text)))
    return found


def _object(row: dict[str, Any], name: str) -> dict[str, Any]:
    """A column as an object; in files of other makers it may be anything."""
    value = row.get(name)
    return value if isinstance(value, dict) else {}


def _text(row: dict[str, Any]) -> str:
    turns = row.get("messages") if row.get("messages") is not None else row.get("prompt")
    if isinstance(turns, list):
        said = [turn.get("content") for turn in turns if isinstance(turn, dict) and turn.get("role") == "user"]
        return str(said[-1] or "") if said else ""
    return next((row[name] for name in ("prompt", "question", "text") if isinstance(row.get(name), str)), "")


def _unreadable(file: Path, why: str) -> EvaluationError:
    return EvaluationError(
        "the texts cannot be read",
        value=str(file),
        expected=f"JSON Lines with messages, prompt, question or text ({why})",
        hint="tunesmith route train --inside dataset:latest --out mine.router",
    )
