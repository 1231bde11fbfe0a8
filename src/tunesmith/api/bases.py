"""The known base models, which of them are on this machine, and downloading one."""

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
    """A named base and its folder; `path` and `origin` are empty if it is not on this machine."""

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
    """Every named base except the embedded one, the smallest first. Fetches nothing; verifies cached bases."""
    rows = []
    for base in sorted(BASES.values(), key=lambda base: base.parameters):
        found = kept_base(base)
        rows.append(BaseRow(base) if found is None else BaseRow(base, str(found.path), found.origin))
    return rows


def fetch_base(name: str, *, reporter: Reporter | None = None) -> BaseFolder:
    """Download a named base unless it is cached. ModelError if it is not available, or its name is unknown."""
    if name not in BASES:
        raise ModelError(
            "no base of this name is known",
            value=name,
            expected=f"one of {', '.join(BASES)} ({EMBEDDED} comes with Tunesmith)",
            hint="tunesmith bases",
        )
    return find_base(name, reporter=reporter or SilentReporter())
