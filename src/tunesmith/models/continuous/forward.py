"""One pass of a model over tokens of many rows, each with its own keys and values in a slot of the memory."""

from __future__ import annotations

import math
import time
from bisect import bisect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from tunesmith.core.errors import ModelError
from tunesmith.models.continuous.adapters import AdapterBank
from tunesmith.models.continuous.attention import NAME, Piece, Run, Step, register
from tunesmith.models.continuous.memory import KeyValues
from tunesmith.models.generation.attending import SlotAttention
from tunesmith.models.generation.fits import fits

__all__ = ["Costs", "Forward", "Part"]

_TRIAL_SIZES, _TRIALS = (1, 2, 8, 32, 64), 3  # tokens of the passes that are timed, and how often
_MOST_FILLING = 12  # places of a run filled up, of which so many cost as much as a further run


@dataclass(frozen=True, slots=True)
class Part:
    """Tokens of one row in a pass: `ids` come into `slot` after the `start` tokens that are there. Logits are wanted after the
    last `wanted` of them. `is_piece`: part of a prompt, else the newest token of an answer with what was drafted after it."""

    slot: int
    start: int
    ids: Sequence[int]
    wanted: int = 1
    adapter: str = ""
    is_piece: bool = False


@dataclass(frozen=True, slots=True)
class Costs:
    """Seconds of a pass by its number of tokens: measured points (tokens, seconds), at least two, with straight lines between
    them and beyond."""

    points: tuple[tuple[int, float], ...]

    def of(self, count: int) -> float:
        """Seconds of a pass of `count` tokens."""
        at = min(max(bisect(self.points, (count, math.inf)), 1), len(self.points) - 1)
        (low, first), (high, last) = self.points[at - 1], self.points[at]
        return first + (last - first) * (count - low) / (high - low)


class Forward:
    """A model with its memory and its adapters. ModelError if its attention cannot be given slots (`generation.fits`)."""

    def __init__(self, model: Any) -> None:
        fit = fits(model)
        if fit.reason:
            raise ModelError(
                "this model cannot be served by the embedded engine",
                value=fit.reason,
                expected="attention that takes part in a shared batch",
                hint="export it and serve the GGUF file, or start vLLM and serve its address",
            )
        register()
        self.model, self.longest, self.bytes_per_token = model, fit.longest, fit.bytes_per_token
        self.vocabulary = int(model.config.get_text_config().vocab_size)
        self.memory = KeyValues(model.config.get_text_config().num_hidden_layers)
        self.bank = AdapterBank(model)
        self._attention = SlotAttention(model, NAME)
        self._device: torch.device = model.device
        self._explicit = self._device.type == "cpu" and model.dtype == torch.float32

    def run(self, parts: Sequence[Part]) -> torch.Tensor:
        """Logits (sum of `wanted`, V) in the order of the parts. In the pass, tokens of one adapter are neighbours, so that
        each of its layers works on one slice."""
        ids: list[int] = []
        places: list[int] = []
        begins = [0] * len(parts)
        adapted: list[tuple[str, int, int]] = []
        for at in sorted(range(len(parts)), key=lambda at: parts[at].adapter):
            part = parts[at]
            begins[at] = begin = len(ids)
            ids += part.ids
            places += range(part.start, part.start + len(part.ids))
            if adapted and adapted[-1][0] == part.adapter:
                begin = adapted.pop()[1]
            adapted.append((part.adapter, begin, len(ids)))
        kept = [
            place
            for part, begin in zip(parts, begins, strict=True)
            for place in range(begin + len(part.ids) - part.wanted, begin + len(part.ids))
        ]
        laid = [
            Piece(part.slot, begin, begin + len(part.ids), part.start)
            for part, begin in zip(parts, begins, strict=True)
            if part.is_piece
        ]
        step = Step(self.memory, self._runs(parts, begins), laid, self._explicit)
        with self._attention.on(), self.bank.parts([one for one in adapted if one[0]]):
            out = self.model(
                input_ids=self.tensor(ids)[None],
                position_ids=self.tensor(places)[None],
                use_cache=False,
                logits_to_keep=self.tensor(kept),
                slots=step,
            )
        logits: torch.Tensor = out.logits[0]
        return logits

    def tensor(self, numbers: Any) -> torch.Tensor:
        """Whole numbers on the model's device."""
        return torch.tensor(numbers, dtype=torch.long, device=self._device)

    def _runs(self, parts: Sequence[Part], begins: Sequence[int]) -> list[Run]:
        """Answers in neighbouring slots together, as far as they have about as many tokens."""
        runs: list[list[int]] = []
        for at in sorted((at for at, part in enumerate(parts) if not part.is_piece), key=lambda at: parts[at].slot):
            if not runs or parts[runs[-1][-1]].slot != parts[at].slot - 1 or _filling(parts, [*runs[-1], at]) > _MOST_FILLING:
                runs.append([])
            runs[-1].append(at)
        made = []
        for run in runs:
            Q = max(len(parts[at].ids) for at in run)
            steps = [[min(q, len(parts[at].ids) - 1) for q in range(Q)] for at in run]
            tokens = [[begins[at] + q for q in own] for at, own in zip(run, steps, strict=True)]
            lengths = [[parts[at].start + q for q in own] for at, own in zip(run, steps, strict=True)]
            made.append(Run(parts[run[0]].slot, self.tensor(tokens), self.tensor(lengths), max(own[-1] for own in lengths)))
        return made

    @torch.inference_mode()
    def costs(self) -> Costs:
        """Measured in the memory's first slot, before anything is in work. The least of a few passes of each size counts, and
        on a CPU the thread's own time, which other programs hardly change."""
        clock = time.thread_time if self._device.type == "cpu" else time.perf_counter
        points: list[tuple[int, float]] = []
        for size in _TRIAL_SIZES:
            taken = []
            for _ in range(_TRIALS):
                begin = clock()
                self.run([Part(0, 0, [1] * size, wanted=size)]).argmax(-1).tolist()
                taken.append(clock() - begin)
            points.append((size, max(min(taken), points[-1][1] if points else 0.0)))
        return Costs(tuple(points))


def _filling(parts: Sequence[Part], run: Sequence[int]) -> int:
    """Places of a run that are filled up, because a row has fewer tokens than another."""
    sizes = [len(parts[at].ids) for at in run]
    return max(sizes) * len(sizes) - sum(sizes)
