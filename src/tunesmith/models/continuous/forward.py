"""One pass of a model over tokens of many rows, each with its own keys and values in a slot of the memory."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import torch

from tunesmith.core.errors import ModelError
from tunesmith.models.continuous.adapters import AdapterBank
from tunesmith.models.continuous.attention import NAME, Piece, Run, Step, register
from tunesmith.models.continuous.memory import KeyValues
from tunesmith.models.generation.attending import SlotAttention
from tunesmith.models.generation.fits import fits

__all__ = ["Costs", "Forward", "Part"]

_TRIALS, _TRIAL_TOKENS = 3, 9  # passes measured of each size, and tokens of the larger size


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
    """Seconds of a pass: so many for itself (`empty`), and so many for each of its tokens."""

    empty: float
    token: float


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
        """Answers in neighbouring slots together."""
        newest = sorted((part.slot, at) for at, part in enumerate(parts) if not part.is_piece)
        runs: list[list[tuple[int, int]]] = []
        for slot, at in newest:
            if runs and runs[-1][-1][0] == slot - 1:
                runs[-1].append((slot, at))
            else:
                runs.append([(slot, at)])
        made = []
        for run in runs:
            Q = max(len(parts[at].ids) for _, at in run)
            steps = [[min(q, len(parts[at].ids) - 1) for q in range(Q)] for _, at in run]
            tokens = [[begins[at] + q for q in own] for (_, at), own in zip(run, steps, strict=True)]
            lengths = [[parts[at].start + q for q in own] for (_, at), own in zip(run, steps, strict=True)]
            made.append(Run(run[0][0], self.tensor(tokens), self.tensor(lengths), max(own[-1] for own in lengths)))
        return made

    @torch.inference_mode()
    def costs(self) -> Costs:
        """Measured by a few passes of one token and of several, in the memory's first slot: before anything is in work.

        On a CPU the thread's own time is taken, which other programs do not change.
        """
        clock = time.thread_time if self._device.type == "cpu" else time.perf_counter
        taken: dict[int, list[float]] = {1: [], _TRIAL_TOKENS: []}
        for trial in range(_TRIALS + 1):
            for count, seconds in taken.items():
                begin = clock()
                self.run([Part(0, 0, [1] * count, wanted=count)]).argmax(-1).tolist()
                if trial:  # the first of each size also pays for what is made once
                    seconds.append(clock() - begin)
        one, several = (median(seconds) for seconds in taken.values())
        token = max((several - one) / (_TRIAL_TOKENS - 1), 1e-3 * one)
        return Costs(max(one - token, 0.0), token)
