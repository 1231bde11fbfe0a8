"""Prompts of baselines that show training rows: which rows may be shown, and what leaves room for an answer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from tunesmith.core.records import Example, Message
from tunesmith.data.text.words import fold, runs, words
from tunesmith.models.chat import Chat
from tunesmith.systems.system import Question

__all__ = ["MadePrompts", "asked", "leaves_room", "may_be_shown", "prompts_with_most"]

_RUN = 13  # words in a row that two people hardly write alike: the usual rule for contaminated test sets (Brown et al. 2020)


@dataclass(frozen=True, slots=True, kw_only=True)
class MadePrompts:
    """One prompt for each question, and facts about them."""

    prompts: tuple[tuple[Message, ...], ...]
    numbers: Mapping[str, int]


def asked(messages: Sequence[Message]) -> str:
    """What is looked for: the last user turn."""
    return next((message.content for message in reversed(messages) if message.role == "user"), "")


def may_be_shown(train: Sequence[Example], questions: Sequence[Question], text: Callable[[Example], str]) -> list[Example]:
    """The rows whose `text` shares no 13 words in a row with the reference of any question; each text once.

    A dataset has no such rows between its splits. Where one is left all the same, showing it would give the answer away.
    """
    secret = {run for question in questions for run in _runs(question.reference)}
    kept: dict[str, Example] = {}
    for row in train:
        said = text(row).strip()
        if said and secret.isdisjoint(_runs(said)):
            kept.setdefault(said, row)
    return list(kept.values())


def _runs(text: str) -> list[tuple[str, ...]]:
    return runs([fold(word) for word in words(text)], _RUN)


def leaves_room(chat: Chat, prompt: Sequence[Message], question: Question, *, context: int, room: int) -> bool:
    """Whether a prompt fits into `context` with an answer of `room` tokens and with its reference, written as it is."""
    if len(chat.encode_prompt(prompt)) + room > context:
        return False
    answered = [*prompt, Message(role="assistant", content=question.reference)]
    return chat.keeps_words(answered) and len(chat.encode_answer(answered).ids) <= context


def prompts_with_most(
    questions: Sequence[Question],
    most: int,
    *,
    candidates: Callable[[Question], Iterable[int]],
    make: Callable[[Question, list[int]], tuple[Message, ...]],
    fits: Callable[[tuple[Message, ...], Question], bool],
) -> tuple[tuple[tuple[Message, ...], ...], list[int]]:
    """The prompt of each question with up to `most` of its candidates (places, best first) that fit together, and how many.

    A candidate that does not fit any more is skipped, and the next is tried. Without any, the prompt is the plain one.
    """
    prompts, counts = [], []
    for question in questions:
        taken: list[int] = []
        prompt = question.prompt
        for place in candidates(question):
            if len(taken) == most:
                break
            tried = make(question, [*taken, place])
            if fits(tried, question):
                taken, prompt = [*taken, place], tried
        prompts.append(prompt)
        counts.append(len(taken))
    return tuple(prompts), counts
