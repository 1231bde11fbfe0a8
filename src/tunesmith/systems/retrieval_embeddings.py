"""The same as `retrieval`, with passages found by what they mean: by the sentence encoder of the extra `embeddings`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tunesmith.core.records import Example
from tunesmith.data.similar.embeddings import BUNDLED
from tunesmith.models.chat import Chat
from tunesmith.systems.local import LocalSystem
from tunesmith.systems.retrieval import retrieval_prompts
from tunesmith.systems.shown import MadePrompts
from tunesmith.systems.system import GateWords, NotMeasured, Question, SystemInputs, SystemKind
from tunesmith.systems.weights import adapted_weights

__all__ = ["SYSTEM"]


def _prompts(
    chat: Chat, train: Sequence[Example], questions: Sequence[Question], *, context: int, room: int
) -> MadePrompts | None:
    return retrieval_prompts(chat, train, questions, context=context, room=room, by=BUNDLED)


def _open(inputs: SystemInputs, model: Any) -> LocalSystem | NotMeasured:
    made = _prompts(inputs.chat, inputs.train, inputs.questions, context=inputs.base.context, room=inputs.max_new_tokens)
    if made is None:
        return NotMeasured("no training passage fits above a test item: the base with passages by meaning is not measured")
    return LocalSystem.of(
        inputs,
        model,
        name="retrieval_embeddings",
        label="base with passages found by a sentence encoder",
        fingerprint=inputs.base.fingerprint,
        adapter=False,
        prompts=made.prompts,
        numbers=made.numbers,
    )


SYSTEM = SystemKind(
    name="retrieval_embeddings",
    title="base with retrieval by meaning",
    role="baseline",
    order=26,
    advice="retrieve",
    needs=("adapter",),
    load=adapted_weights,
    open=_open,
    make_prompts=_prompts,
    gate=GateWords(
        name="beats_retrieval_embeddings",
        rule="better than the base with the passages in its prompt that a sentence encoder finds for the question",
        failed="Don't fine-tune, retrieval is enough: the base with passages that a sentence encoder finds does as well.",
        unknown="Whether tuning does more than retrieval by a sentence encoder would could not be measured.",
        topic="whether retrieval by a sentence encoder would be enough",
    ),
)
