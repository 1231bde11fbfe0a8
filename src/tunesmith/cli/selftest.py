"""`tunesmith selftest`: what training promises, measured on this machine."""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tunesmith.cli.render import ConsoleReporter, console, print_json, table
from tunesmith.core.files import storage_errors

if TYPE_CHECKING:
    from tunesmith.core.records import Example

__all__ = ["example_rows", "selftest"]

_EXAMPLES = 12
_WORDS = 60


def selftest(base: str, *, json: bool) -> None:
    """Run the checks on `base`; exit 0 if all hold, 2 if one does not."""
    from dataclasses import asdict

    from tunesmith.models.load import find_base
    from tunesmith.train.machine import machine_facts
    from tunesmith.train.selftest import selftest as run

    begin, say = time.perf_counter(), ConsoleReporter(console())
    found_base = find_base(base)
    with tempfile.TemporaryDirectory(prefix="tunesmith-selftest-") as folder, storage_errors("testing", Path(folder)):
        found = run(found_base, example_rows(), folder=Path(folder), reporter=say)
    seconds = round(time.perf_counter() - begin, 1)
    if json:
        checks = [asdict(check) for check in found.checks]
        print_json({"base": base, "passed": found.passed, "seconds": seconds, "checks": checks, "machine": machine_facts()})
    else:
        rows = [
            [
                c.name,
                "pass" if c.passed else "FAIL",
                f"{c.measured:.2g}",
                f"≤ {c.tolerance:.0e}" if c.tolerance else "0",
                c.text,
            ]
            for c in found.checks
        ]
        table("", ["check", "", "measured", "allowed", ""], rows)
        say.end({"result": _sentence(found.passed, base, seconds)})
    sys.exit(0 if found.passed else 2)


def _sentence(passed: bool, base: str, seconds: float) -> str:
    if passed:
        return f"training keeps its promises on this machine with {base} ({seconds:.0f} s)"
    return f"a promise does not hold on this machine with {base}: do not train with it before you know why"


def example_rows() -> list[Example]:
    """Questions about the posts that come with Tunesmith, each answered by how the post begins."""
    from tunesmith.api import EXAMPLES
    from tunesmith.core.records import Example, Message

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
