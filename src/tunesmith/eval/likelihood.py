"""How likely a model finds reference answers: nats, bytes, tokens it would have chosen itself, and P(end) at the true end.

Shapes: N answer positions.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch

from tunesmith.core.errors import EvaluationError
from tunesmith.core.records import Message
from tunesmith.eval.results import Item, Likelihood
from tunesmith.models.chat import Chat, Encoded
from tunesmith.models.text_rows import encode_text_row
from tunesmith.systems.logprobs import token_logprobs
from tunesmith.systems.system import TokenLogprobs

__all__ = ["checked_logprobs", "encode_items", "likelihoods", "likelihoods_of"]

_ROUNDING = 1e-3  # nats by which a probability of one may be above it


def encode_items(chat: Chat, items: Sequence[Item], prompts: Sequence[Sequence[Message]], *, context: int) -> list[Encoded]:
    """Each prompt with its item's reference as the answer; marked are the tokens of the reference and the end token after it.
    Without a prompt the reference is a plain text, written without the chat template; every token that has one before it is
    marked.

    Raises EvaluationError if an item does not fit into the context, or if what is marked does not read as the reference.
    """
    coded = []
    for item, prompt in zip(items, prompts, strict=True):
        row = encode_text_row(chat, item.reference, ends=False) if not prompt else _answer_row(chat, item, prompt)
        if len(row.ids) > context:
            raise EvaluationError(
                "a test item is longer than the context of the base",
                value=f"{len(row.ids)} tokens: {item.id}",
                expected=f"at most {context}",
                hint="--set build.passage_words=60, or a base with a longer context",
            )
        coded.append(row)
    return coded


def _answer_row(chat: Chat, item: Item, prompt: Sequence[Message]) -> Encoded:
    row = chat.encode_answer([*prompt, Message(role="assistant", content=item.reference)])
    _check_words(chat, item, row)
    return row


def _check_words(chat: Chat, item: Item, row: Encoded) -> None:
    """The tokens to be scored read as the reference, or as what the tokenizer itself makes of it (it may normalise)."""
    scored = [token for token, mark in zip(row.ids, row.learned, strict=True) if mark]
    read = chat.decode(scored[:-1] if scored and scored[-1] in chat.end_ids else scored).strip()
    if read != item.reference.strip() and read != chat.decode(chat.encode_text(item.reference)).strip():
        raise EvaluationError(
            "the tokens to be scored are not the words of the reference",
            value=f"{item.id}: {read[:80]!r}",
            expected=repr(item.reference.strip()[:80]),
            hint="choose a base with another tokenizer or chat template: bits per byte cannot be measured with this one",
        )


def likelihoods(
    model: Any,
    chat: Chat,
    items: Sequence[Item],
    rows: Sequence[Encoded],
    *,
    batch_examples: int,
    on_done: Callable[[int], None] = lambda n: None,
) -> tuple[Likelihood, ...]:
    """One Likelihood an item under a model in this process, from `rows` as `encode_items` gives them, in order."""
    found = token_logprobs(model, rows, pad_id=chat.pad_id, batch_examples=batch_examples, on_done=on_done)
    return likelihoods_of(found, chat, items, rows)


def checked_logprobs(
    name: str, found: Sequence[TokenLogprobs] | None, rows: Sequence[Encoded]
) -> Sequence[TokenLogprobs] | None:
    """The log-probabilities of system `name` for `rows`; EvaluationError unless there is one number per target token, and each
    can be the logarithm of a probability."""
    if found is None:
        return None
    wanted = [sum(row.learned[1:]) for row in rows]
    given = [len(one.log_p) if len(one.log_p) == len(one.is_top) else -1 for one in found]
    if wanted != given:
        at = next((n for n, (w, g) in enumerate(zip(wanted, given, strict=False)) if w != g), min(len(wanted), len(given)))
        raise EvaluationError(
            f"{name} gave other log-probabilities than it was asked for",
            value=f"{len(given)} rows, {given[at] if at < len(given) else 'none'} in row {at + 1}",
            expected=f"{len(wanted)} rows, {wanted[at] if at < len(wanted) else 'none'} in row {at + 1}: one per target token",
            hint=f"fix `logprobs` in the file of the package tunesmith.systems that declares {name}",
        )
    for at, one in enumerate(found):
        if wrong := [log_p for log_p in one.log_p if not -math.inf < log_p <= _ROUNDING]:
            raise EvaluationError(
                f"{name} gave log-probabilities that cannot be",
                value=f"{wrong[0]:g} in row {at + 1}",
                expected="a finite number of at most 0 for each token",
                hint="check whether the model diverged, or what its engine reports as log-probabilities",
            )
    return found


def likelihoods_of(
    found: Sequence[TokenLogprobs], chat: Chat, items: Sequence[Item], rows: Sequence[Encoded]
) -> tuple[Likelihood, ...]:
    """One Likelihood an item, from what a system gave for `rows`."""
    return tuple(_likelihood(one, chat, item, row) for one, item, row in zip(found, items, rows, strict=True))


def _likelihood(found: TokenLogprobs, chat: Chat, item: Item, row: Encoded) -> Likelihood:
    """The end token is not part of the author's words: it has its own probability and stays out of the sums."""
    last = next(i for i in range(len(row.ids) - 1, -1, -1) if row.learned[i])
    ends = row.ids[last] in chat.end_ids
    log_p_N, words = torch.tensor(found.log_p, dtype=torch.float32), slice(None, -1) if ends else slice(None)
    return Likelihood(
        item_id=item.id,
        nats=float(-log_p_N[words].double().sum()),
        num_tokens=len(log_p_N[words]),
        num_bytes=len(item.reference.encode()) if item.prompt else _scored_bytes(chat, item, row),
        correct_tokens=sum(found.is_top[words]),
        end_probability=float(log_p_N[-1].exp()) if ends else None,
    )


def _scored_bytes(chat: Chat, item: Item, row: Encoded) -> int:
    """Bytes of a plain text that are scored: all, or without its first token where the tokenizer writes none before it."""
    whole = chat.encode_text(item.reference)
    unscored = len(whole) - row.num_learned
    return len(item.reference.encode()) - (len(chat.decode(whole[:unscored]).encode()) if unscored else 0)
