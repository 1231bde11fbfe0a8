"""The bases that are known by name, which of them are on this machine, and fetching one."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from tunesmith.core.errors import ModelError
from tunesmith.core.reporter import Reporter, SilentReporter
from tunesmith.models.bases import AUTO, BASES, EMBEDDED, NamedBase
from tunesmith.models.load import BaseFolder, find_base
from tunesmith.models.locate import kept_base

__all__ = ["AUTO", "EMBEDDED", "BaseRow", "fetch_base", "list_bases"]


@dataclass(frozen=True, slots=True)
class BaseRow:
    """A named base, and where it lies; `path` is empty and `origin` too where it is not on this machine."""

    base: NamedBase
    path: str = ""
    origin: str = ""

    def as_dict(self) -> dict[str, Any]:
        """One base in the list that `tunesmith bases --json` prints."""
        facts = asdict(self.base)
        package = facts.pop("package")
        named = f"{package['name']}=={package['version']}" if package else ""
        return {**facts, "package": named, "path": self.path, "origin": self.origin}


def list_bases() -> list[BaseRow]:
    """Every named base but the embedded one, the smallest first. Nothing is fetched; a kept base is verified."""
    rows = []
    for base in sorted(BASES.values(), key=lambda base: base.parameters):
        found = kept_base(base)
        rows.append(BaseRow(base) if found is None else BaseRow(base, str(found.path), found.origin))
    return rows


def fetch_base(name: str, *, reporter: Reporter | None = None) -> BaseFolder:
    """Get a named base onto this machine, or find that it is there. ModelError if it cannot be had, or is not in the table."""
    if name not in BASES:
        raise ModelError(
            "no base of this name is known",
            value=name,
            expected=f"one of {', '.join(BASES)} ({EMBEDDED} comes with Tunesmith)",
            hint="tunesmith bases",
        )
    return find_base(name, reporter=reporter or SilentReporter())
