"""`check`: what is wrong with examples that somebody made, and what leaks between their splits."""

from __future__ import annotations

import shlex
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

from tunesmith.cli.render import ConsoleReporter, console, print_json, table
from tunesmith.core.errors import SourceError
from tunesmith.core.files import check_out, replace_file, storage_errors
from tunesmith.core.records import Example, Finding, to_json
from tunesmith.data.checks.load import Loaded, load_examples
from tunesmith.data.checks.provenance import MOST_SOURCE
from tunesmith.data.checks.queries import compare_prompts, queries_from_rows
from tunesmith.data.checks.redact import redact_row
from tunesmith.data.checks.rows import FIX, rows_from_examples
from tunesmith.data.checks.run import check_rows, worst_first
from tunesmith.data.checks.summary import summarize
from tunesmith.data.checks.tokens import TokenFacts, token_findings
from tunesmith.data.dedup.records import find_rewordings
from tunesmith.data.dedup.semantic import similarity_named
from tunesmith.data.formats.convert import raw_rows
from tunesmith.data.leaks import find_leaks

__all__ = ["Wanted", "check"]


_LEAK_FIXES = {
    "same_source": "split by document: tunesmith split keeps the rows of one document together.",
    "exact_copies": "take the copies out of train.",
    "near_copies": "take the copies out of train.",
    "related_copies": "read them; take those that give the answer away out of train.",
    "rewordings": "read them; take those that give the answer away out of train.",
    "golden_rewordings": "take them out of train.",
    "same_prompt": "take them out of train, or split by document.",
    "no_source": "add a url, title or document_id to each row.",
}
_NUM_SHOWN = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What to do beside the checks: the base whose tokenizer counts, queries to compare with, a redacted copy to write."""

    base: str = ""
    max_tokens: int = 0
    against: Path | None = None
    redact: bool = False
    out: Path | None = None
    cap: float = MOST_SOURCE
    semantic: str = ""


def check(files: list[Path], wanted: Wanted | None = None, *, json: bool) -> None:
    """Check the examples of all files together and, of several files, what leaks between them: each file is a split.

    With `json`, `{"findings": [{"id", "severity", "message", "reason", "fix", "count", "rows", "where"} …], "summary": …}` goes
    to stdout: `rows` are ids (pairs of ids for leaks), `where` the places of the first twenty. Exit code 2 if any is an error.

    Raises:
        DatasetError: a file without examples.
        SourceError: a file that cannot be read, or options that do not go together.
    """
    wanted = wanted or Wanted()
    _allowed(files, wanted)
    loaded: dict[str, Loaded] = {}
    for file in files:
        loaded[str(file) if file.stem in loaded else file.stem] = load_examples(file)
    splits = {name: one.examples for name, one in loaded.items()}
    examples = [example for rows in splits.values() for example in rows]
    rows = rows_from_examples(examples)
    facts = _token_facts(wanted, examples)
    findings = [
        *check_rows(rows, cap=wanted.cap),
        *_leaks(splits, wanted.semantic),
        *(f for one in loaded.values() for f in one.findings),
    ]
    findings += token_findings(facts) if facts else ()
    summary = summarize(rows) | {"formats": {name: dict(one.formats) for name, one in loaded.items()}, "tokens": _tokens(facts)}
    if wanted.against is not None:
        compared, summary["against"] = compare_prompts(
            [row.example.prompt[-1].content for row in rows if row.example.prompt],
            queries_from_rows(row for _, row, problem in raw_rows(wanted.against) if not problem),
        )
        findings += compared
    if wanted.redact and wanted.out is not None:
        summary["redacted"] = _redact(files[0], wanted.out)
    ordered = worst_first(findings)
    places = _places(loaded)
    if json:
        print_json({"findings": [_as_json(finding, places) for finding in ordered], "summary": summary})
    else:
        _show(splits, ordered, places, summary, facts)
    if any(finding.severity == "error" for finding in ordered):
        sys.exit(2)


def _allowed(files: Sequence[Path], wanted: Wanted) -> None:
    shown = f"{shlex.join(['tunesmith', 'check', str(files[0])])} --redact --out clean.jsonl"
    if wanted.redact != (wanted.out is not None):
        raise SourceError("--redact and --out go together", value="--redact", expected="a file to write to", hint=shown)
    if wanted.semantic and len(files) < 2:
        raise SourceError(
            "--semantic compares splits with each other",
            value=len(files),
            expected="two files or more",
            hint=f"tunesmith check train.jsonl test.jsonl --semantic {shlex.quote(wanted.semantic)}",
        )
    if wanted.redact and len(files) > 1:
        raise SourceError("--redact takes one file at a time", value=len(files), expected="one file", hint=shown)
    if wanted.out is not None:
        check_out(wanted.out, files, hint=shown)


def _token_facts(wanted: Wanted, examples: Sequence[Example]) -> TokenFacts | None:
    if not wanted.base:
        return None
    from tunesmith.api.token_audit import token_facts  # loads torch

    return token_facts(wanted.base, examples, max_tokens=wanted.max_tokens, reporter=ConsoleReporter(console()))


def _tokens(facts: TokenFacts | None) -> dict[str, Any] | None:
    if facts is None:
        return None
    lengths = sorted(facts.lengths) or [0]
    return {
        "base": facts.base,
        "limit": facts.limit,
        "total": sum(lengths),
        "learned": facts.num_learned,
        "smallest": lengths[0],
        "median": median(lengths),
        "largest": lengths[-1],
        "cut": len(facts.cut),
        "cut_share": facts.cut_share,
        "with_end": len(facts.lengths) - len(facts.without_end),
    }


def _leaks(splits: Mapping[str, Sequence[Example]], semantic: str) -> list[Finding]:
    if len(splits) < 2:
        return []
    reworded = find_rewordings(splits, similarity=similarity_named(semantic)) if semantic else ()
    return [
        replace(leak, message=f"{leak.message}.{FIX}{_LEAK_FIXES[leak.name]}" if leak.name in _LEAK_FIXES else leak.message)
        for leak in (*find_leaks(splits), *reworded)
    ]


def _redact(file: Path, out: Path) -> dict[str, int]:
    """Write the rows with secrets and personal data replaced; rows that are no JSON are left out, counted as `unreadable`."""
    counts: Counter[str] = Counter()
    lines = []
    for _, row, problem in raw_rows(file):
        if problem:
            counts["unreadable"] += 1
        else:
            lines.append(to_json(redact_row(row, counts)))
    whole = b"[\n" + b",\n".join(lines) + b"\n]\n" if out.suffix == ".json" else b"\n".join(lines) + b"\n"
    with storage_errors("writing the redacted rows", out):
        replace_file(out, whole)
    return dict(counts.most_common())


def _places(loaded: Mapping[str, Loaded]) -> dict[str, str]:
    """Where each id stands: `train line 12`. Of copies with one id, the first."""
    places: dict[str, str] = {}
    for name, one in loaded.items():
        for id, where in one.places.items():
            places.setdefault(id, f"{name} {where}")
    return places


def _as_json(finding: Finding, places: Mapping[str, str]) -> dict[str, object]:
    reason, _, fix = finding.message.partition(FIX)
    return {
        "id": finding.name,
        "severity": finding.severity,
        "message": finding.message,
        "reason": reason,
        "fix": fix,
        "count": finding.count,
        "rows": finding.rows,
        "where": [places[row] for row in finding.rows[:20] if row in places],
    }


def _show(
    splits: Mapping[str, Sequence[Example]],
    findings: Sequence[Finding],
    places: Mapping[str, str],
    summary: Mapping[str, Any],
    facts: TokenFacts | None,
) -> None:
    out = console()
    out.print("  " + " · ".join(f"{len(rows):,} {name}" for name, rows in splits.items()))
    topics = [f"{topic['name']} {topic['share']:.0%}" for topic in summary["topics"][:4]]
    for name, text in (
        ("languages", ", ".join(f"{language} {count:,}" for language, count in summary["languages"].items())),
        ("topics", "; ".join(topics)),
        ("tokens", _tokens_line(facts)),
        ("redacted", ", ".join(f"{kind} {count:,}" for kind, count in summary.get("redacted", {}).items())),
    ):
        if text:
            out.print(f"  {name:<10}{text}")
    if not findings:
        out.print("  nothing found")
        return
    lines = []
    for finding in findings:
        reason, _, fix = finding.message.partition(FIX)
        first = ", ".join(places.get(row, row[:80]) for row in finding.rows[:_NUM_SHOWN])
        more = ", …" if finding.count > _NUM_SHOWN else ""
        text = "\n".join(line for line in (reason, f"→ {fix}" if fix else "", f"  {first}{more}") if line.strip())
        lines.append([finding.severity, finding.name, f"{finding.count:,}", text])
    table("", ["severity", "finding", "count", "what, what to do (→), where"], lines)
    out.print("  what each finding means: docs/reference/checks.md")


def _tokens_line(facts: TokenFacts | None) -> str:
    if facts is None:
        return ""
    lengths = sorted(facts.lengths) or [0]
    ended = len(facts.lengths) - len(facts.without_end)
    return (
        f"{lengths[0]:,} to {lengths[-1]:,}, middle {median(lengths):,.0f}, with {facts.base}; {len(facts.cut):,} cut at "
        f"{facts.limit:,}; end token in {ended:,}/{len(facts.lengths):,}"
    )
