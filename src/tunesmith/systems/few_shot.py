"""A cheaper alternative to tuning: the base with the training examples that are most like the question, as turns before it.

Likeness is BM25 over questions and answers together; what is looked for is the question alone. The most similar example stands
last, next to the question. Questions that no training example shares a word with keep their plain prompt.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, partial
from typing import Any

from tunesmith.core.records import Example, Message
from tunesmith.data.similar.ranking import best, rank_by_words
from tunesmith.models.chat import Chat
from tunesmith.systems.local import LocalSystem
from tunesmith.systems.shown import MadePrompts, asked, leaves_room, may_be_shown, prompts_with_most
from tunesmith.systems.system import GateWords, NotMeasured, Question, SystemInputs, SystemKind
from tunesmith.systems.weights import adapted_weights

__all__ = ["SYSTEM", "few_shot_prompts"]

_MOST = 5
_TRIED = 12  # candidates for each question: some may be too long


def few_shot_prompts(
    chat: Chat, train: Sequence[Example], questions: Sequence[Question], *, context: int, room: int
) -> MadePrompts | None:
    """Every question after up to five training examples like it, as many as leave room for reference and answer.

    None if no question has room for one, or none has anything in common with the training rows.
    """
    rows = may_be_shown(train, questions, _text)
    scores_of = rank_by_words([_text(row) for row in rows])
    usable = cache(lambda place: _can_be_turns(chat, rows[place]))  # a template takes a while to render
    prompts, counts = prompts_with_most(
        questions,
        _MOST,
        candidates=lambda question: filter(usable, best(scores_of(asked(question.prompt)), _TRIED)),
        make=lambda question, places: _with_turns(question.prompt, [rows[place] for place in places]),
        fits=partial(leaves_room, chat, context=context, room=room),
    )
    if not any(counts):
        return None
    numbers = {
        "examples shown to the few-shot base, at most": max(counts),
        "items with fewer examples": sum(count < max(counts) for count in counts),
    }
    return MadePrompts(prompts=prompts, numbers=numbers)


def _text(row: Example) -> str:
    return f"{asked(row.prompt)}\n{row.answer}"


def _turns(row: Example) -> list[Message]:
    return [message for message in row.messages if message.role != "system"]


def _can_be_turns(chat: Chat, row: Example) -> bool:
    """Whether the row begins with a question, and the template writes its answers as they are."""
    turns = _turns(row)
    return len(turns) > 1 and turns[0].role == "user" and chat.keeps_words(turns) and not chat.rewrites(turns)


def _with_turns(prompt: Sequence[Message], rows: Sequence[Example]) -> tuple[Message, ...]:
    """The rows, best first, as turns behind the prompt's own system text; the best stands last."""
    own = [message for message in prompt if message.role == "system"]
    rest = [message for message in prompt if message.role != "system"]
    return (*own, *(turn for row in reversed(rows) for turn in _turns(row)), *rest)


def _open(inputs: SystemInputs, model: Any) -> LocalSystem | NotMeasured:
    room = inputs.max_new_tokens
    made = few_shot_prompts(inputs.chat, inputs.train, inputs.questions, context=inputs.base.context, room=room)
    if made is None:
        return NotMeasured("no training example fits before a test item and is like it: the few-shot base is not measured")
    return LocalSystem.of(
        inputs,
        model,
        name="few_shot",
        label=f"base after up to {_MOST} training examples like the question",
        fingerprint=inputs.base.fingerprint,
        adapter=False,
        prompts=made.prompts,
        numbers=made.numbers,
    )


SYSTEM = SystemKind(
    name="few_shot",
    title="base with examples",
    role="baseline",
    order=22,
    advice="prompt",
    needs=("adapter",),
    load=adapted_weights,
    open=_open,
    make_prompts=few_shot_prompts,
    gate=GateWords(
        name="beats_few_shot",
        rule="better than the base after the training examples that are most like the question",
        failed="Don't fine-tune, examples in the prompt are enough: the base with them does at least as well.",
        unknown="Whether tuning does more than examples in the prompt would could not be measured.",
        topic="whether examples in the prompt would be enough",
    ),
)
