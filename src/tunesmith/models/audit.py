"""The label audit: what the rows of a dataset would teach, counted before anything is trained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from tunesmith.core.records import Example
from tunesmith.models.chat import Chat, Encoded

__all__ = ["Audit", "audit"]


@dataclass(frozen=True, slots=True)
class Audit:
    """What the labels of a dataset hold. The lists name example ids at fault."""

    num_examples: int
    num_learned: int
    num_cut: int
    cut_share: float
    without_end: tuple[str, ...]
    without_labels: tuple[str, ...]
    cut: tuple[str, ...]
    prompt_differs: tuple[str, ...]
    rewritten: tuple[str, ...]
    bos_counts: tuple[int, ...]


def audit(chat: Chat, examples: Sequence[Example], encoded: Sequence[Sequence[Encoded]]) -> Audit:
    """Count the faults that ruin a run in silence: cut answers, a missing end token, nothing learned, doubled BOS.

    `encoded`: the rows of each example. Every answer of a conversation must be learned, with its end token. `cut_share` is
    learned tokens lost by cutting over all learned tokens. `prompt_differs`: examples with an answer whose prompt, tokenised
    alone as generation will see it, is not how its row begins. `rewritten`: the template drops words of an answer.
    """
    every = [row for rows in encoded for row in rows]
    learned, lost = sum(row.num_learned for row in every), sum(row.dropped for row in every)
    bos = chat.tokenizer.bos_token_id
    no_end, no_labels, cut, differs, rewritten, counts = [], [], [], [], [], set()
    for example, rows in zip(examples, encoded, strict=True):
        turns = [turn for turn, message in enumerate(example.messages) if message.role == "assistant"]
        if is_cut := any(row.dropped for row in rows):
            cut.append(example.id)
        if not any(row.num_learned for row in rows):
            no_labels.append(example.id)
        if sum(_ended(chat, row) for row in rows) != len(turns) or not turns:
            no_end.append(example.id)
        if not is_cut and any(not _begins(rows, chat.encode_prompt(example.messages[:turn])) for turn in turns):
            differs.append(example.id)
        if chat.rewrites(example.messages):
            rewritten.append(example.id)
        if bos is not None:  # at the start only: some templates open every turn with this token
            counts |= {next((n for n, token in enumerate(row.ids) if token != bos), len(row.ids)) for row in rows}
    return Audit(
        len(examples),
        learned,
        lost,
        lost / max(1, lost + learned),
        tuple(no_end),
        tuple(no_labels),
        tuple(cut),
        tuple(differs),
        tuple(rewritten),
        tuple(sorted(counts)),
    )


def _ended(chat: Chat, row: Encoded) -> int:
    """Answers of a row that are learned with their end token: runs of learned tokens of which the last ends an answer."""
    runs = groupby(zip(row.ids, row.learned, strict=True), key=lambda pair: pair[1])
    return sum([token for token, _ in run][-1] in chat.end_ids for learned, run in runs if learned)


def _begins(rows: Sequence[Encoded], prompt: Sequence[int]) -> bool:
    """Whether a row begins with these ids."""
    return any(row.ids[: len(prompt)] == tuple(prompt) for row in rows)
