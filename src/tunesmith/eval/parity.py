"""Whether two systems are the same model: by logits on the same token ids, by log-probabilities, and by greedy answers.

What both can give is compared; what one of them cannot give is not measured. Shapes: T positions of one row, V vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from typing import Any

import torch

from tunesmith.core.errors import EvaluationError
from tunesmith.core.records import Generation
from tunesmith.eval.results import FormResult, ParityResult
from tunesmith.models.chat import Encoded
from tunesmith.systems.logits import model_logits
from tunesmith.systems.system import GivesLogits, System, TokenLogprobs

__all__ = ["Distance", "Given", "compare_given", "compare_logits", "compare_models"]

_BEGINNING = 40  # characters of an answer, about ten tokens: what a near tie of two tokens seldom reaches
_POSITIONS = 128  # whose probabilities are held at once: the logits of 49,152 tokens are dear


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """What a system gave for the rows of a comparison; None is what it cannot give. Logits and `logprobs` are one a row."""

    logits: Iterable[torch.Tensor] | None
    logprobs: Sequence[TokenLogprobs] | None
    greedy: Sequence[Generation]


def compare_given(subject: Given, system: System, given: Given, *, num_rows: int) -> FormResult:
    """How far `system` is from the tuned model, which gave `subject`, on the first `num_rows` rows.

    Logits where both give them, log-probabilities where both give those, greedy answers in any case. EvaluationError for what
    is no number.
    """
    equal, begun, total = _alike(subject.greedy, given.greedy)
    found = FormResult(greedy_equal=equal, greedy_begun=begun, greedy_total=total)
    if subject.logits is not None and given.logits is not None and isinstance(system, GivesLogits):
        step, left = f"adapter → {system.label}", islice(subject.logits, num_rows)
        answers = (subject.greedy, given.greedy)
        found = replace(found, logits=compare_logits(step, left, given.logits, answers, precision=system.precision))
    if subject.logprobs is None or given.logprobs is None:
        return found
    apart = [
        abs(x - y)
        for a, b in zip(subject.logprobs[:num_rows], given.logprobs, strict=True)
        for x, y in zip(a.log_p, b.log_p, strict=True)
    ]
    if not all(math.isfinite(one) for one in apart):
        raise EvaluationError(
            f"{system.label}: a system returned log-probabilities that are not numbers",
            value="NaN or infinity",
            expected="finite log-probabilities from both",
            hint="train again with a lower train.learning_rate",
        )
    if not apart:
        return found
    return replace(found, mean_abs_logprob=math.fsum(apart) / len(apart), max_abs_logprob=max(apart), num_tokens=len(apart))


def compare_models(
    step: str,
    a: Any,
    b: Any,
    rows: Sequence[Encoded],
    answers: tuple[Sequence[Generation], Sequence[Generation]],
) -> ParityResult:
    """As `compare_logits`, of two models that are both in memory, each in the precision it was loaded in."""
    left, right = (map(partial(model_logits, model), rows) for model in (a, b))  # each bound to its own model
    return compare_logits(step, left, right, answers, precision=str(b.dtype).removeprefix("torch."))


def compare_logits(
    step: str,
    a: Iterable[torch.Tensor],
    b: Iterable[torch.Tensor],
    answers: tuple[Sequence[Generation], Sequence[Generation]],
    *,
    precision: str,
) -> ParityResult:
    """Compare the logits `a` and `b` of the same rows; `answers` are the greedy answers of both.

    Largest absolute difference of any logit, mean KL(a ‖ b) in nats per position, and the share of positions with the same
    most likely token. Answers to items that only one of them has are left out. Raises EvaluationError if the vocabularies
    differ, for then no logits can be compared, and for logits that are not numbers.
    """
    apart = Distance()
    for a_TV, b_TV in zip(a, b, strict=True):
        apart.add(step, a_TV, b_TV)
    equal, begun, total = _alike(*answers)
    return ParityResult(
        hop=step,
        max_abs_logit=apart.max_abs,
        mean_kl=apart.mean_kl,
        top1_agreement=apart.top1,
        greedy_equal=equal,
        greedy_begun=begun,
        greedy_total=total,
        num_positions=apart.num_positions,
        precision=precision,
    )


@dataclass(slots=True)
class Distance:
    """How far the distributions of two models are apart, over the positions added so far. KL(a ‖ b) in nats.

    `max_abs`: of logits, or of log-probabilities where only those of the likeliest tokens are known (`add_top`).
    """

    max_abs: float = 0.0
    sum_abs: float = 0.0
    sum_kl: float = 0.0
    num_same: int = 0
    num_positions: int = 0
    num_values: int = 0

    def add(self, step: str, a_TV: torch.Tensor, b_TV: torch.Tensor) -> torch.Tensor:
        """Take in one row of logits; the KL of each of its positions. EvaluationError as `compare_logits`."""
        kl = [self._part(a_nV, b_nV) for a_nV, b_nV in _parts(step, a_TV, b_TV)]
        return torch.cat(kl) if kl else torch.zeros(0)

    def _part(self, a_TV: torch.Tensor, b_TV: torch.Tensor) -> torch.Tensor:
        apart_TV = (a_TV - b_TV).abs()
        log_a_TV, log_b_TV = torch.log_softmax(a_TV, -1), torch.log_softmax(b_TV, -1)
        kl_T = (log_a_TV.exp() * (log_a_TV - log_b_TV)).sum(-1)
        self.max_abs = max(self.max_abs, float(apart_TV.max()))
        self.sum_abs += float(apart_TV.sum())
        self.num_values += apart_TV.numel()
        self.sum_kl += float(kl_T.sum())
        self.num_same += int((a_TV.argmax(-1) == b_TV.argmax(-1)).sum())
        self.num_positions += a_TV.shape[0]
        return kl_T

    def add_top(self, a: Mapping[int, float], b: Mapping[int, float]) -> float:
        """Take in one position of which each side gave the likeliest tokens with ln p; its KL over the tokens of both.

        Tokens that only one side named count with the rest of the distribution, as one. The coarse KL is never above the
        whole one.
        """
        shared = sorted(a.keys() & b.keys())
        kl = _coarse_kl([a[token] for token in shared], [b[token] for token in shared])
        apart = [abs(a[token] - b[token]) for token in shared]
        self.max_abs = max(self.max_abs, *apart, 0.0)
        self.sum_abs += math.fsum(apart)
        self.num_values += len(apart)
        self.sum_kl += kl
        self.num_same += max(a, key=lambda token: a[token]) == max(b, key=lambda token: b[token])
        self.num_positions += 1
        return kl

    @property
    def mean_abs(self) -> float:
        """Over all compared values."""
        return self.sum_abs / max(1, self.num_values)

    @property
    def mean_kl(self) -> float:
        """Nats per position; rounding never makes it negative."""
        return max(0.0, self.sum_kl / max(1, self.num_positions))

    @property
    def top1(self) -> float:
        """Share of positions with the same most likely token."""
        return self.num_same / max(1, self.num_positions)


def _coarse_kl(a: Sequence[float], b: Sequence[float]) -> float:
    """KL between two distributions of which the ln p of the same tokens are known; all other tokens count as one."""
    p, q = [math.exp(x) for x in a], [math.exp(x) for x in b]
    rest = (max(1e-9, 1 - math.fsum(p)), max(1e-9, 1 - math.fsum(q)))
    known = math.fsum(weight * (x - y) for weight, x, y in zip(p, a, b, strict=True))
    return max(0.0, known + rest[0] * math.log(rest[0] / rest[1]))


def _alike(a: Sequence[Generation], b: Sequence[Generation]) -> tuple[int, int, int]:
    """Of the items that both answered: answers that are equal, that begin alike, and all."""
    texts = [{answer.item_id: answer.text for answer in side} for side in (a, b)]
    shared = texts[0].keys() & texts[1].keys()
    equal = sum(texts[0][i] == texts[1][i] for i in shared)
    begun = sum(texts[0][i][:_BEGINNING] == texts[1][i][:_BEGINNING] for i in shared)
    return equal, begun, len(shared)


def _parts(step: str, a_TV: torch.Tensor, b_TV: torch.Tensor) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Both logits in float32, some positions of a row at a time."""
    if a_TV.shape != b_TV.shape:
        raise EvaluationError(
            f"{step}: the two models have different vocabularies",
            value=f"{a_TV.shape[-1]} and {b_TV.shape[-1]}",
            expected="one vocabulary",
            hint="merge again from the same base",
        )
    if not bool(a_TV.isfinite().all() and b_TV.isfinite().all()):
        raise EvaluationError(
            f"{step}: a model returned logits that are not numbers",
            value="NaN or infinity",
            expected="finite logits from both",
            hint="train again with a lower train.learning_rate",
        )
    for begin in range(0, a_TV.shape[0], _POSITIONS):
        part = slice(begin, begin + _POSITIONS)
        yield a_TV[part].float(), b_TV[part].float()
