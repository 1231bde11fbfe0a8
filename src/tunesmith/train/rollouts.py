"""The rollouts of a run on disk: what was answered, for people to read, and the numbers that a resumed run needs.

Each rollout (the answers that one step or several are made from) has two files in the run's work folder, written whole or not
at all: `N.jsonl`, a line for each answer, and `N.json`, the units as they were, with the hash of the weights that gave them. A
rollout is a pure function of weights, seed and number, so a file of other weights is written again, not used.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import orjson
import torch

from tunesmith.core.files import replace_file, storage_errors
from tunesmith.core.records import canonical_json, digest
from tunesmith.train.samples import Group, Sample, answer_rows
from tunesmith.train.units import Unit

__all__ = ["RolloutFiles", "weights_hash"]


def weights_hash(model: torch.nn.Module) -> str:
    """SHA-256 of all tensors that are trained."""
    found = hashlib.sha256()
    for parameter in model.parameters():
        if parameter.requires_grad:
            found.update(parameter.detach().cpu().contiguous().view(torch.uint8).numpy().data)
    return found.hexdigest()


class RolloutFiles:
    """The files of one run. `keep`: how many of the newest rollouts keep their numbers; what was answered is kept of all.

    `labels`: the names of the rewards.
    """

    def __init__(self, folder: Path, *, keep: int, labels: Sequence[str]) -> None:
        self._folder, self._keep, self._labels = folder, max(1, keep), tuple(labels)

    def read(self, number: int, weights: str | None) -> list[Unit] | None:
        """The units of a rollout; None if it is not there, damaged, or of other weights (`weights` None: of any)."""
        file = self._numbers(number)
        with suppress(ValueError, TypeError, KeyError, OSError):
            kept = orjson.loads(file.read_bytes())
            whole = kept["sha256"] == digest(canonical_json(kept["units"]))
            if whole and weights in (None, kept["weights"]) and self._answers(number).is_file():
                return [_unit(entries) for entries in kept["units"]]
        return None

    def write(self, number: int, weights: str, groups: Sequence[Group], units: Sequence[Unit]) -> None:
        """Keep a rollout, and remove the numbers of those that no checkpoint needs any more."""
        entries = [_entries(group, unit) for group, unit in zip(groups, units, strict=True)]
        kept = {"weights": weights, "sha256": digest(canonical_json(entries)), "units": entries}
        lines = b"".join(orjson.dumps(line) + b"\n" for line in self._lines(number, groups, units))
        with storage_errors("keeping what the model answered", self._folder, safe="the last checkpoint is intact"):
            self._folder.mkdir(parents=True, exist_ok=True)
            replace_file(self._answers(number), lines)
            replace_file(self._numbers(number), orjson.dumps(kept))
            for old in sorted(self._folder.glob("*.json"))[: -self._keep]:
                if old.name < self._numbers(number).name:
                    old.unlink()

    def collect(self, count: int, out: Path) -> None:
        """Write what was answered in the first `count` rollouts into one file."""
        with storage_errors("keeping what the model answered", out), out.open("wb") as file:
            for number in range(count):
                if self._answers(number).is_file():
                    file.write(self._answers(number).read_bytes())

    def _lines(self, number: int, groups: Sequence[Group], units: Sequence[Unit]) -> Iterator[dict[str, Any]]:
        for group, unit in zip(groups, units, strict=True):
            for place, sample in enumerate(group.samples):
                yield {
                    "rollout": number,
                    "example": group.example.id,
                    "prompt": group.example.prompt[-1].content,
                    "answer": sample.text,
                    "tokens": len(sample.ids),
                    "ended": sample.ended,
                    "rewards": dict(zip(self._labels, sample.rewards, strict=True)),
                    "reward": sample.reward,
                    "advantage": unit.signal[place] if unit.signal else None,
                }

    def _answers(self, number: int) -> Path:
        return self._folder / f"{number:08d}.jsonl"

    def _numbers(self, number: int) -> Path:
        return self._folder / f"{number:08d}.json"


def _entries(group: Group, unit: Unit) -> dict[str, Any]:
    return {
        "prompt": group.prompt,
        **({"teacher_prompt": group.teacher_prompt} if group.teacher_prompt else {}),
        "answers": [[s.ids, s.text, s.ended, s.rewards, s.reward] for s in unit.answers],
        "weight": unit.weight,
        "reference": unit.reference,
        "signal": unit.signal,
    }


def _unit(entries: dict[str, Any]) -> Unit:
    samples = tuple(
        Sample(tuple(ids), text, ended, tuple(rewards), reward) for ids, text, ended, rewards, reward in entries["answers"]
    )
    group = (tuple(entries["prompt"]), tuple(entries.get("teacher_prompt", ())))
    rows, shown = (answer_rows(prompt, samples) if prompt else () for prompt in group)
    reference, signal = tuple(entries["reference"]), tuple(entries["signal"])
    return Unit(rows, entries["weight"], reference, signal, only_scored=shown, answers=samples)
