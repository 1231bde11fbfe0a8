"""`chat`: base, adapter and merged model answer the same words side by side. Each keeps its own conversation."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tunesmith.cli.render import SideBySide, console
from tunesmith.core.artifacts import Artifact, Store
from tunesmith.core.errors import EvaluationError, ModelError
from tunesmith.core.records import Example, Message, read_jsonl
from tunesmith.models.adapters import open_adapter
from tunesmith.models.chat import Chat, open_chat
from tunesmith.models.generate import Request, Sampling, stream_all
from tunesmith.models.load import BaseFolder, find_base, load_model
from tunesmith.models.use import GREEDY_USE, Use, read_use

__all__ = ["chat"]


@dataclass(slots=True)
class _Speaker:
    """One system in the conversation. `adapter` is False for the base, which shares its weights with the tuned model."""

    name: str
    model: Any
    adapter: bool = True
    opening: tuple[Message, ...] = ()
    history: list[Message] = field(default_factory=list)

    def conversation(self) -> tuple[Message, ...]:
        """What the model is given: the system message of its training, then what was said."""
        return (*self.opening, *self.history)


def chat(project: Path, run: str, *, max_new_tokens: int, temperature: float | None = None, seed: int | None = None) -> None:
    """Read questions from the keyboard (or a pipe) until `/quit` or the end. All speakers draw at the same settings.

    Without a `temperature`, these are the settings of use of the run; 0 is greedy.
    """
    store = Store(project / ".tunesmith")
    artifact = store.resolve(run)
    sampling, how = _sampling(_use_of(store, artifact), temperature, seed)
    base = _base_of(artifact)
    chat_format = open_chat(base, artifact.manifest["settings"].get("template"))  # asked as it was trained
    tuned = open_adapter(load_model(base, "float32"), artifact.path / "adapter")
    opening = _opening(store, artifact)
    speakers = [_Speaker("base", tuned, adapter=False, opening=opening), _Speaker("tuned", tuned, opening=opening)]
    merged = next(
        (a for a in reversed(store.all()) if a.kind == "model" and artifact.reference() in a.manifest["inputs"]), None
    )
    if merged is not None:
        speakers.append(_Speaker("merged", load_model(find_base(str(merged.path)), "float32"), opening=opening))
    out = console()
    out.print(f"  answers are {how}")
    out.print(f"  run {artifact.id[:8]} on {base.name}: {' · '.join(s.name for s in speakers)}.  /help lists the commands")
    if merged is None:
        out.print("  no merged model of this run yet; `tunesmith merge` makes it")
    asked = Request(messages=(), max_new_tokens=max_new_tokens, sampling=sampling)
    while (line := _ask()) is not None:
        command = _command(line)
        if command == "/quit":
            return
        if command == "/clear":
            for speaker in speakers:
                speaker.history.clear()
            out.print("  forgotten")
        elif command == "/help":
            for name, meaning in _COMMANDS.items():
                out.print(f"  {name:<8}{meaning}")
        elif command:
            out.print(f"  {command} is not a command, and was not sent to the models; /help lists the commands")
        elif line:
            _answer(line, speakers, chat_format, base.context, asked)


_COMMANDS = {
    "/help": "this list",
    "/clear": "forget the conversation",
    "/quit": "end (also /exit, or Ctrl-D)",
}
_ALSO = {"/exit": "/quit", "quit": "/quit", "exit": "/quit", "clear": "/clear"}


def _command(line: str) -> str:
    """The command in a line: one of `_COMMANDS`, another word after a slash as it was typed, or nothing for a question.

    A slash that begins a path or a longer text, as in “/etc/hosts is what?”, is part of a question.
    """
    word = line.lower()
    if (known := _ALSO.get(word, word)) in _COMMANDS:
        return known
    return line if re.fullmatch(r"/\w*", line) else ""


def _use_of(store: Store, run: Artifact) -> Use | None:
    """The settings of use that were last set or chosen for a run."""
    found = [a for a in store.all() if a.kind == "use" and run.reference() in a.manifest["inputs"]]
    return read_use(found[-1].path / "use.json") if found else None


def _sampling(use: Use | None, temperature: float | None, seed: int | None) -> tuple[Sampling, str]:
    """How tokens are chosen, and the same in words. A temperature replaces that of the settings of use."""
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
        return wanted.sampling, "greedy: no settings of use belong to this run yet, `tunesmith merge` chooses them"
    return wanted.sampling, f"{drawn}: the settings of use, as evaluated" + (
        " (--greedy: no draws)" if drawn != "greedy" else ""
    )


def _base_of(run: Artifact) -> BaseFolder:
    base = find_base(str(run.manifest["settings"]["base"]))
    made_on = next(i["id"] for i in run.manifest["inputs"] if i["kind"] == "base")
    if base.fingerprint != made_on:
        raise ModelError(
            "the base is no longer the one that this run was trained on",
            value=f"{base.name} {base.fingerprint[:8]}",
            expected=f"fingerprint {made_on[:8]}",
            hint="restore the base, or train again: tunesmith run",
        )
    return base


def _opening(store: Store, run: Artifact) -> tuple[Message, ...]:
    """The system message that every training example began with, so that the model is asked as it was trained; or none."""
    made_of = next(i["id"] for i in run.manifest["inputs"] if i["kind"] == "dataset")
    dataset = store.find("dataset", made_of)
    if dataset is None:
        return ()
    heads = {row.messages[0] for row in read_jsonl(dataset.path / "train.jsonl", Example)}
    return tuple(heads) if len(heads) == 1 and next(iter(heads)).role == "system" else ()


def _ask() -> str | None:
    if sys.stdin.isatty():
        sys.stderr.write("\nyou  ")
        sys.stderr.flush()
    line = sys.stdin.readline()
    return line.strip() if line else None


def _answer(line: str, speakers: list[_Speaker], chat_format: Chat, context: int, how: Request) -> None:
    """The answers grow beside each other; base and tuned are made in one batch, for they share their weights.

    `how` has all of a request but whom it is put to.
    """
    for speaker in speakers:
        speaker.history.append(Message(role="user", content=line))
        _forget(speaker, chat_format, context - how.max_new_tokens)
    voices: list[tuple[list[_Speaker], Iterator[tuple[int, str]]]] = []
    for model in {id(s.model): s.model for s in speakers}.values():
        together = [s for s in speakers if s.model is model]
        requests = [replace(how, messages=s.conversation(), adapter=s.adapter) for s in together]
        voices.append((together, stream_all(model, chat_format, requests, context=context)))
    said = {speaker.name: "" for speaker in speakers}
    with SideBySide([s.name for s in speakers]) as screen:
        while voices:
            for voice in list(voices):
                together, pieces = voice
                given = next(pieces, None)
                if given is None:
                    voices.remove(voice)
                    for speaker in together:
                        screen.done(speaker.name)
                else:
                    name = together[given[0]].name
                    said[name] += given[1]
                    screen.add(name, given[1])
    for speaker in speakers:
        speaker.history.append(Message(role="assistant", content=said[speaker.name]))


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
