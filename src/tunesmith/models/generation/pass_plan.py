"""One forward pass, planned: which tokens go in, their positions, and what each may attend to. Made once, used by every layer.

Tokens are laid out as new base prompts, newest base tokens, newest adapted tokens, new adapted prompts: the order of slots.
Shapes: T tokens of the pass, n slots in work, m new prompts of a side, R longest of them, P prefix, L columns attended.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch

from tunesmith.models.generation.slots import Slots
from tunesmith.models.generation.table import Row

__all__ = ["NewPrompts", "PassPlan", "plan_new"]


@dataclass(slots=True)
class NewPrompts:
    """New prompts of one side. `queries` (m·R) and `keys` (m·(P+R)) number tokens, filled up on the left; `back` undoes it.

    `keys` counts the prefix first, then the tokens of the pass. `rows` names the prompt of every slot from `first_slot` on:
    several slots may begin with the same prompt, which is computed once.
    """

    side: int
    first_slot: int
    begin: int
    end: int
    num_prefix: int
    lengths: tuple[int, ...]
    rows: torch.Tensor
    queries: torch.Tensor
    keys: torch.Tensor
    back: torch.Tensor
    _masks: dict[int, torch.Tensor | None] = field(default_factory=dict)

    @property
    def count(self) -> int:
        """m"""
        return len(self.lengths)

    def mask(self, window: int) -> torch.Tensor | None:
        """What each query may see (m, 1, R, P+R), True where it may; None where plain causal attention says the same."""
        if window not in self._masks:
            R, P = max(self.lengths), self.num_prefix
            if P == 0 and min(self.lengths) == R and not 0 < window < R:
                self._masks[window] = None
                return None
            device = self.queries.device
            own = torch.tensor(self.lengths, device=device)[:, None, None]
            row, column = torch.arange(R, device=device)[:, None], torch.arange(P + R, device=device)
            seen = (column <= row + P) & (column >= R - own)
            if window:
                seen &= row + P - column < window
            self._masks[window] = (seen | (column == row + P))[:, None]  # what fills up sees itself: nothing to divide by zero
        return self._masks[window]


def plan_new(
    side: int, first_slot: int, begin: int, lengths: Sequence[int], rows: Sequence[int], prefix: int, device: torch.device
) -> NewPrompts:
    """Number the tokens of new prompts that lie end to end from token `begin` on; `rows`: the prompt of every slot."""
    longest = max(lengths)
    queries: list[int] = []
    keys: list[int] = []
    back: list[int] = []
    at = begin
    for number, own in enumerate(lengths):
        filling = longest - own
        tokens = range(at, at + own)
        queries += [begin] * filling + list(tokens)
        keys += [prefix + begin] * filling + list(range(prefix)) + [prefix + t for t in tokens]
        back += range(number * longest + filling, (number + 1) * longest)
        at += own
    r, q, k, b = (torch.tensor(numbers, device=device) for numbers in (rows, queries, keys, back))
    return NewPrompts(side, first_slot, begin, at, prefix, tuple(lengths), rows=r, queries=q, keys=k, back=b)


@dataclass(slots=True)
class PassPlan:
    """What attention needs to know of a pass. `count` newest tokens begin at `first_token`, their slots at `first_slot`.

    `starts`: first column of each of those rows; `positions`: place of its newest token in the whole sequence. `explicit`:
    the prefix is kept once and products are written out; otherwise the library's kernel is used and the prefix copied.
    `windows` collects what each layer asked for.
    """

    slots: Slots
    column: int
    explicit: bool
    first_token: int
    first_slot: int
    rows: Sequence[Row]
    num_base: int
    new_prompts: Sequence[NewPrompts]
    device: torch.device
    windows: dict[int, int] = field(default_factory=dict)
    _biases: dict[int, torch.Tensor] = field(default_factory=dict)

    @property
    def count(self) -> int:
        """n"""
        return len(self.rows)

    @property
    def num_prefix(self) -> int:
        """P, as far as it is kept apart from the slots."""
        return self.slots.plan.prefix if self.explicit else 0

    def begin(self, window: int) -> int:
        """The first column that any row attends to."""
        first = min(row.start for row in self.rows)
        return max(first, self.column + 1 - window) if window else first

    def bias(self, window: int, dtype: torch.dtype) -> torch.Tensor:
        """(n, 1, 1, P+L): zero where a row may attend, minus infinity where not."""
        if window not in self._biases:
            starts = torch.tensor([row.start for row in self.rows], device=self.device)[:, None]
            positions = torch.tensor([row.length for row in self.rows], device=self.device)[:, None]
            columns = torch.arange(self.begin(window), self.column + 1, device=self.device)
            own = columns >= starts
            shared = torch.ones(len(self.rows), self.num_prefix, dtype=torch.bool, device=self.device)
            if window:
                own &= self.column - columns < window
                shared &= positions - torch.arange(self.num_prefix, device=self.device) < window
            seen = torch.cat([shared, own], 1)
            self._biases[window] = torch.zeros(seen.shape, dtype=dtype, device=self.device).masked_fill_(~seen, float("-inf"))
        return self._biases[window][:, None, None]
