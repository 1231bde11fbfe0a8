"""Letting a model speak: many prompts at once for evaluation, or one token after the other for chat.

Greedy throughout: the comparison of systems must not hang on luck.
Shapes: B prompts, T positions, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from tunesmith.core.errors import EvaluationError
from tunesmith.core.records import FinishReason, Message
from tunesmith.models.batching import by_length
from tunesmith.models.chat import Chat

__all__ = ["Completion", "generate", "stream"]


@dataclass(frozen=True, slots=True)
class Completion:
    """An answer. `finish_reason` is stop if the model ended it itself, length if it was cut. The end token counts."""

    text: str
    finish_reason: FinishReason
    num_tokens: int


def generate(
    model: Any,
    chat: Chat,
    prompts: Sequence[Sequence[Message]],
    *,
    max_new_tokens: int,
    batch_examples: int,
    context: int,
    on_done: Callable[[int], None] = lambda count: None,
) -> list[Completion]:
    """Greedy answers to `prompts`, in their order. Prompts of like length share a batch, padded on the left.

    An answer ends at the model's end token, at `max_new_tokens`, or where the context is full. EvaluationError for a
    prompt that leaves no room for an answer.
    """
    coded = [chat.encode_prompt(prompt) for prompt in prompts]
    for ids, prompt in zip(coded, prompts, strict=True):
        if len(ids) >= context:
            raise EvaluationError(
                "a prompt fills the whole context",
                value=f"{len(ids)} tokens: {prompt[-1].content[:60]}",
                expected=f"fewer than {context} tokens",
                hint="shorten the prompt or choose a base with a longer context",
            )
    answers: dict[int, Completion] = {}
    for near in by_length([len(ids) for ids in coded], most=batch_examples):
        rooms = {i: min(max_new_tokens, context - len(coded[i])) for i in near}
        for room in sorted(set(rooms.values()), reverse=True):  # no row takes room from another
            batch = [i for i in near if rooms[i] == room]
            rows_BT = _continue(model, chat, [coded[i] for i in batch], room)
            for i, row in zip(batch, rows_BT, strict=True):
                answers[i] = _completion(chat, row)
            on_done(len(batch))
    return [answers[i] for i in range(len(coded))]


def _continue(model: Any, chat: Chat, coded: Sequence[Sequence[int]], room: int) -> list[list[int]]:
    from transformers import GenerationConfig

    longest = max(map(len, coded))
    ids_BT = torch.tensor([[chat.pad_id] * (longest - len(ids)) + list(ids) for ids in coded], device=model.device)
    mask_BT = torch.tensor([[0] * (longest - len(ids)) + [1] * len(ids) for ids in coded], device=model.device)
    settings = GenerationConfig(max_new_tokens=room, do_sample=False, eos_token_id=list(chat.end_ids), pad_token_id=chat.pad_id)
    with torch.inference_mode():
        out_BT = model.generate(input_ids=ids_BT, attention_mask=mask_BT, generation_config=settings)
    rows: list[list[int]] = out_BT[:, longest:].tolist()
    return rows


def _completion(chat: Chat, ids: Sequence[int]) -> Completion:
    end = next((n for n, token in enumerate(ids) if token in chat.end_ids), None)
    if end is None:
        return Completion(chat.decode(ids), "length", len(ids))
    return Completion(chat.decode(ids[:end]), "stop", end + 1)


def stream(model: Any, chat: Chat, messages: Sequence[Message], *, max_new_tokens: int, context: int) -> Iterator[str]:
    """The greedy answer to one conversation, piece by piece as it is made. Pieces never end inside a character."""
    prompt = chat.encode_prompt(messages)
    ids_BT = torch.tensor([prompt], device=model.device)
    made: list[int] = []
    shown, cache = "", None
    for _ in range(min(max_new_tokens, context - len(prompt))):
        with torch.inference_mode():
            out = model(input_ids=ids_BT, past_key_values=cache, use_cache=True)
        cache = out.past_key_values
        token = int(out.logits[0, -1].argmax())
        if token in chat.end_ids:
            return
        made.append(token)
        ids_BT = torch.tensor([[token]], device=model.device)
        text = chat.decode(made)
        if not text.endswith("�") and len(text) > len(shown):  # half a character: wait for its other bytes
            yield text[len(shown) :]
            shown = text
