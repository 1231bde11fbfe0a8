"""The label audit: what the rows of a dataset would teach, counted before anything is trained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from tunesmith.core.labelled import Labelled
from tunesmith.core.records import Message, Preference, Row
from tunesmith.core.texts import Text
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


def audit(chat: Chat, examples: Sequence[Row], encoded: Sequence[Sequence[Encoded]]) -> Audit:
    """Count the faults that silently ruin a run: cut answers, missing end tokens, no target tokens, doubled BOS.

    `encoded`: the rows of each example, as `encode_row` gives them. Every answer of a conversation, and both of a preference,
    must be learned, with its end token. `cut_share` is
    learned tokens lost by cutting over all learned tokens. `prompt_differs`: examples with an answer whose prompt, tokenised
    alone as generation will see it, is not how its row begins. `rewritten`: the template drops words of an answer.
    """
    every = [row for rows in encoded for row in rows]
    learned, lost = sum(row.num_learned for row in every), sum(row.dropped for row in every)
    bos = chat.tokenizer.bos_token_id
    no_end, no_labels, cut, differs, rewritten, counts = [], [], [], [], [], set()
    for example, rows in zip(examples, encoded, strict=True):
        parts = _conversations(example, rows)
        if is_cut := any(row.dropped for row in rows):
            cut.append(example.id)
        if not all(any(row.num_learned for row in own) for _, _, own in parts):
            no_labels.append(example.id)
        if any(sum(_ended(chat, row) for row in own) != len(turns) or not turns for _, turns, own in parts):
            no_end.append(example.id)
        if not is_cut and any(not _prompts_begin(chat, *part) for part in parts):
            differs.append(example.id)
        if any(chat.rewrites(messages) for messages, _, _ in parts):
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


_Part = tuple[tuple[Message, ...], list[int], Sequence[Encoded]]


def _conversations(example: Row, rows: Sequence[Encoded]) -> list[_Part]:
    """The conversations that a row is learned by: their messages, the turns that are learned, and their encoded rows. A text is
    none."""
    if isinstance(example, Text):
        return []
    if isinstance(example, Preference):
        last = [len(example.prompt)]
        return [(example.messages, last, rows[:1]), (example.rejected_messages, last, rows[1:])]
    if isinstance(example, Labelled):
        return [(example.messages, [len(example.prompt)], rows)]
    turns = [turn for turn, message in enumerate(example.messages) if message.role == "assistant"]
    return [(example.messages, turns, rows)]


def _prompts_begin(chat: Chat, messages: Sequence[Message], turns: Sequence[int], rows: Sequence[Encoded]) -> bool:
    """Whether each learned answer comes after the prompt by which it is asked for in use."""
    return all(_begins(rows, chat.encode_prompt(messages[:turn])) for turn in turns)


def _ended(chat: Chat, row: Encoded) -> int:
    """Answers of a row that are trained with their end token: sequences of target tokens whose last one ends an answer."""
    runs = groupby(zip(row.ids, row.learned, strict=True), key=lambda pair: pair[1])
    return sum([token for token, _ in run][-1] in chat.end_ids for learned, run in runs if learned)


def _begins(rows: Sequence[Encoded], prompt: Sequence[int]) -> bool:
    """Whether a row begins with these ids."""
    return any(row.ids[: len(prompt)] == tuple(prompt) for row in rows)
