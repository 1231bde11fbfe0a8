"""Text generation: batched for evaluation, streamed for chat.

Greedy unless a request sets a sampling: the comparison of systems must not depend on chance. Models that fit share the slots
of one cache (see `generation/`); others use the library's own generation, one prompt at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from typing import Any

import torch

from tunesmith.core.errors import EvaluationError
from tunesmith.core.records import Message
from tunesmith.models.adapters import without_adapter
from tunesmith.models.chat import Chat
from tunesmith.models.generation.adapter_rows import AdapterRows
from tunesmith.models.generation.engine import Engine, Limits, Made
from tunesmith.models.generation.fits import fits
from tunesmith.models.generation.plain import run_plain
from tunesmith.models.generation.requests import GREEDY, Completion, Job, Request, Sampling, repeated
from tunesmith.models.generation.sampling import seed_of
from tunesmith.models.generation.text import Ending, Spoken
from tunesmith.models.memory import free_bytes

__all__ = [
    "ENOUGH_CACHE",
    "GREEDY",
    "Completion",
    "Request",
    "Sampling",
    "answer",
    "cache_budget",
    "generate",
    "jobs_for",
    "repeated",
    "stream",
    "stream_all",
]

_SHARE = 4  # of the free memory, one in so many bytes may hold keys and values
ENOUGH_CACHE = 768 * 2**20  # bytes on a CPU: more answers at once, and each pass takes longer by what it gains
_STREAMS = 64


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
    """Greedy answers to `prompts`, in their order, at most `batch_examples` in work at once.

    An answer ends at the model's end token, at `max_new_tokens`, or where the context is full. EvaluationError for a
    prompt that leaves no room for an answer.
    """
    requests = [Request(messages=prompt, max_new_tokens=max_new_tokens) for prompt in prompts]
    return answer(model, chat, requests, batch_examples=batch_examples, context=context, on_done=on_done)


def answer(
    model: Any,
    chat: Chat,
    requests: Sequence[Request],
    *,
    batch_examples: int,
    context: int,
    on_done: Callable[[int], None] = lambda count: None,
) -> list[Completion]:
    """The answers to `requests`, in their order. Each is what it would be alone, up to the rounding of its number type.

    After every pass, `on_done` hears how many more are done (mostly none); what it raises ends the work. Base and adapted
    answers share a batch where the adapter allows it.
    """
    endings = [Ending(chat, request.stop) for request in requests]
    tokens: list[list[int]] = [[] for _ in requests]
    for made in _run(model, chat, requests, endings, batch_examples, context):
        for one in made:
            tokens[one.job].append(one.token)
        on_done(sum(one.last for one in made))
    return [ending.completion(said) for ending, said in zip(endings, tokens, strict=True)]


def stream(model: Any, chat: Chat, messages: Sequence[Message], *, max_new_tokens: int, context: int) -> Iterator[str]:
    """The greedy answer to one conversation, piece by piece as it is made. Pieces never end inside a character."""
    request = Request(messages=messages, max_new_tokens=max_new_tokens)
    return (piece for _, piece in stream_all(model, chat, [request], context=context))


def stream_all(model: Any, chat: Chat, requests: Sequence[Request], *, context: int) -> Iterator[tuple[int, str]]:
    """The answers to several requests growing side by side: (number of the request, next piece of its text).

    What may yet turn out to be a stop text is held back. Between two pieces the model may be used for other things.
    """
    endings = [Ending(chat, request.stop) for request in requests]
    spoken = [Spoken(ending) for ending in endings]
    for made in _run(model, chat, requests, endings, _STREAMS, context):
        for one in made:
            if piece := spoken[one.job].said(one.token, last=one.last):
                yield one.job, piece


def cache_budget(device: torch.device) -> int:
    """Bytes that keys and values may take: a quarter of the memory that is free, on a CPU no more than speeds anything up."""
    share = free_bytes(device) // _SHARE
    return min(share, ENOUGH_CACHE) if device.type == "cpu" else share


def jobs_for(chat: Chat, requests: Sequence[Request], context: int) -> list[Job]:
    """The requests as token ids with the seeds of their draws. EvaluationError for a prompt that fills the context."""
    jobs = []
    for request in requests:
        ids = chat.encode_prompt(request.messages)
        if len(ids) >= context:
            raise EvaluationError(
                "a prompt fills the whole context",
                value=f"{len(ids)} tokens: {request.messages[-1].content[:60]}",
                expected=f"fewer than {context} tokens",
                hint="shorten the prompt or choose a base with a longer context",
            )
        room = min(request.max_new_tokens, context - len(ids))
        seed = seed_of(request.sampling, ids, request.number)
        jobs.append(Job(tuple(ids), room, request.sampling, seed, request.adapter))
    return jobs


def _run(
    model: Any, chat: Chat, requests: Sequence[Request], endings: Sequence[Ending], most: int, context: int
) -> Iterator[list[Made]]:
    """All passes over all requests, by the fastest execution path that is exact for this model."""
    if not requests:
        return
    jobs = jobs_for(chat, requests, context)

    def ends(number: int, tokens: Sequence[int]) -> bool:
        return endings[number].reached(tokens)

    fit = fits(model)
    if fit.reason or (fit.longest is not None and max(len(job.ids) + job.room for job in jobs) > fit.longest):
        yield from run_plain(model, jobs, ends)
        return
    adapter = AdapterRows(model)
    together = adapter.can_mix or not adapter.is_adapted or all(job.adapter for job in jobs)
    for wanted in [{True, False}] if together else [{False}, {True}]:
        part = [number for number, job in enumerate(jobs) if job.adapter in wanted]
        engine = Engine(
            model,
            [jobs[number] for number in part],
            ends=lambda n, tokens, part=part: ends(part[n], tokens),  # type: ignore[misc]
            limits=Limits(most, fit.bytes_per_token, cache_budget(model.device)),
        )
        yield from _numbered(engine.run(), part, model, base_alone=wanted == {False})


def _numbered(passes: Iterator[list[Made]], part: Sequence[int], model: Any, *, base_alone: bool) -> Iterator[list[Made]]:
    """Passes over some of the requests under their own numbers; the adapter off during each pass for the base alone."""
    while True:
        with without_adapter(model) if base_alone else nullcontext():
            made = next(passes, None)
        if made is None:
            return
        yield [Made(part[one.job], one.token, one.last) for one in made]
