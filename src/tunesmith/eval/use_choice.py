"""Choosing the sampling settings on validation questions: one setting for base and tuned model, so that neither is favoured.

Every candidate answers a few questions with both models; the best three answer more. An answer is good if it ends by itself,
has a word and does not loop. The settings whose worse model has the largest share of good answers are taken; those within
one answer of it count as equal, first in that share and then in the mean share of both models, and among equals the one whose
answers share most words with the references is taken, then the earlier in the list.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from tunesmith.eval.metrics.repetition import loops
from tunesmith.eval.metrics.text import num_words, word_overlap
from tunesmith.eval.results import Item
from tunesmith.models.chat import Chat
from tunesmith.models.generate import Completion, Request, Sampling, answer
from tunesmith.models.use import Use

__all__ = ["CANDIDATES", "MOST_QUESTIONS", "Asked", "Candidate", "Choice", "Wanted", "choose_use", "num_answers", "set_use"]

CANDIDATES: tuple[tuple[float, float, float], ...] = (  # temperature, top-p, repetition penalty
    (0.0, 1.0, 1.0),
    (0.0, 1.0, 1.1),
    (0.5, 0.9, 1.1),
    (0.7, 0.9, 1.0),
    (0.7, 0.9, 1.1),
    (0.7, 0.9, 1.15),
    (0.9, 0.9, 1.1),
)
_FIRST, _SECOND = 6, 12  # questions of the two rounds
MOST_QUESTIONS = _FIRST + _SECOND
_FINALISTS = 3
_MODELS = 2


class Wanted(Protocol):
    """The settings of use as they are set, some of them left to be chosen (`auto`)."""

    temperature: Literal["auto"] | float
    top_p: Literal["auto"] | float
    repetition_penalty: Literal["auto"] | float
    draws: int
    seed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """How the questions are put: tokens per answer, answers at once, and the base's context, all at most."""

    max_new_tokens: int
    batch_examples: int
    context: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One setting and what came of it on `questions` questions: shares of good answers and mean word overlap."""

    temperature: float
    top_p: float
    repetition_penalty: float
    questions: int
    base_good: float
    tuned_good: float
    overlap: float

    @property
    def worse(self) -> float:
        """The share of good answers of the model that does worse."""
        return min(self.base_good, self.tuned_good)

    @property
    def mean(self) -> float:
        """The mean share of both models."""
        return (self.base_good + self.tuned_good) / _MODELS


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The settings, and the candidates in the order of the list; empty where nothing had to be chosen."""

    use: Use
    candidates: tuple[Candidate, ...] = ()


def set_use(wanted: Wanted) -> Use | None:
    """The settings that a recipe sets in full, or None where something is left to choose.

    At temperature 0 nothing is drawn, so `top_p` then has no effect and need not be set.
    """
    top_p = 1.0 if wanted.temperature == 0 else wanted.top_p
    if wanted.temperature == "auto" or top_p == "auto" or wanted.repetition_penalty == "auto":
        return None
    return Use(
        temperature=wanted.temperature,
        top_p=top_p,
        repetition_penalty=wanted.repetition_penalty,
        draws=wanted.draws,
        seed=wanted.seed,
        how="fixed by the recipe or its quality",
    )


def num_answers(wanted: Wanted, questions: int) -> int:
    """Answers that `choose_use` will ask for, for progress."""
    settings = len(_settings(wanted))
    first, second = min(questions, _FIRST), max(0, min(questions - _FIRST, _SECOND))
    return _MODELS * (settings * first + min(settings, _FINALISTS) * second)


def choose_use(
    model: Any,
    chat: Chat,
    items: Sequence[Item],
    *,
    wanted: Wanted,
    asked: Asked,
    on_done: Callable[[int], None] = lambda count: None,
) -> Choice:
    """The sampling settings for `model` (adapted) and the base behind it, by the rule at the top of this file.

    `items` are validation questions; the first 18 are used. What the recipe sets is kept, the rest comes from `CANDIDATES`.
    """
    if (use := set_use(wanted)) is not None:
        return Choice(use=use)
    settings = _settings(wanted)
    first, second = items[:_FIRST], items[_FIRST : _FIRST + _SECOND]
    answers = _answers(model, chat, first, settings, asked, on_done)
    table = {s: _figures(s, first, answers[s]) for s in settings}
    finalists = sorted(settings, key=lambda s: (-table[s].worse, -table[s].mean, -table[s].overlap))[:_FINALISTS]
    if second and len(finalists) > 1:
        more = _answers(model, chat, second, finalists, asked, on_done)
        for s in finalists:
            table[s] = _figures(s, [*first, *second], [*answers[s], *more[s]])
    chosen = _best([table[s] for s in settings if s in finalists])
    use = Use(
        temperature=chosen.temperature,
        top_p=chosen.top_p,
        repetition_penalty=chosen.repetition_penalty,
        draws=wanted.draws,
        seed=wanted.seed,
        how=f"chosen on {chosen.questions} validation questions from {len(settings)} candidates",
    )
    return Choice(use=use, candidates=tuple(table[s] for s in settings))


def _settings(wanted: Wanted) -> list[Sampling]:
    """The candidates with what the recipe sets in place of their own numbers, each once."""
    found = []
    for temperature, top_p, penalty in CANDIDATES:
        t = temperature if wanted.temperature == "auto" else wanted.temperature
        p = (0.9 if top_p == 1.0 else top_p) if wanted.top_p == "auto" else wanted.top_p
        r = penalty if wanted.repetition_penalty == "auto" else wanted.repetition_penalty
        found.append(Sampling(temperature=t, top_p=1.0 if t == 0 else p, repetition_penalty=r, seed=wanted.seed))
    return list(dict.fromkeys(found))


Pair = tuple[Completion, Completion]  # base, tuned


def _answers(
    model: Any, chat: Chat, items: Sequence[Item], settings: Sequence[Sampling], asked: Asked, on_done: Callable[[int], None]
) -> dict[Sampling, list[Pair]]:
    """The answers of both models to every item at every setting, all in one batch."""
    requests = [
        Request(messages=item.prompt, max_new_tokens=asked.max_new_tokens, sampling=sampling, adapter=adapter)
        for sampling in settings
        for item in items
        for adapter in (False, True)
    ]
    done = answer(model, chat, requests, batch_examples=asked.batch_examples, context=asked.context, on_done=on_done)
    pairs = list(zip(done[::2], done[1::2], strict=True))
    return {s: pairs[at * len(items) : (at + 1) * len(items)] for at, s in enumerate(settings)}


def _figures(sampling: Sampling, items: Sequence[Item], pairs: Sequence[Pair]) -> Candidate:
    both = list(zip(items, pairs, strict=True))
    overlaps = [word_overlap(said.text, item.reference) for item, pair in both for said in pair]
    return Candidate(
        temperature=sampling.temperature,
        top_p=sampling.top_p,
        repetition_penalty=sampling.repetition_penalty,
        questions=len(items),
        base_good=sum(_is_good(item, pair[0]) for item, pair in both) / len(items),
        tuned_good=sum(_is_good(item, pair[1]) for item, pair in both) / len(items),
        overlap=sum(overlaps) / len(overlaps),
    )


def _is_good(item: Item, said: Completion) -> bool:
    silent = not num_words(said.text) and num_words(item.reference) > 0
    return said.finish_reason == "stop" and not silent and not loops(said.text)


def _best(finalists: Sequence[Candidate]) -> Candidate:
    """By the rule at the top of this file."""
    one = 1.0 / finalists[0].questions + 1e-9
    left = [c for c in finalists if c.worse >= max(x.worse for x in finalists) - one]
    left = [c for c in left if c.mean >= max(x.mean for x in left) - one / _MODELS]
    return max(left, key=lambda c: c.overlap)
