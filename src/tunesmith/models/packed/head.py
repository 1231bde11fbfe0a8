"""The output matrix, applied only to hidden states that predict a target token, and chunk by chunk.

The logits of a long batch never exist at once. For a sum of losses the gradient is computed in the forward pass;
for log-probabilities, whose weights are known only later, the backward pass computes each chunk's logits again.

Shapes: N predictions, D width, V vocabulary. For one chunk, with p = softmax(z) (N, V) and e_t the one-hot target (N, V):

    loss       L = Σₙ wₙ (logsumexp(zₙ) − zₙ[tₙ])      ∂L/∂z = w (p − e_t) (N, V)
    penalty    + ε (zₙ[tₙ] − mean(zₙ)) + ζ logsumexp(zₙ)²        ∂L/∂z = w ((1 + 2 ζ logsumexp(z)) p − (1 − ε) e_t − ε / V)
    log_probs  ℓₙ = zₙ[tₙ] − logsumexp(zₙ)             ∂L/∂z = (e_t − p) ∂L/∂ℓ (N, V)
    summed     L = Σₙ f(zₙ)                             ∂L/∂z by the formula f itself (N, V)
    logits     z = c tanh(s (h Wᵀ + b) / c)            ∂L/∂r = s (1 − (z / c)²) ∘ ∂L/∂z (N, V), of r = h Wᵀ + b
    inputs     ∂L/∂h = ∂L/∂r W (N, D)                  ∂L/∂W = (∂L/∂r)ᵀ h (V, D)     ∂L/∂b = Σₙ ∂L/∂r (V)

The factor 1 − (z / c)² is the derivative of the cap, tanh' = 1 − tanh²; without a cap it is 1. The gradients of W and b are
computed only where they are trained, summed over the chunks in float32.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Protocol

import torch
import torch.nn.functional as F

__all__ = ["LOGIT_BYTES", "NO_PENALTY", "WHOLE", "Formula", "Head", "Penalty", "chunks_of", "head_of", "score_logits"]

WHOLE = 32  # rows: in rounded types a CPU compiles and caches a kernel for each number of rows, nearly a megabyte each
LOGIT_BYTES = 32 * 2**20  # of float32 logits at once: 160 rows of a vocabulary of 49,152; larger ones leave the caches


class Formula(Protocol):
    """A loss of the logits of each prediction, which is asked for chunk by chunk."""

    def __call__(
        self, logits_NV: torch.Tensor, rows: slice, *, slope: bool = False
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """(value_N, ∂value_N/∂logits_NV if `slope`) of the predictions `rows`, whose float32 logits must stay as they are."""
        ...


class Penalty(NamedTuple):
    """What a loss adds to −log p. `label_smoothing` ε: the mean of −log p over the vocabulary counts ε, the target 1 − ε
    (Szegedy et al. 2015, arXiv:1512.00567). `z_loss` ζ: ζ logsumexp(z)² is added (Chowdhery et al. 2022, arXiv:2204.02311).
    """

    label_smoothing: float = 0.0
    z_loss: float = 0.0


NO_PENALTY = Penalty()


@dataclass(frozen=True, slots=True)
class Head:
    """logits = cap · tanh(scale · (hidden · weightᵀ + bias) / cap), with cap None for no capping. weight (V, D)."""

    weight: torch.Tensor
    bias: torch.Tensor | None = None
    scale: float = 1.0
    cap: float | None = None

    def logits(self, hidden_ND: torch.Tensor) -> torch.Tensor:
        """logits_NV in float32, all at once."""
        raw = _product(hidden_ND, self.weight.t())
        if self.bias is not None:
            raw = raw + self.bias
        raw = raw.float()
        if self.scale != 1.0:
            raw = raw * self.scale
        return raw if self.cap is None else self.cap * torch.tanh(raw / self.cap)

    def loss(
        self,
        hidden_ND: torch.Tensor,
        target_N: torch.Tensor,
        weight_N: torch.Tensor | None = None,
        penalty: Penalty = NO_PENALTY,
    ) -> torch.Tensor:
        """Σ weight · (−log p(target) + penalty): nats, a float32 scalar. Weights (1 each by default) get no gradient."""
        how = (self, penalty, torch.is_grad_enabled())
        return _Loss.apply(  # type: ignore[no-untyped-call, no-any-return]
            hidden_ND, self.weight, self.bias, target_N, weight_N, how
        )

    def log_probs(self, hidden_ND: torch.Tensor, target_N: torch.Tensor) -> torch.Tensor:
        """log p(target)_N in float32, with any gradient, for preference and policy objectives."""
        return _LogProbs.apply(hidden_ND, self.weight, self.bias, target_N, self)  # type: ignore[no-untyped-call, no-any-return]

    def summed(self, hidden_ND: torch.Tensor, formula: Formula) -> torch.Tensor:
        """Σ formula(logits) over all predictions, a float32 scalar."""
        by_hand = (self, torch.is_grad_enabled())
        return _Summed.apply(hidden_ND, self.weight, self.bias, formula, *by_hand)  # type: ignore[no-untyped-call, no-any-return]

    @torch.no_grad()
    def score(self, hidden_ND: torch.Tensor, target_N: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(log p(target)_N float32, right_N bool: whether the target is the likeliest token)."""
        return _score(lambda rows: self.logits(hidden_ND[rows]), target_N, self.weight.shape[0])

    def _chunks(self, count: int) -> Iterator[slice]:
        return chunks_of(count, self.weight.shape[0])

    def _raw(self, grad_NV: torch.Tensor, logits_NV: torch.Tensor) -> torch.Tensor:
        """The gradient of hidden · weightᵀ + bias from that of logits_NV, which is overwritten, in the weight's type."""
        if self.cap is not None:
            grad_NV.mul_(1 - (logits_NV / self.cap).square())
        if self.scale != 1.0:
            grad_NV.mul_(self.scale)
        return grad_NV.to(self.weight.dtype)


class _Trained:
    """The gradients of weight and bias, as far as they are trained, summed over the chunks."""

    def __init__(self, head: Head, weight: bool, bias: bool) -> None:
        def empty(like: torch.Tensor | None, wanted: bool) -> torch.Tensor | None:
            return torch.zeros_like(like, dtype=torch.float32) if wanted and like is not None else None

        self.weight, self.bias = empty(head.weight, weight), empty(head.bias, bias)

    def add(self, raw_NV: torch.Tensor, hidden_ND: torch.Tensor) -> None:
        """Add those of one chunk."""
        if self.weight is not None and raw_NV.dtype == torch.float32:
            self.weight.addmm_(raw_NV.t(), hidden_ND)
        elif self.weight is not None:
            self.weight += raw_NV.t() @ hidden_ND
        if self.bias is not None:
            self.bias += raw_NV.sum(0, dtype=torch.float32)

    def times(self, factor: torch.Tensor | None, head: Head) -> tuple[torch.Tensor | None, torch.Tensor | None]:
        """Both, times `factor`, in the type of what they are gradients of. In place: they may be as large as the embeddings."""
        for found in (self.weight, self.bias):
            if found is not None and factor is not None:
                found.mul_(factor)
        weight, bias = self.weight, self.bias
        self.weight = self.bias = None
        return (
            None if weight is None else weight.to(head.weight.dtype),
            None if bias is None or head.bias is None else bias.to(head.bias.dtype),
        )


def chunks_of(count: int, vocabulary: int) -> Iterator[slice]:
    """`count` predictions in parts whose float32 logits take `LOGIT_BYTES`, in whole steps of rows."""
    size = max(1, LOGIT_BYTES // (4 * vocabulary * WHOLE)) * WHOLE
    for begin in range(0, count, size):
        yield slice(begin, min(count, begin + size))


@torch.no_grad()
def score_logits(logits_NV: torch.Tensor, target_N: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """(log p(target)_N float32, right_N bool) from given logits, without a second tensor of their size."""
    return _score(lambda rows: logits_NV[rows].float(), target_N, logits_NV.shape[-1])


def _score(
    logits_of: Callable[[slice], torch.Tensor], target_N: torch.Tensor, vocabulary: int
) -> tuple[torch.Tensor, torch.Tensor]:
    log_p = torch.empty(len(target_N), device=target_N.device)
    right = torch.empty(len(target_N), dtype=torch.bool, device=target_N.device)
    for rows in chunks_of(len(target_N), vocabulary):
        logits = logits_of(rows)
        log_p[rows] = _picked(logits, target_N[rows]) - logits.logsumexp(-1)
        right[rows] = logits.argmax(-1) == target_N[rows]
    return log_p, right


def _product(x_NI: torch.Tensor, W_IO: torch.Tensor) -> torch.Tensor:
    """x W; in rounded types on a CPU the rows are padded to multiples of `WHOLE`, as each number of rows costs a kernel."""
    N = len(x_NI)
    if x_NI.dtype == torch.float32 or x_NI.device.type != "cpu" or N % WHOLE == 0:
        return x_NI @ W_IO
    return (F.pad(x_NI, (0, 0, 0, -N % WHOLE)) @ W_IO)[:N]


def _picked(logits_NV: torch.Tensor, target_N: torch.Tensor) -> torch.Tensor:
    return logits_NV.gather(1, target_N[:, None])[:, 0]


def _nats(p_NV: torch.Tensor, hidden_ND: torch.Tensor, target_N: torch.Tensor, head: Head) -> torch.Tensor:
    """−log p(target)_N from the probabilities; from recomputed logits where a probability is too small for a logarithm."""
    picked = _picked(p_NV, target_N)
    nats = -picked.log()
    if bool((tiny := picked < 1e-30).any()):
        logits = head.logits(hidden_ND[tiny])
        nats[tiny] = logits.logsumexp(-1) - _picked(logits, target_N[tiny])
    return nats


class _Loss(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden: torch.Tensor,
        W: torch.Tensor,
        bias: torch.Tensor | None,
        target: torch.Tensor,
        weight: torch.Tensor | None,
        how: tuple[Head, Penalty, bool],
    ) -> torch.Tensor:
        head, penalty, learning = how
        smoothing, z_loss = penalty
        grad = torch.empty_like(hidden) if hidden.requires_grad else None
        trained = _Trained(head, learning and W.requires_grad, learning and bias is not None and bias.requires_grad)
        total = torch.zeros((), dtype=torch.float64, device=hidden.device)
        for rows in head._chunks(len(target)):
            logits = head.logits(hidden[rows])
            log_sum, mean = (logits.logsumexp(-1), logits.mean(-1)) if any(penalty) else (None, None)
            p = torch.empty_like(logits) if head.cap is not None else logits  # a cap's gradient asks for the logits
            torch.softmax(logits, -1, out=p)
            nats = _nats(p, hidden[rows], target[rows], head)
            if log_sum is not None and mean is not None:
                nats = (1 - smoothing) * nats + smoothing * (log_sum - mean) + z_loss * log_sum.square()
            total += (nats if weight is None else nats * weight[rows]).double().sum()
            if grad is not None or trained.weight is not None or trained.bias is not None:
                if log_sum is not None:
                    p.mul_(1 + 2 * z_loss * log_sum[:, None]).sub_(smoothing / p.shape[1])
                p[torch.arange(len(p), device=p.device), target[rows]] -= 1 - smoothing
                if weight is not None:
                    p.mul_(weight[rows][:, None])
                raw = head._raw(p, logits)
                trained.add(raw, hidden[rows])
                if grad is not None:
                    grad[rows] = _product(raw, W)
        ctx.grad, ctx.trained, ctx.head = grad, trained, head
        return total.float()

    @staticmethod
    def backward(ctx: Any, upstream: torch.Tensor) -> tuple[Any, ...]:
        grad = None if ctx.grad is None else ctx.grad.mul(upstream.to(ctx.grad.dtype))
        return grad, *ctx.trained.times(upstream, ctx.head), None, None, None


class _LogProbs(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, hidden: torch.Tensor, W: torch.Tensor, bias: torch.Tensor | None, target: torch.Tensor, head: Head
    ) -> torch.Tensor:
        log_p, _ = head.score(hidden, target)
        ctx.save_for_backward(hidden, target)
        ctx.head = head
        return log_p

    @staticmethod
    def backward(ctx: Any, upstream: torch.Tensor) -> tuple[Any, ...]:
        hidden, target = ctx.saved_tensors
        head: Head = ctx.head
        grad, trained = torch.empty_like(hidden), _Trained(head, ctx.needs_input_grad[1], ctx.needs_input_grad[2])
        for rows in head._chunks(len(target)):
            logits = head.logits(hidden[rows])
            p = torch.softmax(logits, -1)
            p[torch.arange(len(p), device=p.device), target[rows]] -= 1
            raw = head._raw(p.mul_(-upstream[rows][:, None]), logits)
            trained.add(raw, hidden[rows])
            grad[rows] = _product(raw, head.weight)
        return grad, *trained.times(None, head), None, None


class _Summed(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden: torch.Tensor,
        W: torch.Tensor,
        bias: torch.Tensor | None,
        formula: Formula,
        head: Head,
        learning: bool,
    ) -> torch.Tensor:
        grad = torch.empty_like(hidden) if learning and hidden.requires_grad else None
        trained = _Trained(head, learning and W.requires_grad, learning and bias is not None and bias.requires_grad)
        total = torch.zeros((), dtype=torch.float64, device=hidden.device)
        wanted = grad is not None or trained.weight is not None or trained.bias is not None
        for rows in head._chunks(len(hidden)):
            logits = head.logits(hidden[rows])
            value, slope = formula(logits, rows, slope=wanted)
            total += value.double().sum()
            if slope is not None:
                raw = head._raw(slope, logits)
                trained.add(raw, hidden[rows])
                if grad is not None:
                    grad[rows] = _product(raw, W)
        ctx.grad, ctx.trained, ctx.head = grad, trained, head
        return total.float()

    @staticmethod
    def backward(ctx: Any, upstream: torch.Tensor) -> tuple[Any, ...]:
        grad = None if ctx.grad is None else ctx.grad.mul(upstream.to(ctx.grad.dtype))
        return grad, *ctx.trained.times(upstream, ctx.head), None, None, None


_SCALES: tuple[tuple[str, Literal["times", "over"]], ...] = (("logit_scale", "times"), ("logits_scaling", "over"))


def head_of(model: Any) -> Head:
    """The model's own output layer as a Head: matrix, bias, and the scale and cap that its configuration names.

    Whether that is all the model does to its logits is measured elsewhere (`probe.why_not_packed`), not believed.
    """
    layer = model.get_output_embeddings()
    config = model.config.get_text_config()
    scale = 1.0
    for name, how in _SCALES:
        if (value := getattr(config, name, None)) is not None:
            scale = float(value) if how == "times" else 1 / float(value)
    return Head(layer.weight, getattr(layer, "bias", None), scale, getattr(config, "final_logit_softcapping", None))
