"""Attention of one pass of the continuous batch, registered with transformers' AttentionInterface: no model is patched.

A pass is one row of tokens: the newest token of every answer that is being written with the tokens that were drafted after it,
and pieces of prompts that are being read. Each attends to its own slot alone.

Shapes: T tokens of the pass, n rows of a run of slots, Q tokens of each, R tokens of a piece, N columns attended, H query
heads, K key heads, G = H / K, D width of a head.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F

from tunesmith.models.continuous.memory import KeyValues

__all__ = ["NAME", "Piece", "Run", "Step", "register"]

NAME = "tunesmith_continuous"


@dataclass(frozen=True, slots=True)
class Piece:
    """Tokens `begin` to `end` of the pass: a piece of a prompt, of which `start` tokens are in the slot already."""

    slot: int
    begin: int
    end: int
    start: int


@dataclass(frozen=True, slots=True)
class Run:
    """Answers in neighbouring slots from `slot` on: where their newest tokens are in the pass (n, Q), and how many came before
    each (n, Q). A row with fewer than Q repeats its last one; `longest` is the largest of the lengths."""

    slot: int
    tokens: torch.Tensor
    lengths: torch.Tensor
    longest: int


@dataclass(slots=True)
class Step:
    """What attention needs to know of a pass; made once, used by every layer. `explicit`: written-out products, which are
    faster in float32 on a CPU, else the library's kernel."""

    memory: KeyValues
    runs: Sequence[Run]
    pieces: Sequence[Piece]
    explicit: bool
    _biases: dict[tuple[int, int], torch.Tensor] = field(default_factory=dict)
    _masks: dict[tuple[int, int], torch.Tensor | None] = field(default_factory=dict)

    def bias(self, number: int, window: int, dtype: torch.dtype) -> torch.Tensor:
        """(n, 1, 1, Q, N) of a run: zero where a token may attend, minus infinity where not."""
        if (number, window) not in self._biases:
            run = self.runs[number]
            columns = torch.arange(run.longest + 1, device=run.lengths.device)
            seen = columns <= run.lengths[..., None]
            if window:
                seen &= run.lengths[..., None] - columns < window
            bias = torch.zeros(seen.shape, dtype=dtype, device=columns.device).masked_fill_(~seen, float("-inf"))
            self._biases[number, window] = bias[:, None, None]
        return self._biases[number, window]

    def mask(self, number: int, window: int, device: torch.device) -> torch.Tensor | None:
        """(R, start + R) of a piece: True where a token may attend; None where plain causal attention says the same."""
        if (number, window) not in self._masks:
            piece = self.pieces[number]
            R, N = piece.end - piece.begin, piece.start + piece.end - piece.begin
            if piece.start == 0 and not 0 < window < R:
                self._masks[number, window] = None
            else:
                at = torch.arange(piece.start, N, device=device)[:, None]
                columns = torch.arange(N, device=device)
                seen = columns <= at
                self._masks[number, window] = seen & (at - columns < window) if window else seen
        return self._masks[number, window]


def register() -> None:
    """Make the attention known to transformers under `NAME`."""
    from transformers import AttentionInterface

    AttentionInterface.register(NAME, _attend)


def _attend(
    module: Any, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, attention_mask: torch.Tensor | None, **named: Any
) -> tuple[torch.Tensor, None]:
    """query (1, H, T, D), key and value (1, K, T, D) → (1, T, H, D). The `Step` comes as the keyword argument `slots`."""
    step: Step | None = named.get("slots")
    if step is None:
        raise ValueError("this model does not hand its attention the slots")
    scaling = named.get("scaling")
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    window, softcap = named.get("sliding_window") or 0, named.get("softcap")
    keys, values = step.memory.layer(module.layer_idx, key, value)
    K, T = key.shape[1], key.shape[2]
    q, k, v = (x[0].transpose(0, 1) for x in (query, key, value))
    out = q.new_empty(T, q.shape[1], v.shape[-1])
    for number, piece in enumerate(step.pieces):
        here, rows = slice(piece.begin, piece.end), slice(piece.slot * K, (piece.slot + 1) * K)
        N = piece.start + piece.end - piece.begin
        keys[rows, piece.start : N] = k[here].transpose(0, 1)
        values[rows, piece.start : N] = v[here].transpose(0, 1)
        out[here] = _attend_piece(
            q[here], keys[rows, :N], values[rows, :N], step.mask(number, window, q.device), scale, softcap
        )
    for number, run in enumerate(step.runs):
        n = run.tokens.shape[0]
        rows, alone = slice(run.slot * K, (run.slot + n) * K), torch.arange(run.slot, run.slot + n, device=q.device)
        keys.view(-1, K, *keys.shape[1:])[alone[:, None], :, run.lengths] = k[run.tokens]
        values.view(-1, K, *values.shape[1:])[alone[:, None], :, run.lengths] = v[run.tokens]
        attend = _attend_run if step.explicit or softcap is not None else _attend_run_by_kernel
        part = slice(0, run.longest + 1)
        made = attend(q[run.tokens], keys[rows, part], values[rows, part], step.bias(number, window, q.dtype), scale, softcap)
        out.index_copy_(0, run.tokens.flatten(), made.flatten(0, 1))
    return out[None], None


def _attend_run(
    q: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, bias: torch.Tensor, scale: float, softcap: float | None
) -> torch.Tensor:
    """Written-out products, tokens and query heads of a group folded into rows: q (n, Q, H, D), keys (n·K, N, D) → like q."""
    n, Q, H, D = q.shape
    K = keys.shape[0] // n
    scores = torch.bmm((q * scale).view(n, Q, K, -1, D).permute(0, 2, 3, 1, 4).reshape(n * K, -1, D), keys.transpose(1, 2))
    scores = scores.view(n, K, H // K, Q, -1)
    if softcap is not None:
        scores = softcap * torch.tanh(scores / softcap)
    p = torch.softmax(scores.add_(bias), -1, dtype=torch.float32).to(q.dtype)
    made = torch.bmm(p.view(n * K, -1, p.shape[-1]), values).view(n, K, H // K, Q, -1)
    return made.permute(0, 3, 1, 2, 4).reshape(n, Q, H, -1)


def _attend_run_by_kernel(
    q: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, bias: torch.Tensor, scale: float, softcap: float | None
) -> torch.Tensor:
    n, Q, H, D = q.shape
    K = keys.shape[0] // n
    keys, values = (x.view(n, K, *x.shape[1:]) for x in (keys, values))
    heads = q.view(n, Q, K, -1, D).permute(0, 2, 3, 1, 4).reshape(n, K, -1, D)
    mask = bias.expand(-1, -1, H // K, -1, -1).flatten(2, 3)
    out = F.scaled_dot_product_attention(heads, keys, values, attn_mask=mask, scale=scale)
    return out.view(n, K, H // K, Q, -1).permute(0, 3, 1, 2, 4).reshape(n, Q, H, -1)


def _attend_piece(
    q: torch.Tensor,
    keys: torch.Tensor,
    values: torch.Tensor,
    mask: torch.Tensor | None,
    scale: float,
    softcap: float | None,
) -> torch.Tensor:
    """A piece of a prompt over its own slot: q (R, H, D), keys (K, N, D) → (R, H, D)."""
    repeats = q.shape[1] // keys.shape[0]
    if repeats > 1:
        keys, values = keys.repeat_interleave(repeats, 0), values.repeat_interleave(repeats, 0)
    heads = q.transpose(0, 1)
    if softcap is None:
        made = F.scaled_dot_product_attention(
            heads[None], keys[None], values[None], attn_mask=mask, is_causal=mask is None, scale=scale
        )[0]
    else:
        scores = softcap * torch.tanh(heads @ keys.transpose(1, 2) * (scale / softcap))
        if mask is None:
            mask = torch.ones(scores.shape[-2:], dtype=torch.bool, device=q.device).tril()
        made = torch.softmax(scores.masked_fill(~mask, float("-inf")), -1, dtype=torch.float32).to(q.dtype) @ values
    return made.transpose(0, 1)
