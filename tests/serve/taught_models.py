"""A tiny model that learned a conversation with tools by heart: it calls a tool, and answers when it has the result."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, LlamaForCausalLM

from fakes import make_base
from tunesmith.models.chat import open_chat
from tunesmith.models.load import find_base

__all__ = ["Lesson", "teach"]

Lesson = tuple[list[dict[str, Any]], list[dict[str, Any]] | None, str]
"""Turns as a template takes them, tools, and what to answer."""


def teach(folder: Path, template: str, lessons: Sequence[Lesson], *, steps: int = 300) -> Path:
    """A base in `folder` that gives these answers, greedily; its loss is checked."""
    make_base(folder, template=template)
    base = find_base(str(folder))
    chat = open_chat(base)
    torch.manual_seed(1)
    config = AutoModelForCausalLM.from_pretrained(folder).config
    config.hidden_size, config.intermediate_size, config.head_dim = 64, 128, 16
    model: Any = LlamaForCausalLM(config)
    rows = []
    for turns, tools, answer in lessons:
        prompt = chat.encode_turns(turns, tools)
        said = [*chat.tokenizer(answer, add_special_tokens=False)["input_ids"], chat.end_ids[0]]
        rows.append((torch.tensor([prompt + said]), len(prompt)))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2, weight_decay=0.0)
    worst = 1.0
    for _ in range(steps):
        worst = 0.0
        for ids, begin in rows:
            logits = model(input_ids=ids, logits_to_keep=ids.shape[1] - begin + 1).logits[0, :-1]
            loss = torch.nn.functional.cross_entropy(logits, ids[0, begin:])
            torch.autograd.backward(loss)
            worst = max(worst, loss.item())
        optimizer.step()
        optimizer.zero_grad()
        if worst < 0.01:
            break
    assert worst < 0.05, f"the loss is still {worst:.3f}"
    model.save_pretrained(folder)
    return folder
