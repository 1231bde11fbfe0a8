"""More than tuning: the tuned model with the author's passages that fit the question best, as `retrieval` shows them."""

from __future__ import annotations

from typing import Any

from tunesmith.core.records import digest
from tunesmith.systems.local import LocalSystem
from tunesmith.systems.retrieval import retrieval_prompts
from tunesmith.systems.system import NotMeasured, SystemInputs, SystemKind
from tunesmith.systems.weights import adapted_weights, adapter_fingerprint

__all__ = ["SYSTEM"]


def _open(inputs: SystemInputs, model: Any) -> LocalSystem | NotMeasured:
    room = inputs.max_new_tokens
    made = retrieval_prompts(inputs.chat, inputs.train, inputs.questions, context=inputs.base.context, room=room)
    if made is None:
        return NotMeasured("no training passage fits above a test item and its question: tuned + retrieval is not measured")
    return LocalSystem.of(
        inputs,
        model,
        name="tuned_retrieval",
        label="tuned, with passages found by BM25",
        fingerprint=digest(inputs.base.fingerprint, adapter_fingerprint(inputs)),
        prompts=made.prompts,
        numbers=made.numbers,
    )


SYSTEM = SystemKind(
    name="tuned_retrieval",
    title="tuned + retrieval",
    role="addition",
    order=32,
    advice="tune + retrieve",
    needs=("adapter",),
    load=adapted_weights,
    open=_open,
    make_prompts=retrieval_prompts,
    required=False,
)
