"""A model of this machine in the place of a server: what asks servers can then ask it."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import UTC, datetime
from threading import Lock
from typing import Any, Protocol

import orjson

from tunesmith.core.errors import EvaluationError, ModelError
from tunesmith.data.synth import request as wire
from tunesmith.engines.engine import AnswersInForm
from tunesmith.models.continuous.generator import Capacity, Continuous, Order, Token
from tunesmith.models.continuous.grammar import Grammar, GrammarTokens
from tunesmith.models.continuous.thread import BatchThread
from tunesmith.models.generate import cache_budget
from tunesmith.models.generation.fits import fits
from tunesmith.models.generation.requests import Completion, Job, Request, Sampling
from tunesmith.models.generation.sampling import seed_of
from tunesmith.models.generation.text import Ending
from tunesmith.systems.engine_system import EngineLogitsSystem, EngineSystem
from tunesmith.systems.local import LocalSystem
from tunesmith.systems.system import System

__all__ = ["BatchServer", "EngineServer", "LocalServer", "SystemAsServer", "as_server"]

_PIECE_TOKENS = 512  # of prompts read in a pass


class LocalServer(Protocol):
    """What answers in the place of a server. `at_once`: requests that it answers at the same time; `takes_schema`: whether it
    holds the model to the JSON schema of a request."""

    url: str
    at_once: int
    takes_schema: bool

    @property
    def failed(self) -> Mapping[str, int]:
        """No try fails on the way to a model of this machine."""

    def ask(self, request: wire.Request) -> wire.Reply:
        """The reply; `not_taken` where the model's template or context does not take the messages."""

    def stop(self) -> None:
        """Nobody waits for replies any more."""

    def close(self) -> None:
        """Nothing more is asked."""


def as_server(system: System, *, at_once: int) -> LocalServer:
    """Up to `at_once` requests in one batch where the system is a model of this process that can share one, or in the places of
    an engine that was started with several; else one by one."""
    if isinstance(system, LocalSystem) and system.adapter and not fits(_inner(system)).reason:
        return BatchServer(system, at_once=at_once)
    behind = system.system if isinstance(system, EngineLogitsSystem) else system
    if isinstance(behind, EngineSystem) and isinstance(behind.engine, AnswersInForm):
        return EngineServer(behind, at_once=min(at_once, behind.engine.slots))
    return SystemAsServer(system)


class SystemAsServer:
    """Answers one request at a time. `url` is the fingerprint: replies are cached under the weights that gave them."""

    at_once = 1
    takes_schema = False
    failed: Mapping[str, int] = {}

    def __init__(self, system: System) -> None:
        self.url = f"local:{system.fingerprint}"
        self._system = system
        self._turn = Lock()

    def ask(self, request: wire.Request) -> wire.Reply:
        """See `LocalServer`."""
        asked = Request(messages=request.messages, max_new_tokens=request.max_tokens, sampling=_sampling(request))
        with self._turn:
            try:
                (made,) = self._system.answer([asked], on_done=lambda count: None)
            except (EvaluationError, ModelError):  # no room for an answer, or turns that the template does not write
                return _not_taken()
        return _reply(self._system, request, made, made.prompt_tokens)

    def stop(self) -> None:
        """Nothing waits."""

    def close(self) -> None:
        """Nothing is held."""


class EngineServer:
    """Asks an engine that holds each answer to the JSON schema of its request, as many at once as it has places."""

    takes_schema = True
    failed: Mapping[str, int] = {}

    def __init__(self, system: EngineSystem, *, at_once: int) -> None:
        self.url = f"local:{system.fingerprint}"
        self.at_once = at_once
        self._system = system

    def ask(self, request: wire.Request) -> wire.Reply:
        """See `LocalServer`. EngineError if the engine ends."""
        asked = Request(messages=request.messages, max_new_tokens=request.max_tokens, sampling=_sampling(request))
        try:
            made = self._system.answer_in_form(asked, request.schema)
        except (EvaluationError, ModelError):  # no room for an answer, or turns that the template does not write
            return _not_taken()
        return _reply(self._system, request, made, made.prompt_tokens)

    def stop(self) -> None:
        """Answers in work are still made: they are kept."""

    def close(self) -> None:
        """The engine is closed by whoever opened it."""


@dataclass(slots=True)
class _Answer:
    """An answer on its way. `took` runs in the batch's thread."""

    ending: Ending
    room: int
    grammar: Grammar | None
    done: Future[Completion] = field(default_factory=Future)
    tokens: list[int] = field(default_factory=list)

    def took(self, token: Token) -> bool:
        """Hear a token; True if the answer ends with it."""
        self.tokens.append(token.id)
        try:
            if self.grammar is not None:
                self.grammar.took(token.id)
        except ModelError as error:  # of this answer alone
            self.done.set_exception(error)
            return True
        if self.ending.reached(self.tokens) or len(self.tokens) >= self.room:
            self.done.set_result(self.ending.completion(self.tokens))
            return True
        return False


class BatchServer:
    """Answers many requests at once: one batch that they join and leave, in which each gets the answer that it would get alone,
    up to the rounding of its number type. What prompts begin with alike is read once.

    With llguidance a request's JSON schema is enforced: tokens that cannot lead to it are not chosen.
    """

    def __init__(self, system: LocalSystem, *, at_once: int) -> None:
        model = _inner(system)
        budget = cache_budget(model.device)
        self.url = f"local:{system.fingerprint}"
        self.at_once = at_once
        self.takes_schema = importlib.util.find_spec("llguidance") is not None
        self.failed: Mapping[str, int] = {}
        self._system = system
        self._batch = Continuous(model, Capacity(at_once, budget, budget // 2, _PIECE_TOKENS))
        self._context = min(system.context, self._batch.longest or system.context)
        self._vocabulary = int(model.config.get_text_config().vocab_size)
        self._lock = Lock()
        self._forms: dict[str, Callable[[], Grammar]] = {}
        self._waiting: dict[int, _Answer] = {}
        self._thread = BatchThread(self._batch, self._give_up)

    def ask(self, request: wire.Request) -> wire.Reply:
        """See `LocalServer`."""
        try:
            ids = tuple(self._system.chat.encode_prompt(request.messages))
        except ModelError:  # turns that the template does not write
            return _not_taken()
        room = min(request.max_tokens, self._context - len(ids))
        if room < 1:
            return _not_taken()
        sampling, grammar = _sampling(request), self._grammar(request.schema)
        answer = _Answer(Ending(self._system.chat, ()), room, grammar)
        job = Job(ids, room, sampling, seed_of(sampling, ids, 0))
        order = Order(job, "", answer.took, allow=None if grammar is None else grammar.allow)
        with self._lock:
            self._waiting[id(order)] = answer
        try:
            self._thread.submit(order)
            return _reply(self._system, request, answer.done.result(), len(ids))
        finally:
            with self._lock:
                del self._waiting[id(order)]

    def stop(self) -> None:
        """Answers in work are still made: they are kept."""

    def close(self) -> None:
        """End the thread of the batch."""
        self._thread.close()

    def _grammar(self, schema: str) -> Grammar | None:
        if not schema or not self.takes_schema:
            return None
        with self._lock:
            if schema not in self._forms:
                chat = self._system.chat
                tokens = GrammarTokens(chat.tokenizer, self._vocabulary, chat.end_ids)
                self._forms[schema] = tokens.compile(orjson.loads(schema))
            return self._forms[schema]()

    def _give_up(self, order: Order, error: BaseException) -> None:
        with self._lock:
            answer = self._waiting.get(id(order))
        if answer is not None:
            answer.done.set_exception(error)


def _inner(system: LocalSystem) -> Any:
    """The model with its adapter at work, without peft's outer shell."""
    return system.model.get_base_model() if hasattr(system.model, "get_base_model") else system.model


def _sampling(request: wire.Request) -> Sampling:
    return Sampling(temperature=request.temperature, seed=request.seed)


def _not_taken() -> wire.Reply:
    return wire.Reply(text="", stop="not_taken", prompt_tokens=0, completion_tokens=0, date=_today())


def _today() -> str:
    return datetime.now(UTC).date().isoformat()


def _reply(system: System, request: wire.Request, made: Completion, prompt_tokens: int | None) -> wire.Reply:
    return wire.Reply(
        text=made.text,
        stop="length" if made.finish_reason == "length" else "stop",
        prompt_tokens=prompt_tokens or request.most_prompt_tokens,
        completion_tokens=made.num_tokens,
        date=_today(),
        counted=prompt_tokens is not None,
        model=system.label,
        fingerprint=system.fingerprint[:16],
    )
