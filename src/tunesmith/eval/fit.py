"""Whether a question belongs to its answer, by a model's own likelihood of the answer after the question."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tunesmith.core.records import Message
from tunesmith.data.dataset.fit import Score
from tunesmith.models.chat import Chat
from tunesmith.systems.logprobs import token_logprobs

__all__ = ["likelihood_score"]

_BATCH = 8


def likelihood_score(model: Any, chat: Chat) -> Score:
    """A score for `measure_fit`: ln p of the whole answer (and of its end) after each question, in nats, by `model`.

    The answer is the same after every question, so that its length and its own likelihood drop out of the comparison.
    """

    def score(answer: str, questions: Sequence[str]) -> list[float]:
        said = Message(role="assistant", content=answer)
        rows = [chat.encode_answer([Message(role="user", content=question), said]) for question in questions]
        found = token_logprobs(model, rows, pad_id=chat.pad_id, batch_examples=_BATCH)
        return [sum(one.log_p) for one in found]

    return score
