"""Which findings stop a build: those of severity error, unless the recipe allows them by name."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path

from tunesmith.core.errors import BlockedError, Problem, RecipeError
from tunesmith.core.files import replace_file, storage_errors
from tunesmith.core.labelled import Labelled
from tunesmith.core.records import Finding, Preference, Row, to_json
from tunesmith.data.checks.rows import FIX

__all__ = ["LABEL_FAULTS", "UNFIT_REWARD", "allowed_name", "check_allowed", "names_to_allow", "stop_at_errors"]

UNFIT_REWARD = "unfit_reward"
LABEL_FAULTS = ("cut", "rewritten", "stop", "zero_labels")
_LEAKS = ("exact_copies", "golden_rewordings", "near_copies", "same_source", "same_words")
_FINDINGS = (
    "broken_json",
    "card_numbers",
    "chat_template",
    "contradictions",
    "echoes",
    "empty_answers",
    "empty_prompts",
    "ibans",
    "id_numbers",
    "mojibake",
    "placeholders",
    "replacement_characters",
    "roles",
    "same_answers",
    "secrets",
    "social_security_numbers",
)
_PRIVATE = frozenset(("card_numbers", "ibans", "id_numbers", "secrets", "social_security_numbers"))


def names_to_allow() -> tuple[str, ...]:
    """Everything that `--allow` takes: label faults, `leak` for every leak between splits, the findings that block, and a
    reward model whose verdict is DON'T SHIP."""
    return tuple(sorted({*LABEL_FAULTS, "leak", UNFIT_REWARD, *_FINDINGS}))


def allowed_name(finding: str) -> str:
    """The name under which a finding is allowed: its own, or `leak` for a leak between splits."""
    return "leak" if finding in _LEAKS else finding


def check_allowed(allow: Sequence[str]) -> None:
    """RecipeError, with the nearest known name, for every unknown name in `allow`."""
    known = names_to_allow()
    problems = []
    for name in allow:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]}? --allow {near[0]}" if near else "leave it out of allow"
            problems.append(Problem(what="allow names no check", value=name, expected=f"one of {', '.join(known)}", hint=hint))
    if problems:
        raise RecipeError(problems)


def stop_at_errors(findings: Sequence[Finding], rows: Sequence[Row], *, allow: Sequence[str], rows_file: Path) -> None:
    """Raise BlockedError with every finding of severity error that `allow` does not name.

    `rows_file`: where these rows are written, one JSON object per line, so that they can be read and fixed.
    """
    blocking = [f for f in findings if f.severity == "error" and allowed_name(f.name) not in allow]
    if not blocking:
        return
    by_id = {row.id: row for row in rows}
    lines = [_row(finding, by_id[id]) for finding in blocking for id in finding.rows if id in by_id]
    if lines:
        with storage_errors("writing the rows that stopped the build", rows_file):
            replace_file(rows_file, b"\n".join(map(to_json, lines)) + b"\n")
    raise BlockedError.joined([_block(finding, by_id, rows_file) for finding in blocking])


def _row(finding: Finding, row: Row) -> Mapping[str, object]:
    about = {"finding": finding.name, "id": row.id, "title": row.title, "document": row.group}
    rejected: dict[str, object] = {"rejected": row.rejected} if isinstance(row, Preference) else {}
    label: dict[str, object] = {"label": row.label} if isinstance(row, Labelled) else {}
    return about | {"messages": [{"role": m.role, "content": m.content} for m in row.messages]} | rejected | label


def _block(finding: Finding, by_id: Mapping[str, Row], rows_file: Path) -> BlockedError:
    name = allowed_name(finding.name)
    reason, _, fix = finding.message.partition(FIX)
    if name == "leak":
        return BlockedError(
            f"the test split leaks into training: {finding.name}",
            name=name,
            value=reason,
            expected="no document and no passage on both sides",
            hint="set split.by: document in the recipe, or continue with --allow leak",
        )
    first = [by_id[id].title or id for id in finding.rows if id in by_id]
    shown = ", ".join(dict.fromkeys(first[:3]))
    if name in _PRIVATE:
        fix = "--set build.redact=true puts words such as [SECRET] in their place"
    elif not fix:
        fix = "fix the rows in the source"
    return BlockedError(
        f"the rows are not fit to learn from: {finding.name.replace('_', ' ')}",
        name=name,
        value=f"{reason} First: {shown}" if shown else reason,
        expected=f"no such rows; all of them: {rows_file}" if finding.rows else "no such rows",
        hint=f"{fix.rstrip('.')}, or continue with --allow {name}",
    )
