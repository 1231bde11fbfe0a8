"""All checks over a set of examples."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from tunesmith.core.records import Example, Finding
from tunesmith.data.checks import (
    answers,
    copies,
    damage,
    labels,
    lengths,
    personal,
    provenance,
    secrets,
    shape,
    turns,
    variety,
    wording,
)
from tunesmith.data.checks.rows import Row, rows_from_examples

__all__ = ["CHECKS", "TEXT_CHECKS", "check_examples", "check_rows", "check_texts", "worst_first"]

CHECKS: tuple[Callable[[Sequence[Row]], Iterator[Finding]], ...] = (
    turns.check_roles,
    turns.check_empty,
    turns.check_questions,
    turns.check_system_prompts,
    turns.check_conversations,
    answers.check_placeholders,
    answers.check_disclaimers,
    answers.check_refusals,
    answers.check_source_talk,
    answers.check_ends,
    answers.check_echoes,
    answers.check_loops,
    copies.check_copies,
    copies.check_near_copies,
    lengths.check_lengths,
    shape.check_blanks,
    shape.check_json,
    shape.check_markdown,
    labels.check_labels,
    variety.check_languages,
    variety.check_diversity,
    variety.check_phrases,
    wording.check_openings,
    wording.check_instructions,
    provenance.check_licences,
    provenance.check_ids,
    damage.check_encoding,
    damage.check_residue,
    secrets.check_secrets,
    personal.check_personal,
)
TEXT_CHECKS: tuple[Callable[[Sequence[Row]], Iterator[Finding]], ...] = (
    answers.check_loops,
    copies.check_copies,
    copies.check_near_copies,
    variety.check_languages,
    provenance.check_licences,
    damage.check_encoding,
    damage.check_residue,
    secrets.check_secrets,
    personal.check_personal,
)
_WORST_FIRST = {"error": 0, "warning": 1, "info": 2}


def check_examples(examples: Sequence[Example], *, cap: float = provenance.MOST_SOURCE) -> tuple[Finding, ...]:
    """Everything that all checks find in the examples as one set, worst first, then by count.

    `cap`: the share of the rows that one document may have. `rows` of a finding are the ids of all examples concerned, each
    once; `count` counts rows, so copies with one id count each. The message gives the reason, then ` Fix: ` and what to do.
    No model is asked; 5,000 examples of 500 characters take about a second.
    """
    return check_rows(rows_from_examples(examples), cap=cap)


def check_rows(rows: Sequence[Row], *, cap: float = provenance.MOST_SOURCE) -> tuple[Finding, ...]:
    """The same for examples that are taken apart already."""
    findings = [finding for check in CHECKS for finding in check(rows)]
    return worst_first([*findings, *provenance.check_sources(rows, cap)])


def check_texts(rows: Sequence[Row]) -> tuple[Finding, ...]:
    """Everything that is looked for in rows of plain text, which have no turns, worst first."""
    return worst_first([finding for check in TEXT_CHECKS for finding in check(rows)])


def worst_first(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """Errors, warnings, then the rest; within each by count, then by name."""
    return tuple(sorted(findings, key=lambda finding: (_WORST_FIRST[finding.severity], -finding.count, finding.name)))
