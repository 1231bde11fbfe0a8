"""The generator of a server: a batch that never ends. Requests join between two passes and leave when they are done.

Every pass makes one token of each answer in work, or several where drafted ones turn out right, and reads up to `piece_tokens`
of prompts, so that a long prompt does not hold up the others. One thread uses it; nothing here waits.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from tunesmith.models.continuous.drafts import Drafter
from tunesmith.models.continuous.forward import Costs, Forward, Part
from tunesmith.models.continuous.prefix import BLOCK, PrefixCache, block_names
from tunesmith.models.generation.requests import Job
from tunesmith.models.generation.sampling import Voice, choose

__all__ = ["Capacity", "Continuous", "Order", "Token", "is_right"]

_MOST_SCORED = 256  # tokens of a prompt in a pass of which all logits are wanted: each takes the memory of a vocabulary
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
    before it is chosen. `took(token)` hears each token and says whether the answer ends with it. `heard(tokens)`, if there is
    one, hears those of the prompt before that, some at a time, with the log-probability of each given all before it (the first
    has none); nothing of such a prompt is taken from the cache. The job may then have no room for an answer.

    `cached` and `read` are how many tokens of the prompt were found, and are in memory; `drafts` counts passes with guesses,
    `drafted` the guesses, and `accepted` those that were right."""

    job: Job
    adapter: str
    took: Callable[[Token], bool]
    salt: str = ""
    logprobs: int | None = None
    allow: Callable[[torch.Tensor], None] | None = None
    heard: Callable[[Sequence[Token]], None] | None = None
    cached: int = 0
    read: int = 0
    slot: int = -1
    tokens: list[int] = field(default_factory=list)
    blocks: list[bytes] = field(default_factory=list)
    voice: Any = None
    draft: Any = None
    drafts: int = 0
    drafted: int = 0
    accepted: int = 0

    @property
    def is_writing(self) -> bool:
        """Whether the prompt has been read."""
        return self.read >= len(self.job.ids)

    def since(self, place: int) -> Sequence[int]:
        """The tokens of prompt and answer from this place on."""
        ahead = place - len(self.job.ids)
        return self.tokens[ahead:] if ahead >= 0 else (*self.job.ids[place:], *self.tokens)


class Continuous:
    """The continuous batch of one model. ModelError if the model's attention cannot be given slots (see `generation.fits`).

    `drafter` guesses at most `draft_tokens` of the next tokens of each answer; answers are the same without it. `costs` of a
    pass are measured if they are not given.
    """

    def __init__(
        self,
        model: Any,
        capacity: Capacity,
        *,
        drafter: Drafter | None = None,
        draft_tokens: int = 0,
        costs: Costs | None = None,
    ) -> None:
        self.forward = Forward(model)
        self.capacity, self.longest = capacity, self.forward.longest
        self.bank, self.memory = self.forward.bank, self.forward.memory
        self.prefix = PrefixCache(capacity.prefix_bytes)
        self.bytes_per_token = self.forward.bytes_per_token + (drafter.bytes_per_token if drafter else 0)
        self.waiting: deque[Order] = deque()
        self.rows: list[Order] = []  # by slot
        self._drafter, self._draft_tokens = drafter, draft_tokens
        self._costs = costs or self.forward.costs() if drafter else None

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
            self._forget(order)
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
        """One pass: every answer in work grows by a token, or by several where drafted ones are right."""
        self._admit()
        writing = [row for row in self.rows if row.is_writing]
        pieces = self._pieces()
        if not writing and not pieces:
            return
        drafts = self._drafts(writing)
        parts = [
            Part(row.slot, self._length(row), (row.tokens[-1], *draft), 1 + len(draft), row.adapter)
            for row, draft in zip(writing, drafts, strict=True)
        ]
        parts += [
            Part(row.slot, row.read, row.job.ids[row.read : row.read + count], _wanted(row, count), row.adapter, is_piece=True)
            for row, count in pieces
        ]
        logits_NV = self.forward.run(parts)
        begin, ready, ended = 0, list[tuple[Order, Sequence[int], int]](), list[Order]()
        for row, draft in zip(writing, drafts, strict=True):
            ready.append((row, draft, begin))
            begin += 1 + len(draft)
        for row, count in pieces:
            end = begin + _wanted(row, count)
            _tell(row, count, logits_NV[begin:end])
            row.read, begin = row.read + count, end
            if row.is_writing:
                self._keep(row, row.job.ids)
                if row.job.room:
                    ready.append((row, [], end - 1))
                else:
                    ended.append(row)
        self._take(ready, logits_NV.float())
        for row in ended:
            self._leave(row)

    @torch.inference_mode()
    def embed(self, ids: Sequence[int], adapter: str) -> list[float]:
        """The mean over a text's tokens of the last layer's output, at length 1. A pass of its own, outside the batch."""
        with self.bank.parts([(adapter, 0, len(ids))] if adapter else []):
            ids_T = self.forward.tensor(ids)
            out = self.forward.model(input_ids=ids_T[None], use_cache=False, output_hidden_states=True, logits_to_keep=1)
        mean_D = out.hidden_states[-1][0].float().mean(0)
        vector: list[float] = torch.nn.functional.normalize(mean_D, dim=0).tolist()
        return vector

    def _admit(self) -> None:
        """Give slots to those that wait, in their order. One whose prompt begins as one that is being read waits for it."""
        held: list[Order] = []
        while self.waiting and len(self.rows) < self.capacity.rows:
            order = self.waiting.popleft()
            found = self.prefix.count(order.blocks) if order.heard is None else 0
            if order.heard is None and any(_shared(order, row) > found for row in self.rows if not row.is_writing):
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
                count = min(budget, len(row.job.ids) - row.read, budget if row.heard is None else _MOST_SCORED)
                pieces.append((row, count))
                budget -= count
        return pieces

    def _drafts(self, writing: Sequence[Order]) -> list[list[int]]:
        if self._drafter is None or self._costs is None or not writing:
            return [[] for _ in writing]
        most = [min(self._draft_tokens, row.job.room - len(row.tokens) - 1) for row in writing]
        return self._drafter.draft(writing, most, self._costs)

    @staticmethod
    def _length(row: Order) -> int:
        """Tokens of a row that are in memory: all but the newest. Columns after them may hold drafts that were wrong: no later
        token attends to a column before it has been written again."""
        return len(row.job.ids) + max(0, len(row.tokens) - 1)

    def _take(self, rows: Sequence[tuple[Order, Sequence[int], int]], logits_NV: torch.Tensor) -> None:
        """Choose the next tokens of every row (row, its draft, the place of its first logits), and let those go that end.

        Each token is chosen as without a draft, from logits after all tokens before it; while the choice is the one that was
        drafted, the logits after the draft are those after the answer, and the next is chosen.
        """
        ended, at, now = [], 0, list(rows)
        while now:
            chosen = self._choose([row for row, _, _ in now], logits_NV[[begin + at for _, _, begin in now]])
            further = []
            for one, token in zip(now, chosen, strict=True):
                row, draft, _ = one
                row.tokens.append(token.id)
                right = is_right(draft, at, token.id)
                row.accepted += right
                if row.took(token) or len(row.tokens) >= row.job.room:
                    ended.append(row)
                elif right:
                    further.append(one)
            now, at = further, at + 1
        for row, draft, _ in rows:
            row.drafts += bool(draft)
            row.drafted += len(draft)
        for row in ended:  # when all have their tokens: a slot that moves must know its length
            self._keep(row, (*row.job.ids, *row.tokens[:-1]))
            self._leave(row)

    @staticmethod
    def _choose(rows: Sequence[Order], logits_nV: torch.Tensor) -> list[Token]:
        """The next token of each row, with its log-probabilities where they are asked for."""
        raw = [row.logprobs for row in rows]
        log_p = {at: torch.log_softmax(logits_nV[at], -1) for at, count in enumerate(raw) if count is not None}
        for at, row in enumerate(rows):
            if row.allow is not None:
                row.allow(logits_nV[at])
        tokens = []
        for at, token in enumerate(choose(logits_nV, [row.voice for row in rows])):
            tokens.append(_token(token, log_p[at], raw[at] or 0) if at in log_p else Token(token))
        return tokens

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
        self._forget(order)
        self.memory.release(len(self.rows) or 1, max(map(self._columns, self.rows), default=1))

    def _forget(self, order: Order) -> None:
        order.slot = -1
        if self._drafter is not None:
            self._drafter.left(order)


def _token(id: int, log_p_V: torch.Tensor, count: int) -> Token:
    """With its log-probability, and those of the `count` likeliest."""
    values, ids = log_p_V.topk(count) if count else (log_p_V[:0], log_p_V[:0].long())
    return Token(id, float(log_p_V[id]), tuple(zip(ids.tolist(), values.tolist(), strict=True)))


def _wanted(row: Order, count: int) -> int:
    """After how many of the next `count` tokens of a prompt logits are wanted."""
    return 1 if row.heard is None or row.logprobs is None else count


def _tell(row: Order, count: int, logits_TV: torch.Tensor) -> None:
    """Tell a row, if it wants to hear, the tokens of its prompt that follow the next `count`, and the first one."""
    if row.heard is None:
        return
    followers = row.job.ids[row.read + 1 : row.read + count + 1]
    tokens = [Token(row.job.ids[0])] if row.read == 0 else []
    if row.logprobs is None:
        tokens += map(Token, followers)
    else:
        for id, logits_V in zip(followers, logits_TV, strict=False):  # after the prompt's last token comes the answer
            tokens.append(_token(id, torch.log_softmax(logits_V.float(), -1), row.logprobs))
    row.heard(tokens)


def is_right(draft: Sequence[int], at: int, token: int) -> bool:
    """Whether the token that a row chose is the one that was drafted in its place."""
    return at < len(draft) and draft[at] == token


def _shared(one: Order, other: Order) -> int:
    """Blocks with which both prompts begin."""
    pairs = zip(one.blocks, other.blocks, strict=False)
    return next((at for at, (a, b) in enumerate(pairs) if a != b), min(len(one.blocks), len(other.blocks)))
