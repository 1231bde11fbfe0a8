"""`chat`: base, tuned and merged model answer the same questions. Each has its own conversation."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tunesmith.core.artifacts import Store
from tunesmith.core.errors import EvaluationError, ModelError
from tunesmith.core.records import Message
from tunesmith.models.chat import Chat
from tunesmith.models.generate import Request, Sampling, stream_all
from tunesmith.models.load import BaseFolder, find_base, load_model
from tunesmith.models.tuned import open_tuned
from tunesmith.models.use import GREEDY_USE, Use
from tunesmith.pipeline.finished import finished_run

__all__ = ["AnswerPiece", "Conversation", "chat"]


@dataclass(frozen=True, slots=True)
class AnswerPiece:
    """The next piece of one system's answer; `ended` if the answer is complete (`text` is then empty)."""

    system: str
    text: str
    ended: bool = False


@dataclass(slots=True)
class _Speaker:
    """One system in the conversation. `adapter` is False for the base, which shares its weights with the tuned model."""

    name: str
    model: Any
    adapter: bool = True
    opening: tuple[Message, ...] = ()
    history: list[Message] = field(default_factory=list)

    def conversation(self) -> tuple[Message, ...]:
        """The prompt: the system message of training, then the conversation."""
        return (*self.opening, *self.history)


class Conversation:
    """Base, tuned and (if it exists) merged model of one run, each with its own conversation so far.

    `systems`: their names. `run`: the id of the run. `base`: the name of its base. `how`: the sampling settings in words.
    """

    def __init__(
        self, speakers: list[_Speaker], chat_format: Chat, request: Request, *, run: str, base: BaseFolder, how: str
    ) -> None:
        self.systems = tuple(speaker.name for speaker in speakers)
        self.run, self.base, self.how = run, base.name, how
        self._speakers, self._format, self._request, self._context = speakers, chat_format, request, base.context

    def ask(self, question: str) -> dict[str, str]:
        """The complete answer of every system. ModelError for a question that does not fit into the context."""
        answers = dict.fromkeys(self.systems, "")
        for piece in self.stream(question):
            answers[piece.system] += piece.text
        return answers

    def stream(self, question: str) -> Iterator[AnswerPiece]:
        """The same, streamed piece by piece. Base and tuned model share their weights, so they answer in one batch.

        The oldest turns are dropped if the conversation leaves no room for an answer.
        """
        for speaker in self._speakers:
            speaker.history.append(Message(role="user", content=question))
            _forget(speaker, self._format, self._context - self._request.max_new_tokens)
        growing: list[tuple[list[_Speaker], Iterator[tuple[int, str]]]] = []
        for model in {id(s.model): s.model for s in self._speakers}.values():
            together = [s for s in self._speakers if s.model is model]
            requests = [replace(self._request, messages=s.conversation(), adapter=s.adapter) for s in together]
            growing.append((together, stream_all(model, self._format, requests, context=self._context)))
        said = dict.fromkeys(self.systems, "")
        while growing:
            for one in list(growing):
                together, pieces = one
                given = next(pieces, None)
                if given is None:
                    growing.remove(one)
                    yield from (AnswerPiece(speaker.name, "", ended=True) for speaker in together)
                else:
                    name = together[given[0]].name
                    said[name] += given[1]
                    yield AnswerPiece(name, given[1])
        for speaker in self._speakers:
            speaker.history.append(Message(role="assistant", content=said[speaker.name]))

    def clear(self) -> None:
        """Start a new conversation."""
        for speaker in self._speakers:
            speaker.history.clear()


def chat(
    *,
    project: str | Path = ".",
    run: str = "run:latest",
    max_new_tokens: int = 200,
    temperature: float | None = None,
    seed: int | None = None,
) -> Conversation:
    """Open a conversation with the models of a run; all use the same sampling settings.

    `run`: the first digits of its id or of what was made from it, or `run:latest`. `max_new_tokens`: maximum tokens per
    answer. `temperature` replaces that of the evaluation, 0 is greedy; `seed` replaces the seed of the sampling.

    Raises:
        ArtifactError: the run does not exist.
        EvaluationError: a seed without a temperature above 0.
        ModelError: the base is missing, or has changed since the run was trained.
    """
    store = Store(Path(project) / ".tunesmith")
    found = finished_run(store, run)
    sampling, how = _sampling(found.use, temperature, seed)
    tuned = open_tuned(load_model(found.base, "float32"), found.tuned)
    opening = found.opening
    speakers = [_Speaker("base", tuned, adapter=False, opening=opening), _Speaker("tuned", tuned, opening=opening)]
    if (merged := found.merged) is not None:
        speakers.append(_Speaker("merged", load_model(find_base(str(merged.path)), "float32"), opening=opening))
    request = Request(messages=(), max_new_tokens=max_new_tokens, sampling=sampling)
    return Conversation(speakers, found.chat, request, run=found.run.id, base=found.base, how=how)


def _sampling(use: Use | None, temperature: float | None, seed: int | None) -> tuple[Sampling, str]:
    """The sampling settings, and the same in words. `temperature` replaces the stored one."""
    usual = use or GREEDY_USE
    wanted = usual if temperature is None else replace(usual, temperature=temperature)
    if temperature == 0:
        wanted = GREEDY_USE
    if seed is not None and wanted.temperature == 0:
        raise EvaluationError(
            "a seed has no effect on greedy answers",
            value=f"--seed {seed}",
            expected="a seed with a temperature above 0",
            hint=f"tunesmith chat --temperature 0.6 --seed {seed}",
        )
    if seed is not None:
        wanted = replace(wanted, seed=seed)
    drawn = f"drawn at {wanted.words}, seed {wanted.seed}" if wanted.temperature else wanted.words
    if temperature is not None:
        return wanted.sampling, drawn
    if use is None:
        return wanted.sampling, "greedy: no sampling settings belong to this run yet, `tunesmith merge` chooses them"
    return wanted.sampling, f"{drawn}: the sampling settings, as evaluated" + (
        " (--greedy: no draws)" if drawn != "greedy" else ""
    )


def _forget(speaker: _Speaker, chat_format: Chat, room: int) -> None:
    """Drop the oldest turns until the conversation leaves room for an answer."""
    while len(speaker.history) > 1 and len(chat_format.encode_prompt(speaker.conversation())) > room:
        del speaker.history[:2]
    if len(chat_format.encode_prompt(speaker.conversation())) > room:
        raise ModelError(
            "the question does not fit into the model's context",
            value=f"{len(speaker.history[-1].content)} characters",
            expected=f"at most {room} tokens",
            hint="ask a shorter question, or lower --max-new-tokens",
        )
