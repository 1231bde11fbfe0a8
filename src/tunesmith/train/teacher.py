"""The model that a method learns from (see `train.method.Taught`): opened next to the one that is trained.

Both must read the same token ids as the same texts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from tunesmith.core.errors import TrainingError
from tunesmith.core.reporter import Reporter
from tunesmith.models.chat import Chat
from tunesmith.models.load import BaseFolder, PrecisionName, load_model, load_tokenizer
from tunesmith.train.execution import ExecutionPath, execution_path
from tunesmith.train.method import Method, Sampled, Taught
from tunesmith.train.units import Unit, rows_of

__all__ = ["check_teacher", "with_teacher"]

_TRIED = 64  # rows of the run whose text both tokenizers must cut alike


@contextmanager
def with_teacher(
    path: ExecutionPath,
    objective: Method,
    units: Sequence[Unit],
    *,
    chat: Chat,
    precision: PrecisionName,
    reporter: Reporter,
) -> Iterator[ExecutionPath]:
    """The path, with that of the teacher if the method has one. Only `loss` and what it computes uses it; it never moves.

    TrainingError if its tokenizer is another, or if it cannot read rows as long as those of the run.
    """
    if not isinstance(objective, Taught):
        yield path
        return
    folder = objective.find_teacher()
    drawn = objective.draws.max_new_tokens if isinstance(objective, Sampled) and objective.draws.share else 0
    check_teacher(folder, chat, units, drawn=drawn)
    model = load_model(folder, precision).eval().requires_grad_(False)
    with execution_path(model, units, (), pad_id=chat.pad_id, share=path.shares, trunk=None, reporter=reporter) as teaching:
        yield replace(path, taught_by=teaching, note=f"{path.note}; the teacher {folder.name} on {teaching.note}")


def check_teacher(folder: BaseFolder, chat: Chat, units: Sequence[Unit], *, drawn: int = 0) -> None:
    """TrainingError unless the teacher reads the token ids of this run as the texts that they are, prompts with `drawn` more
    tokens included."""
    rows = rows_of(units)
    other = load_tokenizer(folder)
    own, theirs = chat.tokenizer.get_vocab(), other.get_vocab()
    apart = next((token for token in (*own, *theirs) if own.get(token) != theirs.get(token)), None)
    if apart is not None:
        raise _another_tokenizer(folder, f"the token {apart!r} is {own.get(apart)} here and {theirs.get(apart)} there")
    for row in rows[:_TRIED]:
        text = chat.tokenizer.decode(list(row.ids), clean_up_tokenization_spaces=False)
        if _cut(chat.tokenizer, text) != _cut(other, text):
            raise _another_tokenizer(folder, f"it cuts {text[:60]!r} into other tokens")
    asked = max(row.learned.index(True) if any(row.learned) else len(row.ids) for row in rows)
    if (longest := max(asked + drawn, *(len(row.ids) for row in rows))) > folder.context:
        raise TrainingError(
            "the teacher cannot read rows as long as these",
            value=f"{longest} tokens",
            expected=f"{folder.context} tokens, the context of {folder.name}",
            hint=f"--set train.max_tokens={folder.context} with a smaller objective.max_new_tokens, or choose another teacher",
        )


def _cut(tokenizer: Any, text: str) -> list[int]:
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])


def _another_tokenizer(folder: BaseFolder, value: str) -> TrainingError:
    return TrainingError(
        "the teacher has another tokenizer than the base",
        value=f"{folder.name}: {value}",
        expected="a teacher of the base's own family: its distributions are compared token by token",
        hint="choose a larger model of the same family, or let another teacher write the answers (docs/concepts/methods.md)",
    )
