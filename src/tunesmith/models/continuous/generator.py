"""The generator of a server: a batch that never ends. Requests join between two passes and leave when they are done.

Every pass makes one token of each answer in work and reads up to `piece_tokens` of prompts, so that a long prompt does not
hold up the others. One thread uses it; nothing here waits.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from tunesmith.core.errors import ModelError
from tunesmith.models.continuous.adapters import AdapterBank
from tunesmith.models.continuous.attention import NAME, Piece, Run, Step, register
from tunesmith.models.continuous.memory import KeyValues
from tunesmith.models.continuous.prefix import BLOCK, PrefixCache, block_names
from tunesmith.models.generation.attending import SlotAttention
from tunesmith.models.generation.fits import fits
from tunesmith.models.generation.requests import Job
from tunesmith.models.generation.sampling import Voice, choose

__all__ = ["Capacity", "Continuous", "Order", "Token"]

_FIRST_COLUMNS = 256  # of the memory, and what a row counts at least


@dataclass(frozen=True, slots=True)
class Capacity:
    """Answers at once, bytes of keys and values in work and of cached prompts, and tokens of prompts read in a pass."""

    rows: int
    memory_bytes: int
    prefix_bytes: int
    piece_tokens: int


@dataclass(frozen=True, slots=True)
class Token:
    """A token of an answer. `log_p` and `top` (id, ln p): of the raw distribution, where the order asks for them."""

    id: int
    log_p: float | None = None
    top: tuple[tuple[int, float], ...] = ()


@dataclass(eq=False, slots=True)
class Order:
    """An answer asked for. `adapter`: a key of the bank, or empty for the base alone. `logprobs`: how many likeliest tokens to
    report beside the chosen one, None for no log-probabilities. `allow` changes the logits (V) of the next token in place
    before it is chosen. `took(token)` hears each token and says whether the answer ends with it; `cached` and `read` are how
    many tokens of the prompt were found, and are in memory."""

    job: Job
    adapter: str
    took: Callable[[Token], bool]
    salt: str = ""
    logprobs: int | None = None
    allow: Callable[[torch.Tensor], None] | None = None
    cached: int = 0
    read: int = 0
    slot: int = -1
    tokens: list[int] = field(default_factory=list)
    blocks: list[bytes] = field(default_factory=list)
    voice: Any = None

    @property
    def is_writing(self) -> bool:
        """Whether the prompt has been read."""
        return self.read >= len(self.job.ids)


class Continuous:
    """The continuous batch of one model. ModelError if the model's attention cannot be given slots (see `generation.fits`)."""

    def __init__(self, model: Any, capacity: Capacity) -> None:
        fit = fits(model)
        if fit.reason:
            raise ModelError(
                "this model cannot be served by the embedded engine",
                value=fit.reason,
                expected="attention that takes part in a shared batch",
                hint="export it and serve the GGUF file, or start vLLM and serve its address",
            )
        register()
        self.model, self.capacity, self.longest = model, capacity, fit.longest
        self.bank = AdapterBank(model)
        self.memory = KeyValues(model.config.get_text_config().num_hidden_layers)
        self.prefix = PrefixCache(capacity.prefix_bytes)
        self.bytes_per_token = fit.bytes_per_token
        self.waiting: deque[Order] = deque()
        self.rows: list[Order] = []  # by slot
        self._attention = SlotAttention(model, NAME)
        self._device: torch.device = model.device
        self._explicit = self._device.type == "cpu" and model.dtype == torch.float32

    def add(self, order: Order) -> None:
        """Let an answer wait for a slot."""
        order.voice = Voice(order.job)
        order.blocks = block_names(order.job.ids, order.salt)
        self.waiting.append(order)

    @torch.inference_mode()
    def drop(self, order: Order) -> None:
        """Give an answer up, wherever it is."""
        if order.slot >= 0:
            self._leave(order)
        elif order in self.waiting:
            self.waiting.remove(order)

    def clear(self) -> list[Order]:
        """Give up everything, after a pass that failed; returns what was in work or waited."""
        given_up = [*self.rows, *self.waiting]
        for order in given_up:
            order.slot = -1
        self.rows.clear()
        self.waiting.clear()
        self.prefix.forget()
        return given_up

    @property
    def is_idle(self) -> bool:
        """Whether there is nothing to do."""
        return not self.rows and not self.waiting

    @torch.inference_mode()
    def step(self) -> None:
        """One pass: every answer in work grows by a token."""
        self._admit()
        writing = [row for row in self.rows if row.is_writing]
        pieces = self._pieces()
        if not writing and not pieces:
            return
        logits_nV, order = self._pass(writing, pieces)
        for row, count in pieces:
            row.read += count
            if row.is_writing:
                self._keep(row, row.job.ids)
        ready = [(at, row) for at, row in enumerate(order) if row.is_writing]
        if ready:
            self._take([row for _, row in ready], logits_nV[[at for at, _ in ready]])

    @torch.inference_mode()
    def embed(self, ids: Sequence[int], adapter: str) -> list[float]:
        """The mean over a text's tokens of the last layer's output, at length 1. A pass of its own, outside the batch."""
        with self.bank.parts([(adapter, 0, len(ids))] if adapter else []):
            out = self.model(input_ids=self._tensor(ids)[None], use_cache=False, output_hidden_states=True, logits_to_keep=1)
        mean_D = out.hidden_states[-1][0].float().mean(0)
        vector: list[float] = torch.nn.functional.normalize(mean_D, dim=0).tolist()
        return vector

    def _admit(self) -> None:
        """Give slots to those that wait, in their order. One whose prompt begins as one that is being read waits for it."""
        held: list[Order] = []
        while self.waiting and len(self.rows) < self.capacity.rows:
            order = self.waiting.popleft()
            found = self.prefix.count(order.blocks)
            if any(_shared(order, row) > found for row in self.rows if not row.is_writing):
                held.append(order)
                continue
            needed = max(self._columns(row) for row in (*self.rows, order))
            if self.rows and self._bytes(len(self.rows) + 1, needed) > self.capacity.memory_bytes:
                self.waiting.appendleft(order)
                break
            self.memory.reserve(len(self.rows) + 1, needed)
            order.slot = len(self.rows)
            self.rows.append(order)
            self.prefix.queries += len(order.job.ids)
            if found:
                self._restore(order)
        self.waiting.extendleft(reversed(held))

    def _bytes(self, rows: int, columns: int) -> int:
        columns = _FIRST_COLUMNS << ((columns - 1) // _FIRST_COLUMNS).bit_length()
        return self.bytes_per_token * (1 << (rows - 1).bit_length()) * columns

    @staticmethod
    def _columns(order: Order) -> int:
        return len(order.job.ids) + order.job.room

    def _restore(self, order: Order) -> None:
        """Begin with what is cached; at least the last token of the prompt is read, for its logits."""
        whole = (len(order.job.ids) - 1) // BLOCK
        for number, block in enumerate(self.prefix.take(order.blocks[:whole])):
            self.memory.write(order.slot, number * BLOCK, block)
            order.read += BLOCK
        order.cached = order.read
        self.prefix.hits += order.read

    def _pieces(self) -> list[tuple[Order, int]]:
        budget, pieces = self.capacity.piece_tokens, []
        for row in self.rows:
            if not row.is_writing and budget > 0:
                count = min(budget, len(row.job.ids) - row.read)
                pieces.append((row, count))
                budget -= count
        return pieces

    def _pass(self, writing: Sequence[Order], pieces: Sequence[tuple[Order, int]]) -> tuple[torch.Tensor, list[Order]]:
        """Logits (n, V) after the last token of each row in the pass, and which rows these are. Tokens of one adapter are
        neighbours, so that each of its layers works on one slice."""
        ids: list[int] = []
        places: list[int] = []
        last: list[int] = []
        order: list[Order] = []
        parts: list[tuple[str, int, int]] = []
        newest: dict[int, int] = {}
        laid: list[Piece] = []
        for key in sorted({row.adapter for row in writing} | {row.adapter for row, _ in pieces}):
            begin = len(ids)
            for row in writing:
                if row.adapter == key:
                    newest[row.slot] = len(ids)
                    ids.append(row.tokens[-1])
                    places.append(self._length(row))
                    last.append(len(ids) - 1)
                    order.append(row)
            for row, count in pieces:
                if row.adapter == key:
                    laid.append(Piece(row.slot, len(ids), len(ids) + count, row.read))
                    ids += row.job.ids[row.read : row.read + count]
                    places += range(row.read, row.read + count)
                    last.append(len(ids) - 1)
                    order.append(row)
            if key:
                parts.append((key, begin, len(ids)))
        step = Step(self.memory, self._runs(newest), laid, self._explicit)
        with self._attention.on(), self.bank.parts(parts):
            out = self.model(
                input_ids=self._tensor(ids)[None],
                position_ids=self._tensor(places)[None],
                use_cache=False,
                logits_to_keep=self._tensor(last),
                slots=step,
            )
        logits: torch.Tensor = out.logits[0]
        return logits, order

    def _tensor(self, numbers: Sequence[int]) -> torch.Tensor:
        return torch.tensor(numbers, device=self._device)

    @staticmethod
    def _length(row: Order) -> int:
        """Tokens of a row that are in memory: all but the newest."""
        return len(row.job.ids) + len(row.tokens) - 1

    def _runs(self, newest: dict[int, int]) -> list[Run]:
        """Neighbouring slots together. `newest`: slot → token of the pass."""
        runs: list[list[int]] = []
        for slot in sorted(newest):
            if runs and runs[-1][-1] == slot - 1:
                runs[-1].append(slot)
            else:
                runs.append([slot])
        made = []
        for slots in runs:
            lengths = [self._length(self.rows[slot]) for slot in slots]
            tokens = self._tensor([newest[slot] for slot in slots])
            made.append(Run(slots[0], tokens, self._tensor(lengths), max(lengths)))
        return made

    def _take(self, rows: Sequence[Order], logits_nV: torch.Tensor) -> None:
        """Choose the next token of every row, hand it on, and let those go that end."""
        logits_nV = logits_nV.float()
        raw = [row.logprobs for row in rows]
        log_p = {at: torch.log_softmax(logits_nV[at], -1) for at, count in enumerate(raw) if count is not None}
        for at, row in enumerate(rows):
            if row.allow is not None:
                row.allow(logits_nV[at])
        chosen = choose(logits_nV, [row.voice for row in rows])
        for row, token in zip(rows, chosen, strict=True):
            row.tokens.append(token)  # all before any leaves: a slot that moves must know its length
        for at, (row, token) in enumerate(zip(rows, chosen, strict=True)):
            told = Token(token)
            if at in log_p:
                count = raw[at] or 0
                values, ids = log_p[at].topk(count) if count else (log_p[at][:0], log_p[at][:0].long())
                told = Token(token, float(log_p[at][token]), tuple(zip(ids.tolist(), values.tolist(), strict=True)))
            if row.took(told) or len(row.tokens) >= row.job.room:
                self._keep(row, (*row.job.ids, *row.tokens[:-1]))
                self._leave(row)

    def _keep(self, row: Order, ids: Sequence[int]) -> None:
        """Cache the whole blocks of what is in memory of a row."""
        names = row.blocks if len(ids) == len(row.job.ids) else block_names(ids, row.salt)
        self.prefix.add(names, lambda number: self.memory.read(row.slot, number * BLOCK, (number + 1) * BLOCK))

    def _leave(self, order: Order) -> None:
        """Free a slot; the last row moves into it, so that rows stay without a gap."""
        last = self.rows.pop()
        if last is not order:
            length = self._length(last) if last.is_writing else last.read
            self.memory.move(order.slot, last.slot, length)
            last.slot = order.slot
            self.rows[order.slot] = last
        order.slot = -1
        self.memory.release(len(self.rows) or 1, max(map(self._columns, self.rows), default=1))


def _shared(one: Order, other: Order) -> int:
    """Blocks with which both prompts begin."""
    pairs = zip(one.blocks, other.blocks, strict=False)
    return next((at for at, (a, b) in enumerate(pairs) if a != b), min(len(one.blocks), len(other.blocks)))
