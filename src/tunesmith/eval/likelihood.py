"""How likely a model finds reference answers: nats, bytes, tokens it would have chosen itself, and P(end) at the true end.

Shapes: B rows, T positions, N answer positions, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from tunesmith.core.errors import EvaluationError
from tunesmith.core.records import Message
from tunesmith.eval.results import Item, Likelihood
from tunesmith.models.batching import by_length
from tunesmith.models.chat import Chat, Encoded

__all__ = ["encode_items", "likelihoods", "padded"]


def encode_items(chat: Chat, items: Sequence[Item], prompts: Sequence[Sequence[Message]], *, context: int) -> list[Encoded]:
    """Each prompt with its item's reference as the answer. EvaluationError if one does not fit into the context."""
    coded = []
    for item, prompt in zip(items, prompts, strict=True):
        row = chat.encode([*prompt, Message(role="assistant", content=item.reference)])
        if len(row.ids) > context:
            raise EvaluationError(
                "a test item is longer than the context of the base",
                value=f"{len(row.ids)} tokens: {item.id}",
                expected=f"at most {context}",
                hint="--set build.passage_words=60, or a base with a longer context",
            )
        last = max(i for i, mark in enumerate(row.learned) if mark)
        only_last_turn = [mark and i >= _last_turn(row, last) for i, mark in enumerate(row.learned)]
        coded.append(Encoded(row.ids, tuple(only_last_turn)))
    return coded


def _last_turn(row: Encoded, last: int) -> int:
    begin = last
    while begin > 0 and row.learned[begin - 1]:
        begin -= 1
    return begin


def padded(rows: Sequence[Encoded], pad_id: int, device: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """ids_BT padded on the right, and mask_BT with 1 for real tokens."""
    longest = max(len(row.ids) for row in rows)
    ids_BT = torch.tensor([list(row.ids) + [pad_id] * (longest - len(row.ids)) for row in rows], device=device)
    mask_BT = torch.tensor([[1] * len(row.ids) + [0] * (longest - len(row.ids)) for row in rows], device=device)
    return ids_BT, mask_BT


def likelihoods(
    model: Any,
    chat: Chat,
    items: Sequence[Item],
    rows: Sequence[Encoded],
    *,
    batch_examples: int,
    on_done: Callable[[int], None] = lambda n: None,
) -> tuple[Likelihood, ...]:
    """One Likelihood an item, from `rows` as `encode_items` gives them, in order. Computed in float32 from the logits on."""
    found: dict[int, Likelihood] = {}
    model.eval()
    for batch in by_length([len(row.ids) for row in rows], most=batch_examples):
        ids_BT, mask_BT = padded([rows[i] for i in batch], chat.pad_id, model.device)
        with torch.inference_mode():
            logits_BTV = model(input_ids=ids_BT, attention_mask=mask_BT, use_cache=False).logits
            for place, i in enumerate(batch):
                found[i] = _score(logits_BTV[place], chat, items[i], rows[i])
        on_done(len(batch))
    return tuple(found[i] for i in range(len(rows)))


def _score(logits_TV: torch.Tensor, chat: Chat, item: Item, row: Encoded) -> Likelihood:
    """The end token is not part of the author's words: it has its own probability and stays out of the sums."""
    at = torch.tensor([i for i, mark in enumerate(row.learned) if mark and i > 0], device=logits_TV.device)
    target_N = torch.tensor(row.ids, device=logits_TV.device)[at]
    log_p_NV = torch.log_softmax(logits_TV[at - 1].float(), -1)
    nats_N = -log_p_NV.gather(1, target_N[:, None])[:, 0]
    right_N = log_p_NV.argmax(-1) == target_N
    ends = int(target_N[-1]) in chat.end_ids
    words = slice(None, -1) if ends else slice(None)
    return Likelihood(
        item_id=item.id,
        nats=float(nats_N[words].double().sum()),
        num_tokens=int(nats_N[words].numel()),
        num_bytes=len(item.reference.encode()),
        correct_tokens=int(right_N[words].sum()),
        end_probability=float((-nats_N[-1]).exp()) if ends else None,
    )
