"""The library's own generation, one prompt at a time: for models that do not fit into slots. Slow, and exact by definition."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch

from tunesmith.models.adapters import without_adapter
from tunesmith.models.generation.engine import Made
from tunesmith.models.generation.requests import Job
from tunesmith.models.generation.sampling import Voice, choose

__all__ = ["run_plain"]


def run_plain(model: Any, jobs: Sequence[Job], ends: Callable[[int, Sequence[int]], bool]) -> Iterator[list[Made]]:
    """The tokens of each job, all at once when its answer is done."""
    for number, job in enumerate(jobs):
        if job.adapter:
            tokens = _answer(model, job, lambda said, n=number: ends(n, said))  # type: ignore[misc]
        else:
            with without_adapter(model):
                tokens = _answer(model, job, lambda said, n=number: ends(n, said))  # type: ignore[misc]
        yield [Made(number, token, at == len(tokens)) for at, token in enumerate(tokens, start=1)]


def _answer(model: Any, job: Job, ended: Callable[[Sequence[int]], bool]) -> list[int]:
    from transformers import GenerationConfig

    voice, tokens = Voice(job), list[int]()

    def say(ids: torch.Tensor, scores_1V: torch.Tensor) -> torch.Tensor:
        tokens.extend(choose(scores_1V.clone(), [voice]))
        return torch.full_like(scores_1V, float("-inf")).index_fill_(1, torch.tensor([tokens[-1]], device=ids.device), 0.0)

    def stop(ids: torch.Tensor, scores: Any, **_: Any) -> torch.Tensor:
        return torch.tensor([ended(tokens)], device=ids.device)

    ids = torch.tensor([job.ids], device=model.device)
    with torch.inference_mode():
        model.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            generation_config=GenerationConfig(max_new_tokens=job.room, do_sample=False),
            logits_processor=[say],
            stopping_criteria=[stop],
        )
    return tokens
