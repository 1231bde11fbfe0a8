"""ln p of the target tokens of rows under a model in this process: as token trees if that is exact, else padded.

Shapes: B rows, T positions, N target positions, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

import torch

from tunesmith.models.batching import TOKENS, by_length, padded_tokens
from tunesmith.models.chat import Encoded
from tunesmith.models.packed.head import score_logits
from tunesmith.models.packed.model import PackedModel, packed
from tunesmith.models.packed.probe import why_not_packed
from tunesmith.systems.system import TokenLogprobs

__all__ = ["padded", "token_logprobs"]

_Scored = Iterator[tuple[torch.Tensor, torch.Tensor]]


def token_logprobs(
    model: Any,
    rows: Sequence[Encoded],
    *,
    pad_id: int,
    batch_examples: int,
    adapter: bool = True,
    on_done: Callable[[int], None] = lambda count: None,
) -> list[TokenLogprobs]:
    """One TokenLogprobs per row, in order, computed in float32 from the logits on. At most `batch_examples` rows at once.

    `adapter`: whether the model's adapter is on, so that a trial of token trees counts for that state alone.
    """
    if not rows:
        return []
    found: dict[int, TokenLogprobs] = {}
    model.eval()
    with ExitStack() as stack:
        score, tokens = partial(_scored_padded, model, pad_id), padded_tokens(model.get_output_embeddings().weight.shape[0])
        if not _refused(model, rows, adapter=adapter):
            lean = stack.enter_context(packed(model))
            score, tokens = partial(_scored_by_tree, lean), TOKENS
        for batch in by_length([len(row.ids) for row in rows], most=batch_examples, tokens=tokens):
            for i, (log_p_N, right_N) in zip(batch, score([rows[i] for i in batch]), strict=True):
                found[i] = TokenLogprobs(tuple(log_p_N.tolist()), tuple(right_N.tolist()))
            on_done(len(batch))
    return [found[i] for i in range(len(rows))]


@dataclass(frozen=True, slots=True)
class _Trial:
    """What a trial of token trees gave, on rows of up to `longest` tokens."""

    longest: int
    reason: str


_TRIALS: WeakKeyDictionary[Any, dict[bool, _Trial]] = WeakKeyDictionary()


def _refused(model: Any, rows: Sequence[Encoded], *, adapter: bool) -> str:
    """Why token trees are not this model's own numbers; a trial on rows as long as these is not made twice."""
    longest = max(len(row.ids) for row in rows)
    known = _TRIALS.setdefault(model, {})
    trial = known.get(adapter)
    if trial is None or trial.longest < longest:
        trial = known[adapter] = _Trial(longest, why_not_packed(model, rows))
    return trial.reason


def padded(rows: Sequence[Encoded], pad_id: int, device: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """ids_BT padded on the right, and mask_BT with 1 for real tokens."""
    longest = max(len(row.ids) for row in rows)
    ids_BT = torch.tensor([list(row.ids) + [pad_id] * (longest - len(row.ids)) for row in rows], device=device)
    mask_BT = torch.tensor([[1] * len(row.ids) + [0] * (longest - len(row.ids)) for row in rows], device=device)
    return ids_BT, mask_BT


def _scored_by_tree(lean: PackedModel, rows: Sequence[Encoded]) -> _Scored:
    """(ln p_N, right_N) of each row's target tokens."""
    tree = lean.lay_out(rows)
    log_p_N, right_N = lean.score(tree)
    for number in range(len(rows)):
        yield log_p_N[tree.row_N == number], right_N[tree.row_N == number]


def _scored_padded(model: Any, pad_id: int, rows: Sequence[Encoded]) -> _Scored:
    """The same from a padded batch and the model's plain forward pass."""
    ids_BT, mask_BT = padded(rows, pad_id, model.device)
    with torch.inference_mode():
        logits_BTV = model(input_ids=ids_BT, attention_mask=mask_BT, use_cache=False).logits
    for logits_TV, row in zip(logits_BTV, rows, strict=True):
        at = torch.tensor([i for i, mark in enumerate(row.learned) if mark and i > 0], device=logits_TV.device)
        target_N = torch.tensor(row.ids, device=logits_TV.device)[at]
        yield score_logits(logits_TV[at - 1], target_N)
