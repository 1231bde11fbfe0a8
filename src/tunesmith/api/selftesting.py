"""`selftest`: check on this machine that training keeps its promises."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tunesmith.core.files import storage_errors
from tunesmith.core.records import Example, Message
from tunesmith.core.reporter import Reporter, SilentReporter
from tunesmith.models.load import find_base
from tunesmith.pipeline import selftest as promises
from tunesmith.pipeline.evidence import EXAMPLES
from tunesmith.train.machine import machine_facts

__all__ = ["SelftestResult", "example_rows", "selftest"]

_EXAMPLES = 12
_WORDS = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class SelftestResult:
    """All checks in the order in which they ran, whether all passed, and the machine that they ran on."""

    base: str
    passed: bool
    seconds: float
    checks: tuple[promises.Check, ...]
    machine: Mapping[str, Any]

    def as_dict(self) -> dict[str, Any]:
        """The object that `tunesmith selftest --json` prints."""
        checks = [asdict(check) for check in self.checks]
        facts = {"base": self.base, "passed": self.passed, "seconds": self.seconds}
        return {**facts, "checks": checks, "machine": dict(self.machine)}


def selftest(base: str = "apprentice", *, reporter: Reporter | None = None) -> SelftestResult:
    """Train on `base` in a temporary folder and check what training promises: exactness, resume, memory.

    Raises:
        ModelError: the base cannot be found or used.
        StorageError: the temporary folder cannot be written.
    """
    begin, found_base = time.perf_counter(), find_base(base)
    with tempfile.TemporaryDirectory(prefix="tunesmith-selftest-") as folder, storage_errors("testing", Path(folder)):
        found = promises.selftest(found_base, example_rows(), folder=Path(folder), reporter=reporter or SilentReporter())
    return SelftestResult(
        base=base,
        passed=found.passed,
        seconds=round(time.perf_counter() - begin, 1),
        checks=tuple(found.checks),
        machine=machine_facts(),
    )


def example_rows() -> list[Example]:
    """Questions about the posts that come with Tunesmith, each answered by how the post begins."""
    rows = []
    for file in sorted((EXAMPLES / "posts").glob("*.md"))[:_EXAMPLES]:
        title = file.stem[3:].replace("-", " ")
        words = file.read_text(encoding="utf-8").rpartition("---")[2].split()[:_WORDS]
        messages = (
            Message(role="user", content=f"Write the beginning of a post about this: {title}."),
            Message(role="assistant", content=" ".join(words)),
        )
        rows.append(Example(id=file.stem, messages=messages, document_id=file.stem, group=file.stem, source=file.name))
    return rows
