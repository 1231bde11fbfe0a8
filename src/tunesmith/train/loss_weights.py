"""How much each target token counts in the loss: by its source, by its row and by its turn.

Shapes: N target tokens of a batch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase

import torch

from tunesmith.core.answer_weights import answer_weights, number_in
from tunesmith.core.errors import TrainingError
from tunesmith.core.records import MIXED, Example
from tunesmith.models.chat import Chat
from tunesmith.train.units import Batch, Unit

__all__ = ["LossWeights", "weights_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LossWeights:
    """What weighs: patterns of sources, the column with a row's weight, and whether the last answer alone counts."""

    sources: Mapping[str, float]
    column: str
    last_turn_only: bool

    def check(self, examples: Mapping[str, Sequence[Example]]) -> None:
        """TrainingError for weights that are none, that nothing has, or that leave a split without anything to learn."""
        rows = [row for part in examples.values() for row in part]
        for pattern in self.sources:
            if not any(fnmatchcase(row.source, pattern) for row in rows):
                raise TrainingError(
                    "a weight in the loss fits no source",
                    value=f"objective.source_weights: {pattern}",
                    expected=f"a source or a pattern; there are {', '.join(sorted({row.source for row in rows})[:8])}",
                    hint=f"take {pattern} out of objective.source_weights, or name a source",
                )
        if self.column and not any(self.column in row.meta for row in rows):
            columns = sorted({name for row in rows for name in row.meta})
            raise TrainingError(
                "no row has the column that holds its weight",
                value=f"objective.weight_column: {self.column}",
                expected=f"one of the columns of the rows: {', '.join(columns[:8]) or 'they have none'}",
                hint="--set objective.weight_column=NAME, or leave it out",
            )
        for name, part in examples.items():
            if part and not any(any(self._answers(row)) for row in part):
                raise TrainingError(
                    f"every answer of the {name} split has the weight 0 in the loss",
                    value=f"{len(part)} rows",
                    expected="one answer at least with a weight above 0",
                    hint="raise a weight in objective.source_weights, in the column objective.weight_column, or of a turn",
                )

    def units(self, example: Example, chat: Chat, *, max_tokens: int) -> list[Unit]:
        """The rows of an example as units, each with the weights of its target tokens where they are not all 1. An answer of
        weight 0 is no target; a row without any target of some weight is left out."""
        weights = self._answers(example)
        rows = chat.rows(example.messages, max_tokens=max_tokens)
        kind = example.origin.kind if example.origin is not None else _kind_of_mixed(example)
        if all(weight == 1 for weight in weights):
            return [Unit((row,), weight=sum(row.learned[1:]), kind=kind) for row in rows]
        answers = [number for number, message in enumerate(example.messages) if message.role == "assistant"]
        by_turn = dict(zip(answers, weights, strict=True))
        made = []
        for row, turns in zip(rows, chat.turns(example.messages, max_tokens=max_tokens), strict=True):
            weight_T = [by_turn.get(turn, 0.0) for turn in turns]
            weight_N = tuple(weight for weight in weight_T[1:] if weight)  # nothing predicts the first token
            learned = tuple(mark and weight > 0 for mark, weight in zip(row.learned, weight_T, strict=True))
            if weight_N:
                uneven = weight_N if any(weight != 1 for weight in weight_N) else ()
                made.append(Unit((replace(row, learned=learned),), weight=sum(weight_N), signal=uneven, kind=kind))
        return made

    def _answers(self, example: Example) -> tuple[float, ...]:
        """The weight of each answer: that of its turn times those of its row and its source."""
        count = sum(message.role == "assistant" for message in example.messages)
        try:
            turns = answer_weights(example.meta, count)
            row = number_in(example.meta.get(self.column, "1")) if self.column else 1.0
        except ValueError as error:
            raise TrainingError(
                "a weight in the loss cannot be read",
                value=f"{error}, in row {example.id}",
                expected="a number, 0 or more, for each row, and for each answer of a conversation",
                hint="correct the row, or leave objective.weight_column out",
            ) from error
        if self.last_turn_only:
            turns = (*(0.0,) * (count - 1), *turns[-1:])
        source = next((w for pattern, w in self.sources.items() if fnmatchcase(example.source, pattern)), 1.0)
        return tuple(weight * row * source for weight in turns)


def weights_of(batch: Batch) -> torch.Tensor | None:
    """weight_N of the target tokens of a batch in float32; None where each counts 1."""
    if not any(unit.signal for unit in batch.units):
        return None
    own = [unit.signal or (1.0,) * sum(sum(row.learned[1:]) for row in unit.rows) for unit in batch.units]
    return torch.tensor([weight for weights in own for weight in weights], device=batch.layout.row_N.device)


def _kind_of_mixed(example: Example) -> str:
    """The kind of a row that people wrote; a user's own column of that name, with other values, is none."""
    return "general" if example.meta.get(MIXED) == "general" else ""
