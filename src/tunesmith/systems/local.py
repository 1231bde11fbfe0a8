"""A system whose weights lie in this process: a model, with its adapter on or off."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from tunesmith.core.errors import ModelError
from tunesmith.core.records import Message
from tunesmith.models.adapters import without_adapter
from tunesmith.models.chat import Chat, Encoded
from tunesmith.models.generate import Completion, Request, answer
from tunesmith.systems.comparable import Rendered
from tunesmith.systems.logits import keep_logits, model_logits
from tunesmith.systems.logprobs import token_logprobs
from tunesmith.systems.system import System, SystemInputs, TokenLogprobs

__all__ = ["LocalSystem", "answer_together"]

_ROWS = 8  # rows scored at once at most


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalSystem:
    """A model of this process. `adapter` off: the base behind an adapted model.

    `prompts`: what it is asked in place of the plain prompts; `numbers`: facts about them.
    """

    name: str
    label: str
    fingerprint: str
    model: Any
    chat: Chat
    context: int
    batch_examples: int
    adapter: bool = True
    prompts: tuple[tuple[Message, ...], ...] | None = None
    numbers: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, inputs: SystemInputs, model: Any, **about: Any) -> LocalSystem:
        """A system on `model` that has the chat format and the limits of the evaluation; `about`: its other fields."""
        return cls(model=model, chat=inputs.chat, context=inputs.base.context, batch_examples=inputs.batch_examples, **about)

    @property
    def precision(self) -> str:
        """The number type it computes in."""
        return str(self.model.dtype).removeprefix("torch.")

    def answer(self, requests: Sequence[Request], *, on_done: Callable[[int], None] = lambda count: None) -> list[Completion]:
        """As `models.generate.answer`."""
        return answer_together([self], requests, on_done=on_done)[0]

    def logprobs(self, rows: Sequence[Encoded], *, on_done: Callable[[int], None] = lambda count: None) -> list[TokenLogprobs]:
        """Computed in float32 from the logits on."""
        with self._switched():
            return token_logprobs(
                self.model,
                rows,
                pad_id=self.chat.pad_id,
                batch_examples=min(_ROWS, self.batch_examples),
                adapter=self.adapter,
                on_done=on_done,
            )

    def rendered(self, prompts: Sequence[Sequence[Message]]) -> list[Rendered]:
        """Each prompt as this model reads it, or why its template does not write it."""
        return [self._rendered(messages) for messages in prompts]

    def _rendered(self, messages: Sequence[Message]) -> Rendered:
        try:
            return Rendered(text=self.chat.render(messages, answer_next=True), ids=tuple(self.chat.encode_prompt(messages)))
        except ModelError as error:
            return Rendered(refused=error.problems[0].what)

    def logits(self, rows: Sequence[Encoded]) -> Iterator[torch.Tensor]:
        """(T, V) of each row, in the model's own number type."""
        for row in rows:
            with self._switched():
                found = model_logits(self.model, row)
            yield found

    def kept_logits(self, rows: Sequence[Encoded]) -> Iterable[torch.Tensor]:
        """The same, to be read after the model was given back; a model whose logits cannot be kept stays as long."""
        kept = keep_logits(self.model, rows) if self.adapter else None  # an adapted head would be kept with its adapter on
        return _Again(self, tuple(rows)) if kept is None else kept

    def _switched(self) -> AbstractContextManager[Any]:
        return nullcontext() if self.adapter else without_adapter(self.model)


@dataclass(frozen=True, slots=True)
class _Again:
    """The logits of some rows, computed each time they are read."""

    system: LocalSystem
    rows: tuple[Encoded, ...]

    def __iter__(self) -> Iterator[torch.Tensor]:
        return self.system.logits(self.rows)


def answer_together(
    systems: Sequence[System], requests: Sequence[Request], *, on_done: Callable[[int], None] = lambda count: None
) -> list[list[Completion]]:
    """The answers of every system to the same requests; systems on one model go into one batch, request by request."""
    first = systems[0]
    if not isinstance(first, LocalSystem) or not all(
        isinstance(one, LocalSystem) and one.model is first.model for one in systems
    ):
        return [one.answer(requests, on_done=on_done) for one in systems]
    states = [one.adapter for one in systems if isinstance(one, LocalSystem)]
    done = answer(
        first.model,
        first.chat,
        [replace(request, adapter=on) for request in requests for on in states],
        batch_examples=first.batch_examples,
        context=first.context,
        on_done=on_done,
    )
    return [done[at :: len(states)] for at in range(len(states))]
