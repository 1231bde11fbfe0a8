"""Attention over a token tree, registered with transformers' AttentionInterface: no model is patched.

Small segments are computed as explicit batched products, with the query heads of a group folded into rows and a hand-written
gradient; long segments use the library's kernel; a GPU gets a block mask. Without a tree, everything is as in `sdpa`.

Shapes: T tokens, H query heads, K key heads, G = H / K, D width of a head; a bucket's n, R, A, L as in attention_plan. In a
bucket, q is (n K, G R, D), k and v are (n K, L, D), and with c = scale and dO = ∂L/∂o:

    forward   S = c q kᵀ + mask (n K, G R, L)     P = softmax(S)     o = P v (n K, G R, D)
    backward  dv = Pᵀ dO     dP = dO vᵀ     dS = P ∘ (dP − rowsum(P ∘ dP))     dq = c dS k     dk = c dSᵀ q
              rowsum(P ∘ dP) = Σ_d dO_d Σ_l P_l v_ld = rowsum(dO ∘ o), so P ∘ dP is never formed
              (Dao et al. 2022, FlashAttention, appendix B.2)

A key that several segments share as an ancestor gets the sum of their gradients.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F

from tunesmith.models.packed.attention_blocks import attend_by_blocks
from tunesmith.models.packed.attention_plan import AttentionPlan

__all__ = ["KEPT_KEYS", "UnknownAttention", "attending_by_tree", "tree_attention"]

_NAME = "tunesmith_tree"
KEPT_KEYS = 256  # keys per query; with more, saving the probabilities costs more than computing them again


class UnknownAttention(ValueError):
    """A model's attention has a part that token trees do not support. The message is the reason, as a sentence for people."""


class _Products(torch.autograd.Function):
    """softmax(q kᵀ · scale + mask) v over all buckets of a plan. q (T, H, D), k and v (T, K, D) → (T, H, D)."""

    @staticmethod
    def forward(ctx: Any, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, plan: AttentionPlan, scale: float) -> torch.Tensor:
        T, H, D = q.shape
        K = k.shape[1]
        rows = plan.rows(H, K)
        q_rows, k_rows, v_rows = q.reshape(T * H, D), k.reshape(T * K, D), v.reshape(T * K, D)
        kept, made = [], []
        for number, (bucket, at) in enumerate(zip(plan.buckets, rows.buckets, strict=True)):
            n = len(bucket.segments) * K
            qb = q_rows.index_select(0, at.queries).view(n, -1, D)
            kb = k_rows.index_select(0, at.keys).view(n, -1, D)
            vb = v_rows.index_select(0, at.keys).view(n, -1, D)
            p = _probabilities(qb, kb, plan.mask(number, H // K, q.dtype), scale)
            kept += [qb, kb, vb, p if p.shape[-1] <= KEPT_KEYS else None]
            made.append(torch.bmm(p, vb).view(-1, D))
        out = _back(made, rows.back_queries, T * H).view(T, H, D)
        ctx.save_for_backward(out, *kept)
        ctx.plan, ctx.scale, ctx.shape = plan, scale, (T, H, K, D)
        return out

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[Any, ...]:
        T, H, K, D = ctx.shape
        plan: AttentionPlan = ctx.plan
        rows = plan.rows(H, K)
        out, *saved = ctx.saved_tensors
        grad_rows = grad.reshape(T * H, D)
        along_rows = (grad * out).view(T * H, D).sum(-1, keepdim=True)  # rowsum(dO ∘ o), (T H, 1)
        queries, keys, values = [], [], []
        for number, at in enumerate(rows.buckets):
            qb, kb, vb, p = saved[4 * number : 4 * number + 4]
            if p is None:
                p = _probabilities(qb, kb, plan.mask(number, H // K, qb.dtype), ctx.scale)
            go, along = grad_rows.index_select(0, at.queries), along_rows.index_select(0, at.queries)
            if at.filling.numel():
                go.index_fill_(0, at.filling, 0.0)
                along.index_fill_(0, at.filling, 0.0)
            go = go.view(qb.shape)
            ds = torch.bmm(go, vb.transpose(1, 2)).sub_(along.view(len(qb), -1, 1)).mul_(p)
            queries.append(torch.bmm(ds, kb).view(-1, D))
            keys.append(torch.bmm(ds.transpose(1, 2), qb).view(-1, D))
            values.append(torch.bmm(p.transpose(1, 2), go).view(-1, D))
        dq = _back(queries, rows.back_queries, T * H).mul_(ctx.scale)
        dk, dv = (_back(parts, rows.back_keys, T * K) for parts in (keys, values))
        for number, bucket in enumerate(plan.buckets):
            for total, parts in ((dk, keys), (dv, values)):
                _add_to_ancestors(total.view(T, K, D), parts[number].view(len(bucket.segments), K, -1, D), bucket.ancestors)
        return dq.view(T, H, D), dk.mul_(ctx.scale).view(T, K, D), dv.view(T, K, D), None, None


def _probabilities(q_nQD: torch.Tensor, k_nLD: torch.Tensor, mask_QL: torch.Tensor, scale: float) -> torch.Tensor:
    """p_nQL"""
    return torch.softmax(torch.baddbmm(mask_QL.expand(len(q_nQD), -1, -1), q_nQD, k_nLD.transpose(1, 2), alpha=scale), -1)


@torch.compiler.disable  # type: ignore[untyped-decorator]
def _products(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, plan: AttentionPlan, scale: float) -> torch.Tensor:
    return _Products.apply(q, k, v, plan, scale)  # type: ignore[no-untyped-call, no-any-return]


def _back(parts: list[torch.Tensor], numbers: torch.Tensor, size: int) -> torch.Tensor:
    """Scatter the concatenated rows of all buckets back to the tree's `size` rows; padding rows are zero."""
    laid = parts[0] if len(parts) == 1 else torch.cat(parts)
    if len(numbers) == size:
        return laid.index_select(0, numbers)
    found = laid.new_empty(size, laid.shape[-1])
    torch.index_select(laid, 0, numbers, out=found[: len(numbers)])
    found[len(numbers) :] = 0
    return found


def _add_to_ancestors(total_TKD: torch.Tensor, part_nKLD: torch.Tensor, ancestors: tuple[tuple[int, int], ...]) -> None:
    """Add the gradients of all segments of a bucket to the keys of their ancestors, in place.

    `total_TKD` (T, K, D); `part_nKLD` (n, K, L, D), of whose L keys the first A belong to the ancestors, root first.
    """
    done = 0
    for begin, end in ancestors:
        sent = part_nKLD[:, :, done : done + end - begin].sum(0).transpose(0, 1)
        total_TKD[begin:end] += sent
        done += end - begin


def _by_kernel(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, plan: AttentionPlan, scale: float, *, window: int, softcap: float | None
) -> torch.Tensor:
    """The same through the library's kernel, bucket by bucket, or with explicit scores if they are capped."""
    T, H, D = q.shape
    K = k.shape[1]
    rows = plan.rows(H, K)
    made = []
    for number, (bucket, at) in enumerate(zip(plan.buckets, rows.buckets, strict=True)):
        n = len(bucket.segments)
        qb = q.reshape(T * H, D).index_select(0, at.queries).view(n, H, -1, D)
        kb, vb = (x.reshape(T * K, D).index_select(0, at.keys).view(n, K, -1, D) for x in (k, v))
        plain = not bucket.above and not window
        if softcap is None:
            mask = None if plain else plan.mask(number, 1, q.dtype, window)  # a causal kernel needs none of L × L
            out = F.scaled_dot_product_attention(qb, kb, vb, attn_mask=mask, is_causal=plain, scale=scale, enable_gqa=H != K)
        else:
            kb, vb = (x.repeat_interleave(H // K, dim=1) for x in (kb, vb))
            scores = softcap * torch.tanh(qb @ kb.transpose(2, 3) * (scale / softcap))
            scores = scores + plan.mask(number, 1, q.dtype, window)
            out = torch.softmax(scores.float(), -1).to(q.dtype) @ vb
        made.append(out.reshape(-1, D))
    laid = torch.cat(made).index_select(0, rows.back_queries)
    return F.pad(laid, (0, 0, 0, T * H - len(laid))).view(T, H, D)


def tree_attention(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    *,
    tree: AttentionPlan | None = None,
    **options: Any,
) -> tuple[torch.Tensor, None]:
    """transformers' attention function: query (1, H, T, D), key and value (1, K, T, D) → (1, T, H, D).

    `tree` is passed through the model's keyword arguments; without one this is `sdpa`. UnknownAttention for features that would
    silently change the numbers: attention dropout, sinks, values and keys of different width.
    """
    if tree is None:
        from transformers.integrations.sdpa_attention import sdpa_attention_forward

        return sdpa_attention_forward(module, query, key, value, attention_mask, **options)  # type: ignore[no-any-return]
    if options.get("dropout"):
        raise UnknownAttention("its attention drops weights at random in training")
    if options.get("s_aux") is not None:
        raise UnknownAttention("its attention has sinks, which token trees do not support")
    if key.shape[-1] != value.shape[-1]:
        raise UnknownAttention("the keys and values of its attention differ in width")
    scale = query.shape[-1] ** -0.5 if options.get("scaling") is None else options["scaling"]
    q, k, v = (x[0].transpose(0, 1) for x in (query, key, value))
    window, softcap = options.get("sliding_window") or 0, options.get("softcap")
    if window >= tree.longest_path:
        window = 0
    if q.is_cuda:
        return attend_by_blocks(q, k, v, tree, scale, window=window, softcap=softcap)[None], None
    if window or softcap is not None or tree.is_long:
        return _by_kernel(q, k, v, tree, scale, window=window, softcap=softcap)[None], None
    return _products(q, k, v, tree, scale)[None], None


@contextmanager
def attending_by_tree(model: Any) -> Iterator[None]:
    """Inside, the model's attention follows the token tree that it is called with, or is `sdpa` without one."""
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import sdpa_mask

    AttentionInterface.register(_NAME, tree_attention)
    AttentionMaskInterface.register(_NAME, sdpa_mask)
    configs = {id(m.config): m.config for m in model.modules() if hasattr(getattr(m, "config", None), "_attn_implementation")}
    before = [(config, config._attn_implementation) for config in configs.values()]
    try:
        for config in configs.values():
            config._attn_implementation = _NAME
        yield
    finally:
        for config, name in before:
            config._attn_implementation = name
