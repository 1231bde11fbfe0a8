"""Labelled rows to a dataset: rows that teach nothing stop the build unless they are allowed by name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from tunesmith.core.errors import BlockedError, DatasetError
from tunesmith.core.labelled import Labelled
from tunesmith.core.records import Message, digest
from tunesmith.data.dataset.cuts import Drops
from tunesmith.data.dataset.passages import Built

__all__ = ["build_labelled"]


def build_labelled(rows: Sequence[Labelled], *, system_prompt: str, allow: Sequence[str] = ()) -> Built[Labelled]:
    """Labelled rows without blanks at the ends of turns, exact copies dropped, a system message added where there is none.

    Raises:
        BlockedError: rows with an empty answer (`empty_answers`), or an answer that is both good and bad (`same_answers`).
            Allowed by name, such rows are dropped and counted.
        DatasetError: all rows have the same label.
    """
    stripped = [_stripped(row) for row in rows]
    empty = [row for row in stripped if not row.completion]
    labels: dict[str, set[bool]] = {}
    for row in stripped:
        labels.setdefault(_key(row), set()).add(row.label)
    both = [row for row in stripped if row.completion and len(labels[_key(row)]) == 2]
    _block("empty_answers", "have an empty answer", empty, len(rows), "words in every answer", allow)
    _block("same_answers", "mark one answer as good and as bad", both, len(rows), "one label for an answer", allow)
    drops = Drops()
    kept: dict[str, Labelled] = {}
    for row in stripped:
        asked = row.prompt[-1].content if row.prompt else ""
        if not asked:
            drops.add("empty prompt", row.completion)
        elif not row.completion:
            drops.add("empty answer", asked)
        elif len(labels[_key(row)]) == 2:
            drops.add("answer is good and bad", asked)
        elif _key(row) in kept:
            drops.add("exact copy of another answer", f"{asked} → {row.completion}")
        else:
            kept[_key(row)] = _with_system(row, system_prompt.strip())
    if kept and len({row.label for row in kept.values()}) == 1:
        label = next(iter(kept.values())).label
        raise DatasetError(
            "all labelled answers have the same label",
            value=f"{len(kept)} rows with label {str(label).lower()}",
            expected="answers that are good and answers that are bad",
            hint="--set objective.kind=sft learns good answers alone" if label else "add rows with label true",
        )
    return Built(examples=tuple(kept.values()), dropped=dict(drops.counts), dropped_samples=drops.samples)


def _key(row: Labelled) -> str:
    return digest(*(f"{m.role}\n{m.content}" for m in row.prompt if m.role != "system"), row.completion)


def _stripped(row: Labelled) -> Labelled:
    prompt = tuple(replace(message, content=message.content.strip()) for message in row.prompt)
    return replace(row, prompt=prompt, completion=row.completion.strip())


def _with_system(row: Labelled, text: str) -> Labelled:
    if not text or row.prompt[0].role == "system":
        return row
    return replace(row, prompt=(Message(role="system", content=text), *row.prompt))


def _block(name: str, what: str, rows: Sequence[Labelled], total: int, expected: str, allow: Sequence[str]) -> None:
    if rows and name not in allow:
        raise BlockedError(
            f"some labelled rows {what}",
            name=name,
            value=f"{len(rows)} of {total}, first {rows[0].id} ({rows[0].source})",
            expected=expected,
            hint=f"fix or drop these rows, or --allow {name}, which leaves them out",
        )
