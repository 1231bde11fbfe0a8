"""Preference rows to a dataset: rows in which nothing is preferred stop the build unless they are allowed by name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from tunesmith.core.errors import BlockedError
from tunesmith.core.records import Message, Preference, digest
from tunesmith.data.dataset.cuts import Drops
from tunesmith.data.dataset.passages import Built

__all__ = ["build_preferences", "preferred_both_ways"]


def preferred_both_ways(rows: Sequence[Preference]) -> set[Preference]:
    """The rows whose answers are preferred the other way round in another row with that prompt: together they say nothing."""
    seen = {(_asked(row), row.chosen.strip(), row.rejected.strip()) for row in rows}
    return {
        row
        for row in rows
        if (_asked(row), row.rejected.strip(), row.chosen.strip()) in seen and row.chosen.strip() != row.rejected.strip()
    }


def _asked(row: Preference) -> tuple[tuple[str, str], ...]:
    return tuple((message.role, message.content.strip()) for message in row.prompt if message.role != "system")


def build_preferences(rows: Sequence[Preference], *, system_prompt: str, allow: Sequence[str] = ()) -> Built[Preference]:
    """Preferences without blanks at the ends of turns, a system message added where there is none. Exact copies are dropped,
    and rows that are preferred both ways.

    Raises:
        BlockedError: rows with an empty answer (`empty_answers`), or with the same answer twice (`same_answers`). Allowed by
            name, such rows are dropped and counted.
    """
    stripped = [_stripped(row) for row in rows]
    empty = [row for row in stripped if not all(row.answers)]
    same = [row for row in stripped if all(row.answers) and row.chosen == row.rejected]
    _block("empty_answers", "have an empty answer", empty, len(rows), "words in both the chosen and the rejected answer", allow)
    _block(
        "same_answers", "have the same answer twice", same, len(rows), "a chosen answer that differs from the rejected", allow
    )
    faulty = {row: "preferred both ways" for row in preferred_both_ways(stripped)}
    faulty |= {row: "empty answer" for row in empty} | {row: "chosen and rejected are the same" for row in same}
    drops = Drops()
    kept: dict[str, Preference] = {}
    for row in stripped:
        asked = row.prompt[-1].content if row.prompt else ""
        key = digest(*(f"{m.role}\n{m.content}" for m in row.prompt if m.role != "system"), row.chosen, row.rejected)
        if not asked:
            drops.add("empty prompt", row.chosen)
        elif row in faulty:
            drops.add(faulty[row], asked)
        elif key in kept:
            drops.add("exact copy of another preference", f"{asked} → {row.chosen}")
        else:
            kept[key] = _with_system(row, system_prompt.strip())
    return Built(examples=tuple(kept.values()), dropped=dict(drops.counts), dropped_samples=drops.samples)


def _stripped(row: Preference) -> Preference:
    prompt = tuple(replace(message, content=message.content.strip()) for message in row.prompt)
    return replace(row, prompt=prompt, chosen=row.chosen.strip(), rejected=row.rejected.strip())


def _with_system(row: Preference, text: str) -> Preference:
    if not text or row.prompt[0].role == "system":
        return row
    return replace(row, prompt=(Message(role="system", content=text), *row.prompt))


def _block(name: str, what: str, rows: Sequence[Preference], total: int, expected: str, allow: Sequence[str]) -> None:
    if rows and name not in allow:
        raise BlockedError(
            f"some preference rows {what}: neither answer is preferred",
            name=name,
            value=f"{len(rows)} of {total}, first {rows[0].id} ({rows[0].source})",
            expected=expected,
            hint=f"tunesmith check FILE names them; fix or drop these rows, or --allow {name}, which leaves them out",
        )
