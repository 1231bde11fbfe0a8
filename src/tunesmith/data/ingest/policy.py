"""Whose words are taken, and which: one policy for every kind of source, applied to documents once they are read."""

from __future__ import annotations

from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Literal, get_args

from tunesmith.core.records import Document, Status
from tunesmith.data.ingest.decisions import DocumentDecisions

__all__ = ["EVERYBODY", "EVERY_STATUS", "OTHERS", "SCHEDULED", "Extra", "Policy"]

Extra = Literal["model-answers", "quotations", "replies"]
"""What is left out unless it is asked for: the answers of a model, what a text of one's own quotes, short public replies."""
EVERY_STATUS: tuple[Status, ...] = get_args(Status)
OTHERS = "texts of other authors left out"
SCHEDULED = "texts dated in the future left out"
_LEFT_OUT: dict[Status, str] = {
    "draft": "drafts left out",
    "private": "private texts left out",
    "scheduled": SCHEDULED,
    "protected": "texts behind a password left out",
    "deleted": "deleted texts left out",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """`me` and `authors`: the names, handles or addresses of the people whose words are wanted; none: everybody's.

    `publication`: which states of publication are taken. `include`, `exclude`: patterns for the names of files, such as
    `posts/*`. `extras`: what is taken although it is left out by default. `today` (YYYY-MM-DD): a later date is the future.
    `decided`: what the author decided about single documents, which counts more than all of these.
    """

    me: tuple[str, ...] = ()
    authors: tuple[str, ...] = ()
    publication: tuple[Status, ...] = ("published",)
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    extras: tuple[Extra, ...] = ()
    today: str = "9999-12-31"
    decided: DocumentDecisions = field(default_factory=DocumentDecisions)

    @property
    def own(self) -> frozenset[str]:
        """The wanted names in lower case; empty: everybody is."""
        return frozenset(name.casefold().strip() for name in (*self.me, *self.authors) if name.strip() and name != "*")

    def is_own(self, *names: str | None) -> bool:
        """Whether one of these names of one person is wanted; also if none is known, or none was asked for."""
        known = {name.casefold().strip() for name in names if name and name.strip()}
        return not self.own or not known or bool(known & self.own)

    def named(self, *names: str | None) -> str | None:
        """What to call a person of these names: as the user names them, if the user does; else by the first that is none
        of an address."""
        known = [name.strip() for name in names if name and name.strip()]
        wanted = {name.casefold().strip(): name for name in (*self.me, *self.authors)}
        asked = next((wanted[name.casefold()] for name in known if name.casefold() in wanted), None)
        return asked or next((name for name in known if "@" not in name), None)

    def takes_file(self, name: str) -> bool:
        """Whether the patterns take a file of this name (relative to its source, POSIX)."""
        if any(_fits(name, pattern) for pattern in self.exclude):
            return False
        return not self.include or any(_fits(name, pattern) for pattern in self.include)

    def why_not(self, document: Document) -> str:
        """Why a document is left out, in words that read after a number; empty if it is taken."""
        if document.id in self.decided.dropped:
            return "texts that you decided against left out"
        if document.id in self.decided.taken:
            return ""
        status = document.status
        if status == "published" and document.date and document.date > self.today:
            status = "scheduled"
        if status not in self.publication:
            return _LEFT_OUT[status]
        authors = [document.author, *(document.author or "").split(", ")]
        return "" if self.is_own(*authors) else OTHERS


EVERYBODY = Policy()


def _fits(name: str, pattern: str) -> bool:
    """As a shell does, and a folder stands for all that lies in it."""
    bare = pattern.strip("/")
    return fnmatchcase(name, bare) or fnmatchcase(name, f"{bare}/*") or fnmatchcase(name, f"*/{bare}")
