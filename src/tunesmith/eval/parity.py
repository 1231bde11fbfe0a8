"""Whether two forms of one model are the same model: logits on the same token ids, greedy answers to the letter, stored sums.

Shapes: T positions of one row, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch

from tunesmith.core.errors import EvaluationError
from tunesmith.core.records import Generation
from tunesmith.eval.results import ParityResult
from tunesmith.models.chat import Encoded
from tunesmith.models.load import StoredType
from tunesmith.models.merge import sums

__all__ = ["compare_hops", "share_as_summed"]

_BEGINNING = 40  # characters of an answer, about ten tokens: what a near tie of two tokens seldom reaches
_POSITIONS = 128  # whose probabilities are held at once: the logits of 49,152 tokens are dear


def compare_hops(
    hop: str,
    a: Any,
    b: Any,
    rows: Sequence[Encoded],
    answers: tuple[Sequence[Generation], Sequence[Generation]],
) -> ParityResult:
    """Compare models `a` and `b` on `rows`, each in the precision it was loaded in; `answers` are their greedy answers.

    Largest absolute difference of any logit, mean KL(a ‖ b) in nats per position, and the share of positions with the same
    most likely token. Answers to items that only one of them has are left out. Raises EvaluationError if the vocabularies
    differ, for then no logits can be compared, and for logits that are not numbers.
    """
    largest, kl, same, count = 0.0, 0.0, 0, 0
    for a_TV, b_TV in _logits(hop, a, b, rows):
        largest = max(largest, float((a_TV - b_TV).abs().max()))
        log_a_TV, log_b_TV = torch.log_softmax(a_TV, -1), torch.log_softmax(b_TV, -1)
        kl += float((log_a_TV.exp() * (log_a_TV - log_b_TV)).sum())
        same += int((a_TV.argmax(-1) == b_TV.argmax(-1)).sum())
        count += a_TV.shape[0]
    texts = [{answer.item_id: answer.text for answer in side} for side in answers]
    shared = texts[0].keys() & texts[1].keys()
    return ParityResult(
        hop=hop,
        max_abs_logit=largest,
        mean_kl=max(0.0, kl / max(1, count)),
        top1_agreement=same / max(1, count),
        greedy_equal=sum(texts[0][i] == texts[1][i] for i in shared),
        greedy_begun=sum(texts[0][i][:_BEGINNING] == texts[1][i][:_BEGINNING] for i in shared),
        greedy_total=len(shared),
        num_positions=count,
        precision=str(b.dtype).removeprefix("torch."),
    )


def _logits(hop: str, a: Any, b: Any, rows: Sequence[Encoded]) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Logits of both models in float32, some positions of a row at a time."""
    for row in rows:
        ids_1T = torch.tensor([row.ids], device=a.device)
        with torch.inference_mode():
            a_TV = a(input_ids=ids_1T, use_cache=False).logits[0]
            b_TV = b(input_ids=ids_1T, use_cache=False).logits[0]
        if a_TV.shape != b_TV.shape:
            raise EvaluationError(
                f"{hop}: the two models have different vocabularies",
                value=f"{a_TV.shape[-1]} and {b_TV.shape[-1]}",
                expected="one vocabulary",
                hint="merge again from the same base",
            )
        if not bool(a_TV.isfinite().all() and b_TV.isfinite().all()):
            raise EvaluationError(
                f"{hop}: a model gives logits that are no numbers",
                value="NaN or infinity",
                expected="finite logits from both",
                hint="train again with a lower train.learning_rate",
            )
        for begin in range(0, len(row.ids), _POSITIONS):
            part = slice(begin, begin + _POSITIONS)
            yield a_TV[part].float(), b_TV[part].float()


def share_as_summed(adapted: Any, merged: Any, types: Sequence[StoredType]) -> float:
    """Share of the elements of the adapted matrices that `merged` holds as base + update, made in float32 and rounded once.

    `merged` is the merged folder opened in float32, `types` are those in which it stores weights. Rounding hides a small fault
    (a scale that is off by a hundredth) from the logits, and not from this.
    """
    right, count = 0, 0
    for name, _, total in sums(adapted):
        there = merged.get_parameter(name).float()
        rounded = [there == total.to(getattr(torch, kind)).float() for kind in types]
        right += int(torch.stack(rounded).any(0).sum())
        count += total.numel()
    return right / max(1, count)
