"""`check`: faults in a file of examples, and leaks between splits."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any, Literal

from tunesmith.api.row_files import write_rows
from tunesmith.core.errors import SourceError
from tunesmith.core.files import check_out
from tunesmith.core.records import Example, Finding
from tunesmith.core.reporter import Reporter, SilentReporter
from tunesmith.data.checks.provenance import MOST_SOURCE
from tunesmith.data.checks.queries import compare_prompts, queries_from_rows
from tunesmith.data.checks.redact import redact_row
from tunesmith.data.checks.rows import FIX, rows_from_examples
from tunesmith.data.checks.run import check_rows, worst_first
from tunesmith.data.checks.summary import summarize
from tunesmith.data.checks.tokens import TokenFacts, token_findings
from tunesmith.data.dataset.leaks import find_leaks
from tunesmith.data.dataset.load import Loaded, load_examples
from tunesmith.data.ingest.row_file import raw_rows
from tunesmith.data.similar.records import find_rewordings
from tunesmith.data.similar.semantic import similarity_named

__all__ = ["CheckFinding", "CheckResult", "check"]

_LEAK_FIXES = {
    "same_source": "split by document: tunesmith split keeps the rows of one document together.",
    "exact_copies": "take the copies out of train.",
    "near_copies": "take the copies out of train.",
    "same_words": "take the copies out of train.",
    "related_copies": "read them; take those that give the answer away out of train.",
    "rewordings": "read them; take those that give the answer away out of train.",
    "golden_rewordings": "take them out of train.",
    "same_prompt": "take them out of train, or split by document.",
    "no_source": "add a url, title or document_id to each row.",
}
_MOST_PLACES = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckFinding:
    """One kind of fault: `reason` says what it is and `fix` what to do; `message` is both in one text.

    `count` rows have it. `rows` names them (ids, or pairs of ids for leaks), possibly not all; `where` gives the places
    (`train line 12`) of those among the first 20 that have one.
    """

    name: str
    severity: Literal["error", "warning", "info"]
    message: str
    reason: str
    fix: str
    count: int
    rows: tuple[str, ...]
    where: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """One finding in the object that `tunesmith check --json` prints; the name is its `id`."""
        return {
            "id": self.name,
            "severity": self.severity,
            "message": self.message,
            "reason": self.reason,
            "fix": self.fix,
            "count": self.count,
            "rows": self.rows,
            "where": self.where,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckResult:
    """The findings, the worst first, and figures about the examples.

    `sizes`: examples of each file, by its name without folder and ending. `summary`: languages, topics, lengths, formats,
    `tokens` (null without a base), and on request `against` and `redacted`. `places`: file and line of each id.
    `tokens`: token counts and label audit; None without a base.
    """

    sizes: Mapping[str, int]
    findings: tuple[CheckFinding, ...]
    summary: Mapping[str, Any]
    places: Mapping[str, str]
    tokens: TokenFacts | None

    @property
    def blocked(self) -> bool:
        """Whether a finding is an error."""
        return any(finding.severity == "error" for finding in self.findings)

    def as_dict(self) -> dict[str, Any]:
        """The object that `tunesmith check --json` prints."""
        return {"findings": [finding.as_dict() for finding in self.findings], "summary": dict(self.summary)}


def check(
    file: str | Path,
    *more: str | Path,
    base: str = "",
    max_tokens: int = 0,
    against: str | Path | None = None,
    redact_to: str | Path | None = None,
    cap: float = MOST_SOURCE,
    semantic: str = "",
    reporter: Reporter | None = None,
) -> CheckResult:
    """Check the examples of all files together. If there are several files, each is a split, and leaks between them are found.

    `base`: count tokens, cuts and labels with this model's tokenizer, with at most `max_tokens` tokens per example (0: the
    recipe's default). `against`: a file of real queries to compare the prompts with. `redact_to`: write a copy without secrets
    and personal data there. `cap`: the largest share of the rows, from 0 to 1, that one document may have. `semantic`: `words`,
    `embeddings` or the folder of an encoder finds paraphrases between splits.

    Raises:
        DatasetError: a file without examples.
        ModelError: a base that cannot be found, or has no chat template.
        SourceError: a file that cannot be read, or options that exclude each other.
    """
    files = [Path(name) for name in (file, *more)]
    out = Path(redact_to) if redact_to is not None else None
    _allowed(files, out=out, semantic=semantic)
    loaded: dict[str, Loaded] = {}
    for path in files:
        loaded[str(path) if path.stem in loaded else path.stem] = load_examples(path)
    splits = {name: one.examples for name, one in loaded.items()}
    examples = [example for rows in splits.values() for example in rows]
    rows = rows_from_examples(examples)
    facts = _token_facts(examples, base=base, max_tokens=max_tokens, reporter=reporter or SilentReporter())
    findings = [
        *check_rows(rows, cap=cap),
        *_leaks(splits, semantic),
        *(f for one in loaded.values() for f in one.findings),
    ]
    findings += token_findings(facts) if facts else ()
    summary = summarize(rows) | {"formats": {name: dict(one.formats) for name, one in loaded.items()}, "tokens": _tokens(facts)}
    if against is not None:
        compared, summary["against"] = compare_prompts(
            [row.example.prompt[-1].content for row in rows if row.example.prompt],
            queries_from_rows(row for _, row, problem in raw_rows(Path(against)) if not problem),
        )
        findings += compared
    if out is not None:
        summary["redacted"] = _redact(files[0], out)
    places = _places(loaded)
    return CheckResult(
        sizes={name: len(split) for name, split in splits.items()},
        findings=tuple(_described(finding, places) for finding in worst_first(findings)),
        summary=summary,
        places=places,
        tokens=facts,
    )


def _allowed(files: Sequence[Path], *, out: Path | None, semantic: str) -> None:
    if semantic and len(files) < 2:
        raise SourceError(
            "--semantic compares splits with each other",
            value=len(files),
            expected="two files or more",
            hint=f"tunesmith check train.jsonl test.jsonl --semantic {shlex.quote(semantic)}",
        )
    if out is None:
        return
    shown = f"{shlex.join(['tunesmith', 'check', str(files[0])])} --redact --out clean.jsonl"
    if len(files) > 1:
        raise SourceError("--redact takes one file at a time", value=len(files), expected="one file", hint=shown)
    check_out(out, files, hint=shown)


def _token_facts(examples: Sequence[Example], *, base: str, max_tokens: int, reporter: Reporter) -> TokenFacts | None:
    if not base:
        return None
    from tunesmith.api.token_audit import token_facts  # loads torch

    return token_facts(base, examples, max_tokens=max_tokens, reporter=reporter)


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
    """Write the rows with private data replaced; rows that are not JSON are left out and counted as `unreadable`."""
    counts: Counter[str] = Counter()
    kept = []
    for _, row, problem in raw_rows(file):
        if problem:
            counts["unreadable"] += 1
        else:
            kept.append(redact_row(row, counts))
    write_rows(kept, out, what="redacted")
    return dict(counts.most_common())


def _places(loaded: Mapping[str, Loaded]) -> dict[str, str]:
    """File and line of each id, such as `train line 12`; of several rows with one id, the first."""
    places: dict[str, str] = {}
    for name, one in loaded.items():
        for id, where in one.places.items():
            places.setdefault(id, f"{name} {where}")
    return places


def _described(finding: Finding, places: Mapping[str, str]) -> CheckFinding:
    reason, _, fix = finding.message.partition(FIX)
    return CheckFinding(
        name=finding.name,
        severity=finding.severity,
        message=finding.message,
        reason=reason,
        fix=fix,
        count=finding.count,
        rows=finding.rows,
        where=tuple(places[row] for row in finding.rows[:_MOST_PLACES] if row in places),
    )
