"""How likely a model finds reference answers: nats, bytes, tokens it would have chosen itself, and P(end) at the true end.

Shapes: B rows, T positions, N answer positions, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any

import torch

from tunesmith.core.errors import EvaluationError
from tunesmith.core.records import Message
from tunesmith.eval.results import Item, Likelihood
from tunesmith.models.batching import TOKENS, by_length, padded_tokens
from tunesmith.models.chat import Chat, Encoded
from tunesmith.models.packed.head import score_logits
from tunesmith.models.packed.model import PackedModel, packed
from tunesmith.models.packed.probe import why_not_packed

__all__ = ["encode_items", "likelihoods", "padded"]


def encode_items(chat: Chat, items: Sequence[Item], prompts: Sequence[Sequence[Message]], *, context: int) -> list[Encoded]:
    """Each prompt with its item's reference as the answer; marked are the tokens of the reference and the end token after it.

    Raises EvaluationError if an item does not fit into the context, or if what is marked does not read as the reference.
    """
    coded = []
    for item, prompt in zip(items, prompts, strict=True):
        row = chat.encode_answer([*prompt, Message(role="assistant", content=item.reference)])
        if len(row.ids) > context:
            raise EvaluationError(
                "a test item is longer than the context of the base",
                value=f"{len(row.ids)} tokens: {item.id}",
                expected=f"at most {context}",
                hint="--set build.passage_words=60, or a base with a longer context",
            )
        _check_words(chat, item, row)
        coded.append(row)
    return coded


def _check_words(chat: Chat, item: Item, row: Encoded) -> None:
    """The tokens to be scored read as the reference, or as what the tokenizer itself makes of it (it may normalise)."""
    scored = [token for token, mark in zip(row.ids, row.learned, strict=True) if mark]
    read = chat.decode(scored[:-1] if scored and scored[-1] in chat.end_ids else scored).strip()
    if read != item.reference.strip() and read != chat.decode(chat.encode_text(item.reference)).strip():
        raise EvaluationError(
            "the tokens to be scored are not the words of the reference",
            value=f"{item.id}: {read[:80]!r}",
            expected=repr(item.reference.strip()[:80]),
            hint="choose a base with another tokenizer or chat template: bits per byte cannot be told with this one",
        )


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
    """One Likelihood an item, from `rows` as `encode_items` gives them, in order. Computed in float32 from the logits on.

    Rows go through the model as token trees where that gives its own numbers, else padded.
    """
    if not rows:
        return ()
    found: dict[int, Likelihood] = {}
    model.eval()
    with ExitStack() as stack:
        score, tokens = _scored_padded, padded_tokens(model.get_output_embeddings().weight.shape[0])
        if not why_not_packed(model, rows):
            lean = stack.enter_context(packed(model))
            score, tokens = partial(_scored_by_tree, lean), TOKENS
        for batch in by_length([len(row.ids) for row in rows], most=batch_examples, tokens=tokens):
            for i, (log_p_N, right_N) in zip(batch, score(model, chat, [rows[i] for i in batch]), strict=True):
                found[i] = _likelihood(log_p_N, right_N, chat, items[i], rows[i])
            on_done(len(batch))
    return tuple(found[i] for i in range(len(rows)))


Scored = Iterator[tuple[torch.Tensor, torch.Tensor]]


def _scored_by_tree(lean: PackedModel, model: Any, chat: Chat, rows: Sequence[Encoded]) -> Scored:
    """(log p_N, right_N) of each row's learned tokens."""
    tree = lean.lay_out(rows)
    log_p_N, right_N = lean.score(tree)
    for number in range(len(rows)):
        yield log_p_N[tree.row_N == number], right_N[tree.row_N == number]


def _scored_padded(model: Any, chat: Chat, rows: Sequence[Encoded]) -> Scored:
    """The same from a padded batch and the model's plain forward pass."""
    ids_BT, mask_BT = padded(rows, chat.pad_id, model.device)
    with torch.inference_mode():
        logits_BTV = model(input_ids=ids_BT, attention_mask=mask_BT, use_cache=False).logits
    for logits_TV, row in zip(logits_BTV, rows, strict=True):
        at = torch.tensor([i for i, mark in enumerate(row.learned) if mark and i > 0], device=logits_TV.device)
        target_N = torch.tensor(row.ids, device=logits_TV.device)[at]
        yield score_logits(logits_TV[at - 1], target_N)


def _likelihood(log_p_N: torch.Tensor, right_N: torch.Tensor, chat: Chat, item: Item, row: Encoded) -> Likelihood:
    """The end token is not part of the author's words: it has its own probability and stays out of the sums."""
    last = next(i for i in range(len(row.ids) - 1, -1, -1) if row.learned[i])
    ends = row.ids[last] in chat.end_ids
    words = slice(None, -1) if ends else slice(None)
    return Likelihood(
        item_id=item.id,
        nats=float(-log_p_N[words].double().sum()),
        num_tokens=int(log_p_N[words].numel()),
        num_bytes=len(item.reference.encode()),
        correct_tokens=int(right_N[words].sum()),
        end_probability=float(log_p_N[-1].exp()) if ends else None,
    )
