"""Distillation from the likeliest tokens of a teacher behind any server: its answers, with log-probabilities beside them.

`tunesmith synth distil` with `generator.top_logprobs` has a server answer prompts and keeps what it thought of the likeliest
tokens at each place. The model learns them instead of the one token that was drawn:

    loss = KL(teacher ‖ model) over the listed tokens, with all others as one

Rows and places without such numbers (the end token, rows from elsewhere) are learned as by `sft`. Tokens are compared by their
bytes, so the teacher must cut its answers as the base does. Numbers of a unit: `signal` is the number K of listed tokens, then
for each target token K ids (−1: none) and K log-probabilities. Shapes: N target tokens of a batch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path

import orjson
import torch

from tunesmith.core.errors import TrainingError
from tunesmith.core.files import sha256_file
from tunesmith.core.records import Example
from tunesmith.core.settings import Section
from tunesmith.models.chat import Chat
from tunesmith.models.packed.divergence import ListedTokens
from tunesmith.models.token_bytes import ids_by_bytes
from tunesmith.train.method import Direction, Forward
from tunesmith.train.samples import token_counts
from tunesmith.train.units import Batch, Unit

__all__ = ["Method", "Settings"]

_MOST_APART = 0.1  # share of the answers that may be cut into other tokens than the base's, or two of them
_Listed = Sequence[tuple[bytes, float, Sequence[tuple[bytes, float]]]]


class Settings(Section):
    """Settings of distillation from listed tokens."""

    file: str = ""
    """The file of log-probabilities that `tunesmith synth distil` wrote next to the answers (`NAME.logprobs.jsonl`)."""


class Method:
    """A unit is one example; its weight is the number of its target tokens, so a step is a mean over tokens."""

    record = Example
    figures: Mapping[str, Direction] = {"loss": "lower", "accuracy": "higher"}
    loss_unit = "nats per token from the teacher"

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def contents(self) -> dict[str, str]:
        """The hash of the file. TrainingError if there is none."""
        if not (self.settings.file and Path(self.settings.file).expanduser().is_file()):
            raise TrainingError(
                "the file of the teacher's log-probabilities does not exist",
                value=self.settings.file or "objective.file is empty",
                expected="the file NAME.logprobs.jsonl that tunesmith synth distil writes next to NAME.jsonl",
                hint="tunesmith synth distil PROMPTS.jsonl --out NAME.jsonl --set generator.top_logprobs=20",
            )
        return {"file": sha256_file(Path(self.settings.file).expanduser())}

    @cached_property
    def _listed(self) -> dict[str, _Listed]:
        self.contents()
        found: dict[str, _Listed] = {}
        try:
            for line in Path(self.settings.file).expanduser().read_bytes().splitlines():
                row = orjson.loads(line)
                found[row["request"]] = [
                    (bytes.fromhex(token), float(log_p), [(bytes.fromhex(other), float(p)) for other, p in likeliest])
                    for token, log_p, likeliest in row["tokens"]
                ]
        except (ValueError, KeyError, TypeError) as error:
            raise TrainingError(
                "the teacher's log-probabilities cannot be read",
                value=self.settings.file,
                expected=f"lines as tunesmith synth distil writes them ({str(error)[:100]})",
                hint="write the file again: the same command takes the replies that are kept",
            ) from error
        return found

    def prepare(self, examples: Sequence[Example], chat: Chat, *, max_tokens: int) -> list[Unit]:
        """A unit for each example. TrainingError if no row has numbers, or if the teacher's tokens are not the base's."""
        known = ids_by_bytes(chat.tokenizer)
        units, apart, told = [], [], 0
        for example in examples:
            listed = self._listed.get(example.origin.prompt_sha256) if example.origin is not None else None
            unit, matches = _unit(example, listed or (), chat, known, max_tokens=max_tokens)
            units.append(unit)
            told += listed is not None
            if listed is not None and not matches:
                apart.append(example)
        if not told:
            raise TrainingError(
                "no row has log-probabilities of a teacher",
                value=f"{len(examples)} rows, {len(self._listed)} answers in {self.settings.file}",
                expected="rows of the file of answers that was written together with it",
                hint="--source NAME.jsonl with --set objective.file=NAME.logprobs.jsonl, or --set objective.kind=sft",
            )
        if len(apart) > max(2, _MOST_APART * told) or len(apart) == told:
            raise TrainingError(
                "the teacher has another tokenizer than the base",
                value=f"{len(apart)} of {told} answers are cut into other tokens, first {apart[0].answer[:60]!r}",
                expected="a teacher of the base's own family: its distributions are compared token by token",
                hint="--set objective.kind=sft learns the answers of any teacher",
            )
        return units

    def loss(self, forward: Forward, batch: Batch) -> torch.Tensor:
        """The sum over tokens of the divergence (nats, float32 scalar)."""
        return forward.summed(batch, _formula(batch))

    def validate(self, forward: Forward, units: Sequence[Unit], on_done: Callable[[int], None]) -> dict[str, float]:
        """`loss`: mean divergence in nats per token; `accuracy`: share of the answers' tokens that are the likeliest ones."""
        total, right, count = 0.0, 0, 0
        for batch in forward.batches(units, on_done):
            with torch.no_grad():
                total += float(forward.summed(batch, _formula(batch)))
        for _, log_p_N, right_N in forward.scored(units, lambda done: None):
            right += int(right_N.sum())
            count += len(log_p_N)
        return {"loss": total / max(1, count), "accuracy": right / max(1, count)}


def _unit(example: Example, listed: _Listed, chat: Chat, known: Mapping[bytes, int], *, max_tokens: int) -> tuple[Unit, bool]:
    """The unit, and whether the teacher's tokens are those of its answer. What it lists and the base does not know is rest."""
    row, words = chat.answer_row(example.messages, max_tokens=max_tokens), chat.encode_answer(example.messages)
    places = [n for n, mark in enumerate(words.learned) if mark and words.ids[n] not in chat.end_ids]
    own = [words.ids[n] for n in places]
    ends = {b"", *(str(token).encode() for token in chat.tokenizer.convert_ids_to_tokens(list(chat.end_ids)))}
    while listed and listed[-1][0] in ends:  # some servers list the end token as well
        listed = listed[:-1]
    matches = own == [known.get(token) for token, _, _ in listed]
    found = dict(zip(places, listed, strict=True)) if matches else {}
    each: list[dict[int, float]] = []
    for place in (n for n, mark in enumerate(row.learned) if mark and n):
        _, log_p, likeliest = found.get(place, (b"", 0.0, ()))
        each.append({row.ids[place]: log_p} | {known[other]: p for other, p in likeliest if other in known})
    most = max(map(len, each), default=1)
    ids = [number for one in each for number in (*one, *[-1] * (most - len(one)))]
    log_q = [number for one in each for number in (*one.values(), *[0.0] * (most - len(one)))]
    return Unit((row,), sum(token_counts((row,))), signal=(most, *ids, *log_q)), matches


def _formula(batch: Batch) -> ListedTokens:
    most = int(max(unit.signal[0] for unit in batch.units))
    ids, log_q = [], []
    for unit in batch.units:
        own = int(unit.signal[0])
        numbers = torch.tensor(unit.signal[1:], dtype=torch.float64).view(2, -1, own)
        ids.append(torch.nn.functional.pad(numbers[0], (0, most - own), value=-1))
        log_q.append(torch.nn.functional.pad(numbers[1], (0, most - own)))
    device = batch.layout.row_N.device
    return ListedTokens(torch.cat(ids).long().to(device), torch.cat(log_q).float().to(device))
