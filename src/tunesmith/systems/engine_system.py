"""A system that answers through an engine: the file that ships, in the program that will run it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import torch

from tunesmith.core.errors import EvaluationError
from tunesmith.core.records import Message, digest
from tunesmith.engines.engine import ALONE, Engine, EngineAnswer, EngineRequest, FullLogits, ignore_progress
from tunesmith.models.chat import Chat, Encoded
from tunesmith.models.generation.requests import Completion, Request, Sampling
from tunesmith.models.generation.sampling import seed_of
from tunesmith.systems.comparable import Rendered
from tunesmith.systems.system import System, TokenLogprobs

__all__ = ["EngineLogitsSystem", "EngineSystem", "engine_system"]


def engine_system(engine: Engine, chat: Chat, *, name: str, label: str, context: int, adapter: str | None = None) -> System:
    """The engine as a system that can be asked like any other; with complete distributions where the engine has them."""
    system = EngineSystem(name=name, label=label, engine=engine, chat=chat, context=context, adapter=adapter)
    return EngineLogitsSystem(system, engine) if isinstance(engine, FullLogits) else system


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSystem:
    """A running engine. `chat` is that of the base: prompts are its token ids where the engine takes ids, so both sides read
    the same; other engines render the messages themselves. `adapter`: of the engine's, None for its default.

    A request with `adapter` off is asked of the engine's model without adapter.
    """

    name: str
    label: str
    engine: Engine
    chat: Chat
    context: int
    adapter: str | None = None

    @property
    def fingerprint(self) -> str:
        """Of what the engine serves, and by which adapter."""
        return digest("engine system", self.engine.fingerprint, str(self.adapter))

    def differences(self, sampling: Sampling) -> tuple[str, ...]:
        """What the engine does otherwise than a model in this process with the same settings; to be reported with answers."""
        own = () if self.engine.takes_ids else (f"{self.engine.name} renders and tokenizes the prompts itself",)
        return (*own, *self.engine.differences(sampling))

    def answer(self, requests: Sequence[Request], *, on_done: Callable[[int], None] = ignore_progress) -> list[Completion]:
        """As `models.generate.answer`, by the engine.

        Raises:
            EngineError: the engine fails.
            EvaluationError: a prompt leaves no room for an answer.
        """
        answers = self.engine.answer([self._asked(request) for request in requests], on_done=on_done)
        return [_completion(one, self.chat) for one in answers]

    def answer_in_form(self, request: Request, json_schema: str) -> Completion:
        """One answer that the engine, which must be one of `AnswersInForm`, holds to the schema. Errors as for `answer`."""
        (made,) = self.engine.answer([replace(self._asked(request), json_schema=json_schema)])
        return _completion(made, self.chat)

    def _asked(self, request: Request) -> EngineRequest:
        ids = tuple(self.chat.encode_prompt(request.messages))
        room = min(request.max_new_tokens, self.context - len(ids))
        if room < 1:
            raise EvaluationError(
                "a prompt leaves no room for an answer",
                value=f"{len(ids)} tokens",
                expected=f"fewer than the context of {self.context}",
                hint="start the engine with a longer context, or shorten the prompt",
            )
        sampling = request.sampling
        seed = seed_of(sampling, ids, request.number) % 2**31  # engines take 32 bits, some of them signed
        takes_ids = self.engine.takes_ids
        return EngineRequest(
            ids=ids if takes_ids else None,
            messages=None if takes_ids else tuple(request.messages),
            max_new_tokens=room,
            sampling=replace(sampling, seed=seed),
            stop=request.stop,
            adapter=self.adapter if request.adapter else ALONE,
        )

    def rendered(self, prompts: Sequence[Sequence[Message]]) -> list[Rendered]:
        """Each prompt as the engine itself writes and reads it, with the tokens that its tokenizer puts around."""
        return [self._rendered(messages) for messages in prompts]

    def _rendered(self, messages: Sequence[Message]) -> Rendered:
        return Rendered(text=self.engine.render(messages), ids=self.engine.prompt_ids(messages))

    def top_tokens(
        self, rows: Sequence[Sequence[int]], begins: Sequence[int], count: int
    ) -> list[list[Mapping[int, float]]] | None:
        """The likeliest tokens in the place of each token from `begins` on; None where the engine does not give them."""
        scored = self.engine.score(rows, begins, top=count, adapter=self.adapter)
        if scored is None or not all(one.top for one, row, begin in zip(scored, rows, begins, strict=True) if begin < len(row)):
            return None
        return [[dict(zip(place.ids, place.log_p, strict=True)) for place in one.top] for one in scored]

    def logprobs(
        self, rows: Sequence[Encoded], *, on_done: Callable[[int], None] = ignore_progress
    ) -> list[TokenLogprobs] | None:
        """Of the target tokens of each row; None where the engine does not give them."""
        places = [[at for at, learned in enumerate(row.learned) if learned and at > 0] for row in rows]
        begins = [min(where, default=len(row.ids)) for where, row in zip(places, rows, strict=True)]
        scored = self.engine.score([row.ids for row in rows], begins, adapter=self.adapter, on_done=on_done)
        if scored is None:
            return None
        return [
            TokenLogprobs(tuple(scores.log_p[at - begin] for at in where), tuple(scores.is_top[at - begin] for at in where))
            for scores, begin, where in zip(scored, begins, places, strict=True)
        ]

    def memory_bytes(self) -> int | None:
        """The most memory that the engine has taken so far; None for one that is not a process of this machine."""
        return self.engine.memory_bytes()


@dataclass(frozen=True, slots=True)
class EngineLogitsSystem:
    """The same over an engine that gives logits, which parity compares as complete distributions."""

    system: EngineSystem
    full: FullLogits
    precision: str = "float32"

    @property
    def name(self) -> str:
        """That of the system."""
        return self.system.name

    @property
    def label(self) -> str:
        """That of the system."""
        return self.system.label

    @property
    def fingerprint(self) -> str:
        """That of the system."""
        return self.system.fingerprint

    def differences(self, sampling: Sampling) -> tuple[str, ...]:
        """As `EngineSystem.differences`."""
        return self.system.differences(sampling)

    def answer(self, requests: Sequence[Request], *, on_done: Callable[[int], None] = ignore_progress) -> list[Completion]:
        """As `EngineSystem.answer`."""
        return self.system.answer(requests, on_done=on_done)

    def logprobs(
        self, rows: Sequence[Encoded], *, on_done: Callable[[int], None] = ignore_progress
    ) -> list[TokenLogprobs] | None:
        """As `EngineSystem.logprobs`."""
        return self.system.logprobs(rows, on_done=on_done)

    def memory_bytes(self) -> int | None:
        """As `EngineSystem.memory_bytes`."""
        return self.system.memory_bytes()

    def rendered(self, prompts: Sequence[Sequence[Message]]) -> list[Rendered]:
        """As `EngineSystem.rendered`."""
        return self.system.rendered(prompts)

    def logits(self, rows: Sequence[Encoded]) -> Iterator[torch.Tensor]:
        """(T, V) of each row."""
        for row in rows:
            yield torch.from_numpy(self.full.logits(row.ids, adapter=self.system.adapter).copy())

    def kept_logits(self, rows: Sequence[Encoded]) -> Iterable[torch.Tensor]:
        """Asked of the engine each time they are read; it must still run then."""
        return _Asked(self, tuple(rows))


@dataclass(frozen=True, slots=True)
class _Asked:
    system: EngineLogitsSystem
    rows: tuple[Encoded, ...]

    def __iter__(self) -> Iterator[torch.Tensor]:
        return self.system.logits(self.rows)


def _completion(answer: EngineAnswer, chat: Chat) -> Completion:
    """The answer as models of this process give it: an engine reports the end token among the ids, and may end at any control
    token."""
    ids = answer.ids
    if ids and answer.finish_reason == "stop" and ids[-1] in chat.control_ids():
        ids = ids[:-1]
    return Completion(
        answer.text,
        answer.finish_reason,
        answer.num_tokens,
        prompt_tokens=answer.prompt_tokens,
        seconds=answer.seconds,
        ids=ids,
    )
