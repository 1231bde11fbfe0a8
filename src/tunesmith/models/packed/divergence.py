"""Divergences between what a model and its teacher predict, over the whole vocabulary and chunk by chunk (see `head.Formula`).

Shapes: N predictions, D width, V vocabulary. With p the student's probabilities of one prediction and q the teacher's, both
made from logits, the gradient of KL(p ‖ m) with respect to the student's logits is p ∘ (log(p / m) − KL(p ‖ m)) for a fixed m.
For m = β q + (1 − β) p the terms in ∂m cancel, so that the same holds, times 1 − β.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F

from tunesmith.models.packed.head import Head

__all__ = ["GeneralisedJSD", "ListedTokens", "Predictions"]

_NOTHING = 1e-6  # a rest that is no more than the rounding of the others


@dataclass(frozen=True, slots=True)
class Predictions:
    """What a model predicts at N places, without gradient: hidden_ND and the head that makes logits of them, or logits_NV."""

    hidden_ND: torch.Tensor
    head: Head | None = None

    def logits(self, rows: slice) -> torch.Tensor:
        """Their float32 logits, with V columns."""
        hidden = self.hidden_ND[rows]
        with torch.no_grad():
            return hidden.float() if self.head is None else self.head.logits(hidden)


@dataclass(frozen=True, slots=True)
class GeneralisedJSD:
    """β KL(teacher ‖ m) + (1 − β) KL(student ‖ m) with m = β teacher + (1 − β) student, in nats a prediction (Agarwal et al.
    2023, arXiv:2306.13649, equation 1).

    `beta` 0 is KL(teacher ‖ student), which its value over β approaches for a small β, and 1 is KL(student ‖ teacher). Where
    one of the two has more columns of logits than there are tokens, both are cut to the smaller number.
    """

    teacher: Predictions
    beta: float

    def __call__(
        self, logits_NV: torch.Tensor, rows: slice, *, slope: bool = False
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """As of every formula."""
        told_NV = self.teacher.logits(rows)
        columns, size = logits_NV.shape[1], min(logits_NV.shape[1], told_NV.shape[1])
        log_p, log_q = (torch.log_softmax(logits[:, :size], -1) for logits in (logits_NV, told_NV))
        if self.beta == 0:
            p, q = log_p.exp(), log_q.exp()
            value_N = (q * (log_q - log_p)).sum(-1)
            return value_N, F.pad(p - q, (0, columns - size)) if slope else None
        log_m = log_q
        if self.beta < 1:
            share = torch.tensor(self.beta, dtype=log_p.dtype, device=log_p.device)
            log_m = torch.logaddexp(log_p + torch.log1p(-share), log_q + share.log())
        p, ratio = log_p.exp(), log_p - log_m
        own_N = (p * ratio).sum(-1)
        if self.beta == 1:
            return own_N, F.pad(p * (ratio - own_N[:, None]), (0, columns - size)) if slope else None
        value_N = self.beta * (log_q.exp() * (log_q - log_m)).sum(-1) + (1 - self.beta) * own_N
        grad_NV = (1 - self.beta) * p * (ratio - own_N[:, None])
        return value_N, F.pad(grad_NV, (0, columns - size)) if slope else None


@dataclass(frozen=True, slots=True)
class ListedTokens:
    """KL(teacher ‖ student) where only some of the teacher's probabilities q are known: those of the K listed tokens of each
    prediction, and together the rest r of all others.

        Σ_K q (log q − log p) + r (log r − log p_rest),   r = 1 − Σ_K q,  p_rest = 1 − Σ_K p

    It is the divergence after all tokens that are not listed were made one, so never above the whole one. With one listed token
    of probability 1 it is −log p. `ids_NK`: the first is always a token, −1 where there are fewer.
    """

    ids_NK: torch.Tensor
    log_q_NK: torch.Tensor

    def __call__(
        self, logits_NV: torch.Tensor, rows: slice, *, slope: bool = False
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """As of every formula."""
        ids, log_q = self.ids_NK[rows], self.log_q_NK[rows]
        there = ids >= 0
        ids = torch.where(there, ids, ids[:, :1])
        q = torch.where(there, log_q.exp(), 0.0)
        q = q / q.sum(-1, keepdim=True).clamp(min=1)  # rounded logarithms may make more than 1
        rest_N = 1 - q.sum(-1)
        rest_N = torch.where(rest_N > _NOTHING, rest_N, 0.0)
        log_p = torch.log_softmax(logits_NV, -1)
        others = log_p.scatter(1, ids, float("-inf"))
        log_rest_N = others.logsumexp(-1)
        listed_N = (torch.xlogy(q, q) - q * log_p.gather(1, ids)).sum(-1)
        value_N = listed_N + torch.where(rest_N > 0, torch.xlogy(rest_N, rest_N) - rest_N * log_rest_N, 0.0)
        if not slope:
            return value_N, None
        share_N = torch.where(rest_N > 0, rest_N.log() - log_rest_N, float("-inf"))
        grad_NV = log_p.exp() - (others + share_N[:, None]).exp()
        return value_N, grad_NV.scatter_add_(1, ids, -q)
