"""Whether two hops of one model are the same model: logits on the same token ids, and greedy answers to the letter.

Shapes: B rows, T positions, N real positions, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from tunesmith.core.errors import EvaluationError
from tunesmith.core.records import Generation
from tunesmith.eval.likelihood import padded
from tunesmith.eval.results import ParityResult
from tunesmith.models.chat import Chat, Encoded

__all__ = ["compare_hops"]


def compare_hops(
    hop: str,
    a: Any,
    b: Any,
    chat: Chat,
    rows: Sequence[Encoded],
    answers: tuple[Sequence[Generation], Sequence[Generation]],
    *,
    batch_examples: int = 8,
) -> ParityResult:
    """Compare models `a` and `b` on `rows` in the precision they were loaded in; `answers` are both systems' greedy answers.

    Largest absolute difference of any logit, mean KL(a ‖ b) in nats a position, and the share of positions with the same
    most likely token. Raises EvaluationError if the vocabularies differ, for then no logits can be compared.
    """
    largest, kl, same, count = 0.0, 0.0, 0, 0
    for begin in range(0, len(rows), batch_examples):
        ids_BT, mask_BT = padded(rows[begin : begin + batch_examples], chat.pad_id, a.device)
        with torch.inference_mode():
            real_BT = mask_BT.bool()
            a_NV = a(input_ids=ids_BT, attention_mask=mask_BT, use_cache=False).logits[real_BT].float()
            b_NV = b(input_ids=ids_BT, attention_mask=mask_BT, use_cache=False).logits[real_BT].float()
        if a_NV.shape != b_NV.shape:
            raise EvaluationError(
                f"{hop}: the two models have different vocabularies",
                value=f"{a_NV.shape[-1]} and {b_NV.shape[-1]}",
                expected="one vocabulary",
                hint="merge again from the same base",
            )
        if not bool(a_NV.isfinite().all() and b_NV.isfinite().all()):
            raise EvaluationError(
                f"{hop}: a model gives logits that are no numbers",
                value="NaN or infinity",
                expected="finite logits from both",
                hint="train again with a lower train.learning_rate",
            )
        largest = max(largest, float((a_NV - b_NV).abs().max()))
        log_a_NV, log_b_NV = torch.log_softmax(a_NV, -1), torch.log_softmax(b_NV, -1)
        kl += float((log_a_NV.exp() * (log_a_NV - log_b_NV)).sum())
        same += int((a_NV.argmax(-1) == b_NV.argmax(-1)).sum())
        count += a_NV.shape[0]
    texts = [{answer.item_id: answer.text for answer in side} for side in answers]
    shared = texts[0].keys() & texts[1].keys()
    return ParityResult(
        hop=hop,
        max_abs_logit=largest,
        mean_kl=max(0.0, kl / max(1, count)),
        top1_agreement=same / max(1, count),
        greedy_equal=sum(texts[0][i] == texts[1][i] for i in shared),
        greedy_total=len(shared),
        num_positions=count,
        precision=str(a.dtype).removeprefix("torch."),
    )
