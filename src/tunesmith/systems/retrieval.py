"""A cheaper alternative to tuning: the base with the author's passages that fit the question best in its system prompt.

Passages are found by BM25 with the question alone, among those of the training split: the split is what the leak checks have
cleaned, so whole documents are not searched. The best passage stands last, next to the question.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from tunesmith.core.records import Example, Message
from tunesmith.data.similar.ranking import best, ranker_named
from tunesmith.models.chat import Chat
from tunesmith.systems.local import LocalSystem
from tunesmith.systems.shown import MadePrompts, asked, leaves_room, may_be_shown, prompts_with_most
from tunesmith.systems.system import GateWords, NotMeasured, Question, SystemInputs, SystemKind
from tunesmith.systems.weights import adapted_weights

__all__ = ["SYSTEM", "passage_of", "retrieval_prompts"]

_MOST = 3
_TRIED = 8  # candidates for each question: some may be too long
_INSTRUCTION = "Passages by the author follow. Use what they say where it helps, and answer in the author's own voice.\n\n"


def retrieval_prompts(
    chat: Chat, train: Sequence[Example], questions: Sequence[Question], *, context: int, room: int, by: str = "words"
) -> MadePrompts | None:
    """Every question under up to three passages that fit it, as many as leave room for reference and answer.

    `by`: `words` or an encoder, as in `ranker_named`. None if no question has room for a passage, or none has anything in
    common with one.
    """
    passages = [passage_of(row) for row in may_be_shown(train, questions, passage_of)]
    scores_of = ranker_named(by, passages)
    prompts, counts = prompts_with_most(
        questions,
        _MOST,
        candidates=lambda question: best(scores_of(asked(question.prompt)), _TRIED),
        make=lambda question, places: _under(chat, question.prompt, [passages[place] for place in places]),
        fits=partial(leaves_room, chat, context=context, room=room),
    )
    if not any(counts):
        return None
    numbers = {
        f"passages found by {by} and shown, at most": max(counts),
        f"items with fewer passages found by {by}": sum(count < max(counts) for count in counts),
    }
    return MadePrompts(prompts=prompts, numbers=numbers)


def passage_of(row: Example) -> str:
    """The author's words behind a row: what a generated answer quotes, else the answer."""
    if row.origin is None or not row.origin.support:
        return row.answer
    quotes = [quote.text for support in row.origin.support for quote in support.quotes]
    return "\n\n".join(dict.fromkeys(quotes)) or row.answer


def _under(chat: Chat, prompt: Sequence[Message], passages: Sequence[str]) -> tuple[Message, ...]:
    return chat.with_system(prompt, _INSTRUCTION + "\n\n".join(reversed(passages)))


def _open(inputs: SystemInputs, model: Any) -> LocalSystem | NotMeasured:
    room = inputs.max_new_tokens
    made = retrieval_prompts(inputs.chat, inputs.train, inputs.questions, context=inputs.base.context, room=room)
    if made is None:
        return NotMeasured("no training passage fits above a test item and its question: the retrieving base is not measured")
    return LocalSystem.of(
        inputs,
        model,
        name="retrieval",
        label=f"base with up to {_MOST} passages found by BM25",
        fingerprint=inputs.base.fingerprint,
        adapter=False,
        prompts=made.prompts,
        numbers=made.numbers,
    )


SYSTEM = SystemKind(
    name="retrieval",
    title="base with retrieval",
    role="baseline",
    order=24,
    advice="retrieve",
    needs=("adapter",),
    load=adapted_weights,
    open=_open,
    make_prompts=retrieval_prompts,
    gate=GateWords(
        name="beats_retrieval",
        rule="better than the base with the passages that fit the question best in its prompt",
        failed="Don't fine-tune, retrieval is enough: the base with the passages that it finds does at least as well.",
        unknown="Whether tuning does more than retrieval would could not be measured.",
        topic="whether retrieval would be enough",
    ),
)
