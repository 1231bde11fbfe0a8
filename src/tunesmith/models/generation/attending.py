"""Attention over slots, registered with transformers' AttentionInterface: no model is patched and no library cache is used.

One forward pass takes one row of tokens: those of new prompts and the newest of every answer in work, laid end to end.
Newest tokens attend to the shared prefix and to their slot; new prompts are attended together, filled up on the left.

Shapes: T tokens of the pass, n slots in work, m new prompts of a side, R longest of them, P prefix, L columns attended,
H query heads, K key heads, G = H / K, D width of a head.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F

from tunesmith.models.generation.pass_plan import NewPrompts, PassPlan
from tunesmith.models.generation.slots import LayerCache

__all__ = ["SlotAttention", "slot_attention"]

_NAME = "tunesmith_slots"


@dataclass(frozen=True, slots=True)
class _Rule:
    """How a layer attends: scores times `scale`, within `window` tokens (0: all), tamed by `softcap`."""

    scale: float
    window: int
    softcap: float | None


def slot_attention(
    module: Any, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, attention_mask: torch.Tensor | None, **named: Any
) -> tuple[torch.Tensor, None]:
    """transformers' attention function: query (1, H, T, D), key and value (1, K, T, D) → (1, T, H, D).

    The `PassPlan` comes through the model's keyword arguments as `slots`. ValueError for what would change the numbers unseen.
    """
    step: PassPlan | None = named.get("slots")
    if step is None:
        raise ValueError("this model does not hand its attention the slots")
    if named.get("dropout") or named.get("s_aux") is not None or named.get("position_bias") is not None:
        raise ValueError("this model's attention has parts that the slots do not know")
    scaling = named.get("scaling")
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    rule = _Rule(scale, named.get("sliding_window") or 0, named.get("softcap"))
    step.windows[module.layer_idx] = rule.window
    cache = step.slots.layer(module.layer_idx, key, value)
    q, k, v = (x[0].transpose(0, 1) for x in (query, key, value))
    out = q.new_empty(q.shape[0], q.shape[1], v.shape[-1])
    for new in step.new_prompts:
        out[new.begin : new.end] = _attend_new((q, k, v), cache, new, step, rule)
    if step.count:
        here = slice(step.first_token, step.first_token + step.count)
        rows = slice(step.first_slot, step.first_slot + step.count)
        cache.keys[rows, :, step.column] = k[here]
        cache.values[rows, :, step.column] = v[here]
        attend = _attend_newest if step.explicit or rule.softcap is not None else _attend_newest_by_kernel
        out[here] = attend(q[here], cache, step, rows, rule)
    return out[None], None


def _attend_newest(q: torch.Tensor, cache: LayerCache, step: PassPlan, rows: slice, rule: _Rule) -> torch.Tensor:
    """Written-out products over prefix and own columns, the query heads of a group folded into rows: (n, H, D)."""
    n, H, _ = q.shape
    S, K, C, D = cache.keys.shape
    G, P, begin, end = H // K, step.num_prefix, step.begin(rule.window), step.column + 1
    own = slice(rows.start * K, rows.stop * K)
    q_rows = (q * rule.scale).reshape(n * K, G, D)
    scores = q.new_empty(n, K, G, P + end - begin)
    keys = cache.keys.view(S * K, C, D)[own, begin:end]
    scores[..., P:] = torch.bmm(q_rows, keys.transpose(1, 2)).view(n, K, G, -1)
    sides = [(0, slice(0, step.num_base)), (1, slice(step.num_base, n))] if P else []
    for side, part in sides:
        heads = q_rows.view(n, K, G, D)[part].transpose(0, 1).reshape(K, -1, D)
        if heads.shape[1]:
            scores[part, ..., :P] = (heads @ cache.prefix_keys[side].transpose(1, 2)).view(K, -1, G, P).transpose(0, 1)
    if rule.softcap is not None:
        scores = rule.softcap * torch.tanh(scores / rule.softcap)
    p = torch.softmax(scores.add_(step.bias(rule.window, q.dtype)), -1, dtype=torch.float32).to(q.dtype)
    values = cache.values.view(S * K, C, -1)[own, begin:end]
    out = torch.bmm(p[..., P:].reshape(n * K, G, -1), values).view(n, K, G, -1)
    for side, part in sides:
        weights = p[part, ..., :P].transpose(0, 1).reshape(K, -1, P)
        if weights.shape[1]:
            out[part] += (weights @ cache.prefix_values[side]).view(K, -1, G, out.shape[-1]).transpose(0, 1)
    return out.view(n, H, -1)


def _attend_newest_by_kernel(q: torch.Tensor, cache: LayerCache, step: PassPlan, rows: slice, rule: _Rule) -> torch.Tensor:
    """The same through the library's kernel; the prefix is then in every slot."""
    n, H, D = q.shape
    K = cache.keys.shape[1]
    begin, end = step.begin(rule.window), step.column + 1
    keys, values = cache.keys[rows, :, begin:end], cache.values[rows, :, begin:end]
    bias = step.bias(rule.window, q.dtype)
    out = F.scaled_dot_product_attention(q.reshape(n, K, H // K, D), keys, values, attn_mask=bias, scale=rule.scale)
    return out.reshape(n, H, -1)


def _attend_new(
    qkv: tuple[torch.Tensor, torch.Tensor, torch.Tensor], cache: LayerCache, new: NewPrompts, step: PassPlan, rule: _Rule
) -> torch.Tensor:
    """New prompts of one side: attend to prefix and self, and are written into their slots: (their tokens, H, D)."""
    q, k, v = qkv
    P, m = new.num_prefix, new.count
    if P:
        k = torch.cat([cache.prefix_keys[new.side].transpose(0, 1), k])
        v = torch.cat([cache.prefix_values[new.side].transpose(0, 1), v])
    keys, values = (x.index_select(0, new.keys).view(m, -1, *x.shape[1:]).transpose(1, 2) for x in (k, v))
    queries = q.index_select(0, new.queries).view(m, -1, *q.shape[1:]).transpose(1, 2)
    kept = keys.shape[2] - (P if step.explicit else 0)  # the kernel's slots hold the prefix too
    rows, columns = slice(new.first_slot, new.first_slot + len(new.rows)), slice(step.column + 1 - kept, step.column + 1)
    cache.keys[rows, :, columns] = keys[:, :, -kept:].index_select(0, new.rows)
    cache.values[rows, :, columns] = values[:, :, -kept:].index_select(0, new.rows)
    repeats = q.shape[1] // k.shape[1]
    if repeats > 1:
        keys, values = keys.repeat_interleave(repeats, 1), values.repeat_interleave(repeats, 1)
    mask = new.mask(rule.window)
    if rule.softcap is None:
        made = F.scaled_dot_product_attention(queries, keys, values, attn_mask=mask, is_causal=mask is None, scale=rule.scale)
    else:
        scores = rule.softcap * torch.tanh(queries @ keys.transpose(2, 3) * (rule.scale / rule.softcap))
        if mask is None:
            mask = torch.ones(scores.shape[-2:], dtype=torch.bool, device=q.device).tril()
        made = torch.softmax(scores.masked_fill(~mask, float("-inf")), -1, dtype=torch.float32).to(q.dtype) @ values
    return made.transpose(1, 2).reshape(-1, *made.shape[1:2], made.shape[-1]).index_select(0, new.back)


class SlotAttention:
    """Switches a model's attention layers to the slots for one pass at a time, so that others may use the model between.

    Another `name` switches to that implementation of the library instead.
    """

    def __init__(self, model: Any, name: str = _NAME) -> None:
        from transformers import AttentionInterface

        self._name = name
        AttentionInterface.register(_NAME, slot_attention)
        found = {id(m.config): m.config for m in model.modules() if hasattr(getattr(m, "config", None), "_attn_implementation")}
        self._configs = list(found.values())

    @contextmanager
    def on(self) -> Iterator[None]:
        """Inside, attention expects a `PassPlan` as the keyword argument `slots`."""
        before = [config._attn_implementation for config in self._configs]
        try:
            for config in self._configs:
                config._attn_implementation = self._name
            yield
        finally:
            for config, name in zip(self._configs, before, strict=True):
                config._attn_implementation = name
