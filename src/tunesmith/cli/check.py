"""`check`: copies and shared sources between the splits of a dataset that somebody made."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path

from tunesmith.cli.render import console, print_json, table
from tunesmith.core.errors import DatasetError
from tunesmith.core.reporter import SilentReporter
from tunesmith.data.ingest.extract import extract
from tunesmith.data.ingest.gather import gather
from tunesmith.data.leaks import find_leaks, find_non_questions

__all__ = ["check"]


def check(files: list[Path], *, json: bool) -> None:
    """Each file is a split. Exit code 2 if any finding is an error."""
    splits = {}
    for file in files:
        found = extract(gather([str(file)]), reporter=SilentReporter())
        if not found.pairs:
            raise DatasetError(
                "no examples in this file",
                value=str(file),
                expected="rows with a prompt and an answer",
                hint="tunesmith build --source … makes examples of plain text",
            )
        splits[file.stem] = found.pairs
    findings = list(find_leaks(splits)) if len(splits) > 1 else []
    if (odd := find_non_questions([e for rows in splits.values() for e in rows])) is not None:
        findings.append(odd)
    if json:
        print_json({"findings": [{"id": f.name, **{k: v for k, v in asdict(f).items() if k != "name"}} for f in findings]})
    else:
        console().print("  " + " · ".join(f"{len(rows):,} {name}" for name, rows in splits.items()))
        if findings:
            table(
                "",
                ["severity", "finding", "count", "", "rows"],
                [[f.severity, f.name, str(f.count), f.message, ", ".join(f.rows[:3])] for f in findings],
            )
        else:
            console().print("  nothing found")
    if any(f.severity == "error" for f in findings):
        sys.exit(2)
