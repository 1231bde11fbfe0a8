"""What the author decided about single documents, in a file beside the recipe."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import orjson

from tunesmith.core.errors import SourceError

__all__ = ["DECISIONS_FILE", "DocumentDecisions", "read_document_decisions"]

DECISIONS_FILE = "document-decisions.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentDecisions:
    """Ids of documents that are taken whatever the recipe says of their kind, and of those that never are."""

    taken: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()


def read_document_decisions(project: Path) -> DocumentDecisions:
    """The decisions of a project; none if there is no file. SourceError for a file that is broken."""
    path = project / DECISIONS_FILE
    if not path.exists():
        return DocumentDecisions()
    try:
        saved = orjson.loads(path.read_bytes())
        return DocumentDecisions(taken=tuple(map(str, saved["taken"])), dropped=tuple(map(str, saved["dropped"])))
    except (OSError, orjson.JSONDecodeError, KeyError, TypeError) as error:
        raise SourceError(
            "the decisions about documents cannot be read",
            value=str(path),
            expected=f"an object with the lists taken and dropped ({error})",
            hint=f"rm {path}   and review the documents again: tunesmith review",
        ) from error
