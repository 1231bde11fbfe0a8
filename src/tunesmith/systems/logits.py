"""Logits of whole rows, from a model at hand or kept for when it is gone.

Shapes: T positions of one row, D width, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import torch

from tunesmith.models.chat import Encoded

__all__ = ["keep_logits", "model_logits"]


def model_logits(model: Any, row: Encoded) -> torch.Tensor:
    """logits_TV of every position of a row, in the model's own number type."""
    with torch.inference_mode():
        logits_TV: torch.Tensor = model(input_ids=torch.tensor([row.ids], device=model.device), use_cache=False).logits[0]
    return logits_TV


def keep_logits(model: Any, rows: Sequence[Encoded]) -> Iterable[torch.Tensor] | None:
    """Logits of `rows` that can be read again and again, in order, after the model's layers are gone.

    The logits of 64 rows of a vocabulary of 49,152 take gigabytes; what the output matrix is given takes a hundredth of that.
    So the hidden states are kept, with a copy of the matrix: the model's own may lie in a mapped file, all of which would stay
    in memory. None where that product is not what the model gives, to the bit: it scales or caps its logits.
    """
    head = model.get_output_embeddings()
    if not isinstance(head, torch.nn.Module):
        return None
    given: list[torch.Tensor] = []
    hidden: list[torch.Tensor] = []
    copied = deepcopy(head)
    hook = head.register_forward_pre_hook(lambda _, arguments: given.extend(arguments))
    try:
        for row in rows:
            given.clear()
            logits_TV = model_logits(model, row)
            if len(given) != 1:
                return None
            hidden.append(given[0])
            with torch.inference_mode():
                if not torch.equal(copied(hidden[-1])[0], logits_TV):
                    return None
    finally:
        hook.remove()
    return _Kept(copied, tuple(hidden))


@dataclass(frozen=True, slots=True)
class _Kept:
    """hidden (1, T, D) of each row, and the module that makes logits of it."""

    head: torch.nn.Module
    hidden: tuple[torch.Tensor, ...]

    def __iter__(self) -> Iterator[torch.Tensor]:
        for hidden_1TD in self.hidden:
            with torch.inference_mode():
                logits_TV = self.head(hidden_1TD)[0]
            yield logits_TV
