"""The batched generator: prompts go into slots as these fall free, every pass makes one token of every answer in work.

Each pass is one row of tokens: newest tokens of all answers and whole new prompts together. Work ends when all jobs have.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import torch

from tunesmith.models.generation.adapter_rows import AdapterRows
from tunesmith.models.generation.attending import SlotAttention
from tunesmith.models.generation.pass_plan import PassPlan, plan_new
from tunesmith.models.generation.requests import Job
from tunesmith.models.generation.sampling import Voice, choose
from tunesmith.models.generation.slots import LayerCache, Slots
from tunesmith.models.generation.table import CachePlan, Row, Table, plan_cache

__all__ = ["Engine", "Limits", "Made", "shared_prefix"]

_PROMPT_TOKENS = 2048  # of new prompts a pass: enough to fill the matrix products, few enough not to hold up the others
_LEAST_PREFIX = 8  # tokens below which sharing costs more than it saves
_REFILL = 32  # one in so many slots must be free before new prompts go in


@dataclass(frozen=True, slots=True)
class Made:
    """A token of a job's answer; `last` if the answer ends with it."""

    job: int
    token: int
    last: bool


@dataclass(frozen=True, slots=True)
class Limits:
    """Maximum number of rows at once, bytes of keys and values per token, and bytes that all of them may take."""

    most: int
    bytes_per_token: int
    budget_bytes: int


Choose = Callable[[torch.Tensor, Sequence[Row]], list[int]]
Ends = Callable[[int, Sequence[int]], bool]


def shared_prefix(jobs: Sequence[Job]) -> int:
    """Tokens with which all prompts begin, at least one token of each left over; 0 where sharing would not pay."""
    if len(jobs) < 2:
        return 0
    first, last = min(job.ids for job in jobs), max(job.ids for job in jobs)  # in order, these differ the earliest
    same = next((at for at, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), len(first))
    size = min(same, min(len(job.ids) for job in jobs) - 1)
    return size if size >= _LEAST_PREFIX else 0


class Engine:
    """One generation over `jobs`. `ends(job, tokens)` says whether an answer ends with its last token.

    `model` must be one that `fits` accepts. `explicit`: attention of the newest tokens as written-out products over a prefix
    kept once (the default in float32 on CPU, where that is faster), else by the library's kernel. `choose_tokens` and `call`
    replace the choice of tokens and the model's forward pass, for trials.
    """

    def __init__(
        self,
        model: Any,
        jobs: Sequence[Job],
        *,
        ends: Ends,
        limits: Limits,
        choose_tokens: Choose | None = None,
        explicit: bool | None = None,
        call: Callable[..., Any] | None = None,
    ) -> None:
        self._model = model.get_base_model() if hasattr(model, "get_base_model") else model
        self._call = call or self._model
        self._device: torch.device = self._model.device
        self._jobs = jobs
        self._ends = ends
        self._attention = SlotAttention(self._model)
        self._adapter = AdapterRows(model)
        mixed = self._adapter.is_adapted and not all(job.adapter for job in jobs)
        self._side = [int(job.adapter) if mixed else 0 for job in jobs]
        self._mixed = mixed
        plain_products = self._device.type == "cpu" and self._model.dtype == torch.float32
        self._explicit = plain_products if explicit is None else explicit
        prefix = shared_prefix(jobs)
        own = [len(job.ids) - (prefix if self._explicit else 0) for job in jobs]
        self.plan: CachePlan = plan_cache(
            num_base=self._side.count(0),
            num_adapted=self._side.count(1),
            most=limits.most,
            prompt=max(own, default=1),
            room=max((job.room for job in jobs), default=1),
            prefix=prefix,
            bytes_per_token=limits.bytes_per_token,
            budget_bytes=limits.budget_bytes,
        )
        order = sorted(range(len(jobs)), key=lambda i: (len(jobs[i].ids), jobs[i].ids, -i))  # equal prompts go in together
        self._queues = tuple([i for i in order if self._side[i] == side] for side in (0, 1))  # the longest is taken first
        self._own = own
        self._table = Table(self.plan)
        self._slots = Slots(self.plan)
        voices = [Voice(job) for job in jobs]  # not the engine's own: a cycle would keep its memory until it is collected
        self._choose = choose_tokens or (lambda logits, rows: choose(logits, [voices[row.job] for row in rows]))
        self.windows: dict[int, int] = {}

    def run(self) -> Iterator[list[Made]]:
        """After every pass, the tokens that it made."""
        if self.plan.prefix:
            self._fill_prefix()
        while len(self._table) or any(self._queues):
            fresh = self._admit()
            with torch.inference_mode():
                logits_nV = self._pass(fresh)
                rows = self._table.in_order()
                tokens = self._choose(logits_nV, rows)
            yield self._take(rows, tokens)

    def layers(self) -> dict[int, LayerCache]:
        """The caches of the layers met so far."""
        return self._slots.layers

    def _admit(self) -> tuple[list[Row], list[Row]]:
        """New rows of both sides, the longest prompts first, as many as have slots and fit into a pass."""
        fresh: tuple[list[Row], list[Row]] = ([], [])
        waiting = sum(min(self._table.free(side), len(self._queues[side])) for side in (0, 1))
        if not waiting or (len(self._table) and waiting < self.plan.slots / _REFILL and waiting < sum(map(len, self._queues))):
            return fresh
        budget = _PROMPT_TOKENS
        for side in (0, 1):
            queue = self._queues[side]
            while queue and self._table.free(side) > len(fresh[side]):
                ids = self._jobs[queue[-1]].ids
                again = bool(fresh[side]) and self._jobs[fresh[side][-1].job].ids == ids
                cost = 0 if again else len(ids) - self.plan.prefix
                if budget < cost and (fresh[0] or fresh[1]):
                    break
                budget -= cost
                fresh[side].append(Row(queue.pop(), 0, 0))
        return fresh

    def _pass(self, fresh: tuple[list[Row], list[Row]]) -> torch.Tensor:
        """One forward pass over all rows and the fresh ones, which are put into the table. Logits (n, V) by rising slot."""
        table = self._table
        still = max(
            [self._own[q[-1]] for q in self._queues if q] + [self._own[r.job] for side in fresh for r in side], default=1
        )
        column, by = table.next_column(still)
        old = table.in_order()
        if by:
            begin = min(row.start for row in old)
            self._slots.shift(table.first, len(old), begin, table.column + 1, by)
            table.shift(by)
        num_base, first_slot = table.count(0), table.first
        table.column = column
        for side in (0, 1):
            for row in fresh[side]:
                row.start, row.length = column + 1 - self._own[row.job], len(self._jobs[row.job].ids) - 1
                table.add(side, row)
        prefix = self.plan.prefix
        parts = [_different([self._jobs[row.job].ids[prefix:] for row in rows]) for rows in (fresh[0][::-1], fresh[1])]
        prompts = [prompts for prompts, _ in parts]
        before = sum(map(len, prompts[0]))
        ids = [t for own in prompts[0] for t in own] + [row.tokens[-1] for row in old] + [t for own in prompts[1] for t in own]
        places = [p for own in prompts[0] for p in range(prefix, prefix + len(own))]
        places += [row.length for row in old]
        places += [p for own in prompts[1] for p in range(prefix, prefix + len(own))]
        begins, firsts = (0, before + len(old)), (first_slot - len(fresh[0]), first_slot + len(old))
        new = [
            plan_new(side, firsts[side], begins[side], [len(p) for p in prompts], rows, prefix, self._device)
            for side, (prompts, rows) in enumerate(parts)
            if prompts
        ]
        step = self._plan(new, column, old, num_base, first_token=before, first_slot=first_slot)
        last = [*_ends_of(*parts[0], 0), *range(before, before + len(old)), *_ends_of(*parts[1], before + len(old))]
        return self._forward(ids, places, step, last, first_adapted=before + num_base)

    def _plan(
        self, new: list[Any], column: int, old: Sequence[Row], num_base: int, *, first_token: int, first_slot: int
    ) -> PassPlan:
        return PassPlan(
            slots=self._slots,
            column=column,
            explicit=self._explicit,
            first_token=first_token,
            first_slot=first_slot,
            rows=[Row(row.job, row.length, row.start) for row in old],
            num_base=num_base,
            new_prompts=new,
            device=self._device,
            windows=self.windows,
        )

    def _forward(
        self, ids: list[int], places: list[int], step: PassPlan, last: list[int], *, first_adapted: int
    ) -> torch.Tensor:
        def tensor(numbers: list[int]) -> torch.Tensor:
            return torch.tensor(numbers, device=self._device)

        first = first_adapted if self._mixed else 0
        with self._attention.on(), self._adapter.from_token(first) if self._adapter.can_mix else nullcontext():
            out = self._call(
                input_ids=tensor(ids)[None],
                position_ids=tensor(places)[None],
                use_cache=False,
                logits_to_keep=tensor(last),
                slots=step,
            )
        logits: torch.Tensor = out.logits[0]
        return logits

    def _fill_prefix(self) -> None:
        """Compute the shared prefix once for each side in use, in a slot that no row has yet."""
        size = self.plan.prefix
        ids = list(self._jobs[0].ids[:size])
        for side in sorted(set(self._side)):
            slot = self.plan.base_slots if side else 0
            new = [plan_new(side, slot, 0, [size], [0], 0, self._device)]
            step = self._plan(new, size - 1, [], 0, first_token=size, first_slot=slot)
            with torch.inference_mode():
                self._forward(ids, list(range(size)), step, [size - 1], first_adapted=0 if side else size)
                self._slots.keep_prefix(side, slot, size)

    def _take(self, rows: list[Row], tokens: list[int]) -> list[Made]:
        """Write the new tokens down; rows that end leave their slots."""
        made = []
        for row, token in zip(rows, tokens, strict=True):
            row.tokens.append(token)
            row.length += 1
            last = len(row.tokens) >= self._jobs[row.job].room or self._ends(row.job, row.tokens)
            made.append(Made(row.job, token, last))
        with torch.inference_mode():
            begin = min(row.start for row in rows)
            for to, origin in self._table.remove({m.job for m in made if m.last}):
                self._slots.move(to, origin, begin, self._table.column + 1)
        return made


def _different(prompts: Sequence[tuple[int, ...]]) -> tuple[list[tuple[int, ...]], list[int]]:
    """The prompts without those that equal their neighbour, and which of them each is."""
    kept: list[tuple[int, ...]] = []
    which = []
    for prompt in prompts:
        if not kept or kept[-1] != prompt:
            kept.append(prompt)
        which.append(len(kept) - 1)
    return kept, which


def _ends_of(prompts: Sequence[Sequence[int]], rows: Sequence[int], begin: int) -> list[int]:
    """The last token of the prompt of every row in the pass."""
    ends = [begin + size - 1 for size in accumulate(map(len, prompts))]
    return [ends[row] for row in rows]
