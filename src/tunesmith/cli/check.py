"""`check`: what is wrong with examples that somebody made, and what leaks between their splits."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from tunesmith.cli.render import console, print_json, table
from tunesmith.core.errors import DatasetError
from tunesmith.core.records import Example, Failure, Finding
from tunesmith.core.reporter import SilentReporter
from tunesmith.data.checks import check_examples
from tunesmith.data.checks.rows import FIX
from tunesmith.data.ingest.extract import extract
from tunesmith.data.ingest.gather import gather
from tunesmith.data.leaks import find_leaks

__all__ = ["check"]


_WORST_FIRST = {"error": 0, "warning": 1, "info": 2}
_LEAK_FIXES = {
    "same_source": "split by document: tunesmith split keeps the rows of one document together.",
    "exact_copies": "take the copies out of train.",
    "near_copies": "take the copies out of train.",
    "related_copies": "read them; take those that give the answer away out of train.",
    "same_prompt": "take them out of train, or split by document.",
    "no_source": "add a url, title or document_id to each row.",
}
_NUM_SHOWN = 3


def check(files: list[Path], *, json: bool) -> None:
    """Check the examples of all files together and, of several files, what leaks between them: each file is a split.

    With `json`, `{"findings": [{"id", "severity", "message", "count", "rows", "where"} …]}` goes to stdout: `rows` are ids
    (pairs of ids for leaks), `where` the places of the first twenty. Exit code 2 if any finding is an error.

    Raises:
        DatasetError: a file without examples.
    """
    splits: dict[str, Sequence[Example]] = {}
    failures: list[Failure] = []
    for file in files:
        found = extract(gather([str(file)]), reporter=SilentReporter())
        if not found.pairs:
            raise DatasetError(
                "no examples in this file",
                value=str(file),
                expected="rows with a prompt and an answer",
                hint="tunesmith build --source … makes examples of plain text",
            )
        splits[_name(file, splits)] = found.pairs
        failures += found.failures
    findings = _findings(splits, failures)
    places = _places(splits)
    if json:
        print_json({"findings": [_as_json(finding, places) for finding in findings]})
    else:
        _show(splits, findings, places)
    if any(finding.severity == "error" for finding in findings):
        sys.exit(2)


def _name(file: Path, taken: Mapping[str, object]) -> str:
    """The split's name: `train` of train.jsonl, or the whole path where two files have that name."""
    return str(file) if file.stem in taken else file.stem


def _findings(splits: Mapping[str, Sequence[Example]], failures: Sequence[Failure]) -> list[Finding]:
    """Everything found, worst first."""
    findings = list(check_examples([example for rows in splits.values() for example in rows]))
    if len(splits) > 1:
        findings += [
            replace(leak, message=f"{leak.message}.{FIX}{_LEAK_FIXES[leak.name]}" if leak.name in _LEAK_FIXES else leak.message)
            for leak in find_leaks(splits)
        ]
    if failures:
        said = tuple(f"{Path(failure.source).name}: {failure.reason}" for failure in failures)
        reason = f"rows that could not be read and would not be learned ({len(failures)} named); first: {said[0]}."
        findings.append(
            Finding(
                name="unreadable",
                severity="error",
                message=f"{reason}{FIX}mend or drop these rows.",
                count=len(failures),
                rows=said,
            )
        )
    return sorted(findings, key=lambda finding: (_WORST_FIRST[finding.severity], -finding.count, finding.name))


def _places(splits: Mapping[str, Sequence[Example]]) -> dict[str, str]:
    """Where each id stands: `train 12` is the twelfth example that could be read. Of copies with one id, the first."""
    places: dict[str, str] = {}
    for name, rows in splits.items():
        for number, example in enumerate(rows, 1):
            places.setdefault(example.id, f"{name} {number}")
    return places


def _as_json(finding: Finding, places: Mapping[str, str]) -> dict[str, object]:
    where = [places[row] for row in finding.rows[:20] if row in places]
    return {
        "id": finding.name,
        "severity": finding.severity,
        "message": finding.message,
        "count": finding.count,
        "rows": finding.rows,
        "where": where,
    }


def _show(splits: Mapping[str, Sequence[Example]], findings: Sequence[Finding], places: Mapping[str, str]) -> None:
    console().print("  " + " · ".join(f"{len(rows):,} {name}" for name, rows in splits.items()))
    if not findings:
        console().print("  nothing found")
        return
    lines = []
    for finding in findings:
        reason, _, fix = finding.message.partition(FIX)
        first = ", ".join(places.get(row, row) for row in finding.rows[:_NUM_SHOWN])
        more = ", …" if finding.count > _NUM_SHOWN else ""
        text = "\n".join(line for line in (reason, f"→ {fix}" if fix else "", f"  {first}{more}") if line.strip())
        lines.append([finding.severity, finding.name, f"{finding.count:,}", text])
    table("", ["severity", "finding", "count", "what, what to do (→), where"], lines)
    console().print("  what each finding means: docs/reference/checks.md")
